//! The verbs of Spark jobs: submitting them, what is known of them, deleting them. Running them is the supervisor's business
//! ([`super::supervisor`]).

use mlplatform_store::query;
use std::time::Duration;

use mlplatform_protocol::{
    ErrorCode, EventKind, Explanation, JobDetail, JobEvent, JobInfo, Open, Page, PageRequest,
    jobs::{JobRequest, OfClusterRequest, SubmitJobRequest},
};
use mlplatform_runner::{
    explain,
    plan::Plan,
    runner::{ClusterRef, JobRef, Run, RunId},
};
use serde_json::{Value, json};
use tokio::{task::spawn_blocking, time::Instant};

use super::{
    form::{self, Program, Submitted, bad},
    logs, lookup,
    row::{self, JobRow, NewJob, note},
    supervisor::{LONGEST_END, clean_up},
    values::values_of,
};
use crate::{
    app::App,
    audit::Outcome,
    caller::Caller,
    clusters::{self, row::Cluster},
    connect::{server, settings},
    error::{Error, Result},
    idempotency::Key,
    page::Window,
    request::RequestContext,
    secret::uuid,
    transaction::Transaction,
};

const SUBMIT: &str = "spark_submit_job";
/// In the audit: a submit that could not be run.
const INVALID: &str = "not valid";
/// How far back the audit is searched for a submit that was refused.
const REMEMBERED: i64 = 10_000;

/// Jobs of one token that have not ended, and the bytes of their manifests: all of these are looked at again and again.
const MOST_OPEN: i64 = 1_000;
const MOST_OPEN_BYTES: i64 = 16 * 1024 * 1024;
/// Events that a description shows, and an explanation looks at: the newest.
const EVENTS: i64 = 100;

/// `spark_submit_job`. What can be known to fail is refused here; the rest happens when there is room.
///
/// # Errors
/// When the manifest cannot be run here, the name is taken, or the store fails.
pub async fn spark_submit_job(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    key: Option<&Key>,
    request: SubmitJobRequest,
) -> Result<JobInfo> {
    let cluster = request.cluster_id.clone();
    let name = request.manifest.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    match submit(app, context, caller, key, request).await {
        Err(Error::Refused { code: ErrorCode::BadRequest, field, expired }) if form::can_be_asked_for(&name) => {
            // For `spark_job_explain`: there is no job that could remember it.
            let detail = json!({"reason": INVALID, "name": name, "why": field});
            let event = clusters::row::event(SUBMIT, caller, Some(&cluster), Outcome::Refused, detail);
            let error = Error::Refused { code: ErrorCode::BadRequest, field, expired };
            Err(app.transactions().refuse(context, event, error).await)
        }
        result => result,
    }
}

async fn submit(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    key: Option<&Key>,
    request: SubmitJobRequest,
) -> Result<JobInfo> {
    const ACTION: &str = SUBMIT;
    let cluster_id = request.cluster_id.clone();
    // A program of the largest size takes a tenth of a second of somebody's processor: not of one that answers others.
    let read = spawn_blocking(move || form::read(request)).await;
    let Submitted { digest: request_digest, mut manifest, program } =
        read.map_err(|_| Error::Fault("the reading of a submit panicked"))??;
    let cluster = lookup::cluster(app, &cluster_id).await?;
    let program = program?;
    let id = uuid()?;
    let known = cluster.cluster_ref();
    let mut upload = None;
    if let Some(Program { name, content }) = program {
        let spec = manifest.get_mut("spec").and_then(Value::as_object_mut);
        let spec = spec.ok_or_else(|| bad("spec: it is missing, or no mapping: begin with get_default_manifest"))?;
        let written = upload.insert(Upload { app: app.clone(), cluster: known.clone(), job: id.clone(), kept: false });
        let address = written.write(&name, content).await?;
        spec.insert("mainApplicationFile".to_owned(), Value::String(address));
    }
    let passed_over = form::check(&manifest)?;
    form::check_program(&manifest)?;
    let plan = Plan::read(&manifest).map_err(bad)?;
    if plan.name == settings::NAME {
        let text = format!("metadata.name: '{}' is the name of the cluster's Connect server: give another", plan.name);
        return Err(bad(text));
    }
    let values = values_of(app, &cluster.id, &plan).await?;
    let first =
        RunId { job: JobRef { id: id.clone(), cluster: cluster.id.clone(), name: plan.name.clone() }, number: 1 };
    let run = Run { cluster: &known, id: &first, plan: &plan, manifest: &manifest };
    let notices = app.jobs().runner().check(run, &values).await?;

    let mut tx = app.begin_as(context, caller).await?;
    if let Some(key) = key {
        let made: Option<(String, Vec<u8>)> =
            query("SELECT id, submit_digest FROM jobs WHERE created_by = $1 AND submit_key = $2")
                .bind(caller.id())
                .bind(&key.digest)
                .optional(tx.connection())
                .await?;
        if let Some((made, digest)) = made {
            let job = row::by_id(tx.connection(), &made).await?.filter(|_| digest == request_digest);
            let text = "this Idempotency-Key submitted another job: send a new key";
            return job.map(|job| form::info(app, &job)).ok_or_else(|| Error::refused(ErrorCode::Conflict, text));
        }
    }
    // Its objects may have gone while it was checked: then its start fails, and says so.
    if row::living(tx.connection(), &cluster.id, &plan.name).await?.is_some() {
        let detail = json!({"reason": "name taken", "name": plan.name});
        let event = clusters::row::event(ACTION, caller, None, Outcome::Refused, detail);
        return Err(tx.refuse(event, name_taken(&plan.name)).await);
    }
    let (open, bytes) = row::open_of(tx.connection(), caller.id()).await?;
    let manifest = manifest.to_string();
    if open >= MOST_OPEN || bytes.saturating_add(i64::try_from(manifest.len()).unwrap_or(i64::MAX)) > MOST_OPEN_BYTES {
        let detail = json!({"reason": "too many", "name": plan.name, "has": open});
        let event = clusters::row::event(ACTION, caller, None, Outcome::Refused, detail);
        let text = format!(
            "this token has {open} jobs that have not ended, with manifests of {bytes} bytes, and at most {MOST_OPEN} with \
             {MOST_OPEN_BYTES} bytes may be open: wait for some to end, or delete them"
        );
        return Err(tx.refuse(event, Error::refused(ErrorCode::Conflict, text)).await);
    }
    let now = tx.now().as_microsecond();
    let new = NewJob {
        id: &id,
        cluster_id: &cluster.id,
        plan: &plan,
        manifest: &manifest,
        created_by: caller.id(),
        submit_key: key.map(|key| &key.digest),
        submit_digest: &request_digest,
    };
    let job = row::insert(tx.connection(), now, new).await?;
    let message = format!("SparkApplication {} was added, enqueuing it for submission", job.name);
    note(tx.connection(), &job, now, EventKind::Normal, "SparkApplicationAdded", &message).await?;
    for message in passed_over.iter().map(ToString::to_string).chain(notices) {
        note(tx.connection(), &job, now, EventKind::Warning, "SettingIgnored", &message).await?;
    }
    let detail = json!({"name": job.name, "cluster": cluster.name});
    tx.record(clusters::row::event(ACTION, caller, Some(&job.id), Outcome::Done, detail)).await?;
    tx.commit().await?;
    if let Some(upload) = upload {
        upload.keep();
    }
    Ok(form::info(app, &job))
}

/// A program that came along, removed again unless its job was made.
struct Upload {
    app: App,
    cluster: ClusterRef,
    job: String,
    kept: bool,
}

impl Upload {
    /// Gives its address.
    async fn write(&self, name: &str, content: Vec<u8>) -> Result<String> {
        let bytes = content.len();
        let address = self.app.jobs().runner().upload(&self.cluster, &self.job, name, content).await?;
        self.app.metrics().uploaded(bytes);
        Ok(address)
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.kept {
            self.app.jobs().runner().remove_upload(&self.cluster, &self.job);
        }
    }
}

/// `spark_jobs_list`, in the order of submitting.
///
/// # Errors
/// When there is no such cluster, the page asked for is none, or the store fails.
pub async fn spark_jobs_list(app: &App, request: OfClusterRequest) -> Result<Page<JobInfo>> {
    let window = Window::read(&PageRequest { limit: request.limit, cursor: request.cursor })?;
    let cluster = lookup::cluster(app, &request.cluster_id).await?;
    let rows = row::listed(&mut app.read().await?, &cluster.id, window.after, window.rows()).await?;
    let page: Page<JobRow> = window.page(rows, |job| job.seq);
    let items = page.items.iter().map(|job| form::info(app, job)).collect();
    Ok(Page { items, next_cursor: page.next_cursor })
}

/// `spark_job_info`.
///
/// # Errors
/// When there is no such job, or the store fails.
pub async fn spark_job_info(app: &App, request: JobRequest) -> Result<JobDetail> {
    let (_, job) = lookup::living(app, &request).await?;
    Ok(form::detail(app, &job))
}

/// `describe_spark_job`.
///
/// # Errors
/// When there is no such job, or the store fails.
pub async fn describe_spark_job(app: &App, request: JobRequest) -> Result<Value> {
    let (cluster, job) = lookup::living(app, &request).await?;
    if let Some(object) = app.jobs().runner().describe(&job.job_ref()).await? {
        return Ok(object);
    }
    form::description(&job, &cluster.name, &events(app, &job).await?)
}

/// `spark_events`: what happened on a cluster, those of deleted jobs included.
///
/// # Errors
/// When there is no such cluster, the page asked for is none, or the store fails.
pub async fn spark_events(app: &App, request: OfClusterRequest) -> Result<Page<JobEvent>> {
    let window = Window::read(&PageRequest { limit: request.limit, cursor: request.cursor })?;
    let cluster = lookup::cluster(app, &request.cluster_id).await?;
    let mut connection = app.read().await?;
    let rows = row::events_of_cluster(&mut connection, &cluster.id, window.after, window.rows()).await?;
    Ok(window.page(rows, |event| event.seq))
}

/// `spark_job_explain`, also of a job that was deleted.
///
/// # Errors
/// When there never was such a job, or the store fails.
pub async fn spark_job_explain(app: &App, request: JobRequest) -> Result<Explanation> {
    let cluster = lookup::cluster(app, &request.cluster_id).await?;
    let job = match lookup::last(app, &request).await {
        Err(error) => return refused(app, &request).await?.ok_or(error),
        Ok(job) => job,
    };
    explain(app, &cluster, &job, &events(app, &job).await?).await
}

/// The newest, oldest first.
pub(super) async fn events(app: &App, job: &JobRow) -> Result<Vec<JobEvent>> {
    let events = row::events_of_job(&mut app.read().await?, job.seq, EVENTS).await?;
    Ok(events.into_iter().map(JobEvent::from).collect())
}

pub(super) async fn explain(app: &App, cluster: &Cluster, job: &JobRow, events: &[JobEvent]) -> Result<Explanation> {
    let log = logs::end_of_run(app, job).await?;
    let log = app.jobs().runner().with_user_paths(&job.job_ref(), log);
    Ok(explain::explain(&job.snapshot(), &cluster.bucket, events, &log))
}

/// What is said of a job that never was one, because it was refused.
async fn refused(app: &App, request: &JobRequest) -> Result<Option<Explanation>> {
    let details: Vec<String> = query(
        "SELECT detail FROM audit WHERE seq > (SELECT max(seq) FROM audit) - $1 AND action = $2 AND outcome = 'refused' \
         AND subject = $3 ORDER BY seq DESC",
    )
    .bind(REMEMBERED)
    .bind(SUBMIT)
    .bind(&request.cluster_id).scalars(&mut app.read().await?)
    .await?;
    let details = details.iter().filter_map(|detail| serde_json::from_str::<Value>(detail).ok());
    let of = |detail: &Value, key: &str| detail.get(key).and_then(Value::as_str).map(str::to_owned);
    let found = details.into_iter().find(|detail| {
        of(detail, "name").as_deref() == Some(&request.job_name) && of(detail, "reason").as_deref() == Some(INVALID)
    });
    Ok(found.and_then(|detail| of(&detail, "why")).map(|why| Explanation {
        job_name: request.job_name.clone(),
        status: Open::Unknown("REFUSED".to_owned()),
        cause: "refused".to_owned(),
        sentence: format!("The job '{}' was refused when it was submitted: {why}", request.job_name),
        evidence: vec![why],
        remedy: "correct the manifest as the sentence says, and submit it again".to_owned(),
    }))
}

/// `spark_delete_job`: ends its processes, and answers when they are gone. Its log stays.
///
/// # Errors
/// When there is no such job, or the store fails.
pub async fn spark_delete_job(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    key: Option<&Key>,
    request: JobRequest,
) -> Result<()> {
    const ACTION: &str = "spark_delete_job";
    let cluster = lookup::cluster(app, &request.cluster_id).await?;
    let mut tx = app.begin_as(context, caller).await?;
    if let Some(key) = key {
        let done: Option<String> = query("SELECT id FROM jobs WHERE deleted_by = $1 AND delete_key = $2")
            .bind(caller.id())
            .bind(&key.digest)
            .optional_scalar(tx.connection())
            .await?;
        if let Some(id) = done {
            drop(tx);
            return gone(app, &id).await;
        }
    }
    let spent = Key::is_spent(key, &mut tx, caller).await?;
    let job = row::living(tx.connection(), &cluster.id, &request.job_name).await?;
    let Some(job) = job.filter(|_| !spent) else {
        Key::spend(key, &mut tx, caller).await?;
        let detail = json!({"reason": "unknown job", "name": request.job_name});
        let event = clusters::row::event(ACTION, caller, None, Outcome::Refused, detail);
        return Err(tx.refuse(event, lookup::unknown(&request.job_name)).await);
    };
    if server::is_server(tx.connection(), &job).await? && !caller.is_administrator() {
        let detail = json!({"reason": "role", "name": job.name});
        let event = clusters::row::event(ACTION, caller, Some(&job.id), Outcome::Refused, detail);
        let text = "only an Administrator may end the Connect server, which ends everybody's sessions: end your own with \
                    spark.stop() or close_spark_session";
        return Err(tx.refuse(event, Error::refused(ErrorCode::Forbidden, text)).await);
    }
    delete(&mut tx, &job, caller, key).await?;
    tx.record(clusters::row::event(ACTION, caller, Some(&job.id), Outcome::Done, json!({"name": job.name}))).await?;
    tx.commit().await?;
    if !job.alive {
        clean_up(app, &job.job_ref(), true).await;
    }
    gone(app, &job.id).await
}

async fn delete(tx: &mut Transaction<'_>, job: &JobRow, caller: &Caller, key: Option<&Key>) -> Result<()> {
    let now = tx.now().as_microsecond();
    query("UPDATE jobs SET deleted_at = $1, deleted_by = $2, delete_key = $3 WHERE id = $4")
        .bind(now)
        .bind(caller.id())
        .bind(key.map(|key| &key.digest))
        .bind(&job.id)
        .execute(tx.connection())
        .await?;
    let message = format!("SparkApplication {} was deleted", job.name);
    note(tx.connection(), job, now, EventKind::Normal, "SparkApplicationDeleted", &message).await
}

/// Waits until no process of a deleted job is left. When that takes too long, the supervisor goes on without us.
async fn gone(app: &App, id: &str) -> Result<()> {
    let deadline = Instant::now() + LONGEST_END;
    loop {
        let job = row::by_id(&mut app.read().await?, id).await?;
        if job.is_none_or(|job| !job.alive) || Instant::now() > deadline {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

fn name_taken(name: &str) -> Error {
    let text = format!("a job named '{name}' exists in this cluster");
    Error::refused(ErrorCode::Conflict, text)
}
