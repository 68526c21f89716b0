//! Spark jobs: submitting them, what is known of them, deleting them. Running them is the supervisor's business
//! ([`crate::spark`]).

use std::{io, time::Duration};

use mlplatform_protocol::{
    ErrorCode, EventKind, Explanation, JobDetail, JobEvent, JobInfo, Open, Page, PageRequest,
    jobs::{JobRequest, OfClusterRequest, SubmitJobRequest},
};
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use tokio::{task::spawn_blocking, time::Instant};

use super::{
    clusters::{self, Cluster},
    inactivity::settle,
    job_form::{self, Program, Submitted, bad},
    job_logs,
    job_rows::{self, JobRow, note},
    key::Key,
    page::Window,
    secret::uuid,
    sessions::Caller,
};
use crate::{
    Error, Result,
    app::{App, RequestContext, Transaction},
    audit::Outcome,
    spark::{self, LONGEST_END, Plan},
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
        Err(Error::Refused { code: ErrorCode::BadRequest, field, expired }) if job_form::can_be_asked_for(&name) => {
            // For `spark_job_explain`: there is no job that could remember it.
            let detail = json!({"reason": INVALID, "name": name, "why": field});
            let event = clusters::event(SUBMIT, caller, Some(&cluster), Outcome::Refused, detail);
            let error = Error::Refused { code: ErrorCode::BadRequest, field, expired };
            Err(app.refuse(context, event, error).await)
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
    let read = spawn_blocking(move || job_form::read(request)).await;
    let Submitted { digest: whole, mut manifest, program } =
        read.map_err(|_| Error::Fault("the reading of a submit panicked"))??;
    let cluster = cluster(app, &cluster_id).await?;
    let program = program?;
    let id = uuid()?;
    let mut upload = None;
    if let Some(Program { name, content }) = program {
        let address = spark::upload_uri(&cluster.bucket, &id, &name);
        let spec = manifest.get_mut("spec").and_then(Value::as_object_mut);
        let spec = spec.ok_or_else(|| bad("spec: it is missing, or no mapping: begin with get_default_manifest"))?;
        spec.insert("mainApplicationFile".to_owned(), Value::String(address));
        let written = Upload::write(app, &id, name, content).await;
        upload = Some(written.map_err(|error| Error::File("writing the job's program", error))?);
    }
    let passed_over = job_form::check(&manifest)?;
    job_form::check_program(&manifest)?;
    let plan = Plan::read(&manifest).map_err(bad)?;
    check(app, &cluster, &plan, &id).await?;

    let mut tx = app.begin_as(context, caller).await?;
    if let Some(key) = key {
        let made: Option<(String, Vec<u8>)> =
            sqlx::query_as("SELECT id, submit_digest FROM jobs WHERE created_by = ? AND submit_key = ?")
                .bind(caller.id())
                .bind(&key.digest)
                .fetch_optional(tx.connection())
                .await?;
        if let Some((made, digest)) = made {
            let job = job_rows::by_id(tx.connection(), &made).await?.filter(|_| digest == whole);
            let text = "this Idempotency-Key submitted another job: send a new key";
            return job.map(|job| job_form::info(app, &job)).ok_or_else(|| Error::refused(ErrorCode::Conflict, text));
        }
    }
    // Its objects may have gone while it was checked: then its start fails, and says so.
    if job_rows::living(tx.connection(), &cluster.id, &plan.name).await?.is_some() {
        let detail = json!({"reason": "name taken", "name": plan.name});
        let event = clusters::event(ACTION, caller, None, Outcome::Refused, detail);
        return Err(tx.refuse(event, name_taken(&plan.name)).await);
    }
    let (open, bytes) = job_rows::open_of(tx.connection(), caller.id()).await?;
    let manifest = manifest.to_string();
    if open >= MOST_OPEN || bytes.saturating_add(i64::try_from(manifest.len()).unwrap_or(i64::MAX)) > MOST_OPEN_BYTES {
        let detail = json!({"reason": "too many", "name": plan.name, "has": open});
        let event = clusters::event(ACTION, caller, None, Outcome::Refused, detail);
        let text = format!(
            "this token has {open} jobs that have not ended, with manifests of {bytes} bytes, and at most {MOST_OPEN} with \
             {MOST_OPEN_BYTES} bytes may be open: wait for some to end, or delete them"
        );
        return Err(tx.refuse(event, Error::refused(ErrorCode::Conflict, text)).await);
    }
    let now = tx.now().as_microsecond();
    let stored = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    sqlx::query(
        "INSERT INTO jobs (id, cluster_id, name, manifest, millicores, memory_mib, created_at, created_by, \
         submit_key, submit_digest, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'SUBMITTED')",
    )
    .bind(&id)
    .bind(&cluster.id)
    .bind(&plan.name)
    .bind(&manifest)
    .bind(stored(plan.millicores()))
    .bind(stored(plan.memory_mib()))
    .bind(now)
    .bind(caller.id())
    .bind(key.map(|key| &key.digest))
    .bind(&whole)
    .execute(tx.connection())
    .await?;
    let job = job_rows::by_id(tx.connection(), &id).await?.ok_or(Error::Fault("a new job is not there"))?;
    let message = format!("SparkApplication {} was added, enqueuing it for submission", job.name);
    note(tx.connection(), &job, now, EventKind::Normal, "SparkApplicationAdded", &message).await?;
    for message in passed_over.iter().map(ToString::to_string).chain(plan.told) {
        note(tx.connection(), &job, now, EventKind::Warning, "SettingIgnored", &message).await?;
    }
    for (key, value) in plan.conf.iter().filter(|(_, value)| spark::is_for_object_stores(value)) {
        let message = format!(
            "sparkConf.{key}: '{value}' is for object stores, and is left out: the bucket is a folder of the platform here"
        );
        note(tx.connection(), &job, now, EventKind::Warning, "SettingIgnored", &message).await?;
    }
    let shown = plan.conf.iter().any(|(key, value)| key == "spark.ui.enabled" && value.eq_ignore_ascii_case("true"));
    if shown && app.spark().job_ids().is_some() {
        let message =
            "sparkConf.spark.ui.enabled: Spark's page is off, because other jobs of this machine could read it";
        note(tx.connection(), &job, now, EventKind::Warning, "SettingIgnored", message).await?;
    }
    let detail = json!({"name": job.name, "cluster": cluster.name});
    tx.record(clusters::event(ACTION, caller, Some(&job.id), Outcome::Done, detail)).await?;
    tx.commit().await?;
    if let Some(upload) = upload {
        upload.keep();
    }
    app.spark().ring();
    Ok(job_form::info(app, &job))
}

/// A program that came along, removed again unless its job was made.
struct Upload {
    app: App,
    job: String,
    kept: bool,
}

impl Upload {
    async fn write(app: &App, job: &str, name: String, content: Vec<u8>) -> io::Result<Self> {
        let (bytes, upload) = (content.len(), Self { app: app.clone(), job: job.to_owned(), kept: false });
        let writing =
            spawn_blocking(move || upload.app.dir().write_upload(&upload.job, &name, &content).map(|()| upload));
        writing.await.map_err(io::Error::other)?.inspect(|upload| upload.app.metrics().uploaded(bytes))
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.kept {
            spark::remove_upload(&self.app, &self.job);
        }
    }
}

/// Everything that is known to fail before it is tried.
async fn check(app: &App, cluster: &Cluster, plan: &Plan, job: &str) -> Result<()> {
    let installation = spark::installation(app).await.map_err(|problem| {
        Error::refused(ErrorCode::Conflict, format!("this platform cannot run Spark jobs: {problem}"))
    })?;
    let places = spark::places_of(app, cluster, installation.spark_home.clone());
    spark::check_files(app, plan, &places, cluster, job).await?.map_or(Ok(()), |problem| Err(bad(problem)))?;
    let mut values = Vec::new();
    for object in plan.objects() {
        let found = spark::values_of(app, &cluster.id, plan, object).await?;
        if found.is_none() && !object.optional {
            return Err(bad(spark::missing(object)));
        }
        values.push((object.clone(), found));
    }
    // Of some ten MiB: no other request waits for it.
    let (plan, folder) = (plan.clone(), app.dir().path().to_owned());
    let checked = spawn_blocking(move || {
        let find =
            |object: &spark::Object| values.iter().find(|(known, _)| known == object).and_then(|(_, v)| v.clone());
        spark::driver_options(&plan)?;
        // Where they will be is not known before the job is; its length is close.
        spark::given(&plan, &folder, &find)?;
        spark::mounts(&plan, &find).map(drop)
    });
    checked.await.map_err(|_| Error::Fault("the check of a job panicked"))?.map_err(bad)
}

/// `spark_jobs_list`, in the order of submitting.
///
/// # Errors
/// When there is no such cluster, the page asked for is none, or the store fails.
pub async fn spark_jobs_list(app: &App, request: OfClusterRequest) -> Result<Page<JobInfo>> {
    let window = Window::read(&PageRequest { limit: request.limit, cursor: request.cursor })?;
    let cluster = cluster(app, &request.cluster_id).await?;
    let rows = job_rows::listed(&mut *app.read().await?, &cluster.id, window.after, window.rows()).await?;
    let page: Page<JobRow> = window.page(rows, |job| job.seq);
    let items = page.items.iter().map(|job| job_form::info(app, job)).collect();
    Ok(Page { items, next_cursor: page.next_cursor })
}

/// `spark_job_info`.
///
/// # Errors
/// When there is no such job, or the store fails.
pub async fn spark_job_info(app: &App, request: JobRequest) -> Result<JobDetail> {
    let (_, job) = living(app, &request).await?;
    Ok(job_form::detail(app, &job))
}

/// `describe_spark_job`.
///
/// # Errors
/// When there is no such job, or the store fails.
pub async fn describe_spark_job(app: &App, request: JobRequest) -> Result<Value> {
    let (cluster, job) = living(app, &request).await?;
    job_form::description(&job, &cluster.name, &events(app, &job).await?)
}

/// `spark_events`: what happened on a cluster, those of deleted jobs included.
///
/// # Errors
/// When there is no such cluster, the page asked for is none, or the store fails.
pub async fn spark_events(app: &App, request: OfClusterRequest) -> Result<Page<JobEvent>> {
    let window = Window::read(&PageRequest { limit: request.limit, cursor: request.cursor })?;
    let cluster = cluster(app, &request.cluster_id).await?;
    let mut connection = app.read().await?;
    let rows = job_rows::events_of_cluster(&mut connection, &cluster.id, window.after, window.rows()).await?;
    Ok(window.page(rows, |event| event.seq))
}

/// `spark_job_explain`, also of a job that was deleted.
///
/// # Errors
/// When there never was such a job, or the store fails.
pub async fn spark_job_explain(app: &App, request: JobRequest) -> Result<Explanation> {
    let cluster = cluster(app, &request.cluster_id).await?;
    let job = match last(app, &request).await {
        Err(error) => return refused(app, &request).await?.ok_or(error),
        Ok(job) => job,
    };
    explain(app, &cluster, &job, &events(app, &job).await?).await
}

/// The newest, oldest first.
pub(super) async fn events(app: &App, job: &JobRow) -> Result<Vec<JobEvent>> {
    let events = job_rows::events_of_job(&mut *app.read().await?, job.seq, EVENTS).await?;
    Ok(events.into_iter().map(JobEvent::from).collect())
}

pub(super) async fn explain(app: &App, cluster: &Cluster, job: &JobRow, events: &[JobEvent]) -> Result<Explanation> {
    let log = job_logs::end_of_run(app, job).await?;
    let uploads = app.dir().uploads();
    let log = job_form::as_its_owner_knows_it(log, job, &job.folder(app), &uploads);
    Ok(spark::explain(job, &cluster.bucket, events, &log))
}

/// What is said of a job that never was one, because it was refused.
async fn refused(app: &App, request: &JobRequest) -> Result<Option<Explanation>> {
    let details: Vec<String> = sqlx::query_scalar(
        "SELECT detail FROM audit WHERE seq > (SELECT max(seq) FROM audit) - ? AND action = ? AND outcome = 'refused' \
         AND subject = ? ORDER BY seq DESC",
    )
    .bind(REMEMBERED)
    .bind(SUBMIT)
    .bind(&request.cluster_id)
    .fetch_all(&mut *app.read().await?)
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
    let cluster = cluster(app, &request.cluster_id).await?;
    let mut tx = app.begin_as(context, caller).await?;
    if let Some(key) = key {
        let done: Option<String> = sqlx::query_scalar("SELECT id FROM jobs WHERE deleted_by = ? AND delete_key = ?")
            .bind(caller.id())
            .bind(&key.digest)
            .fetch_optional(tx.connection())
            .await?;
        if let Some(id) = done {
            drop(tx);
            return gone(app, &id).await;
        }
    }
    let spent = Key::is_spent(key, &mut tx, caller).await?;
    let job = job_rows::living(tx.connection(), &cluster.id, &request.job_name).await?;
    let Some(job) = job.filter(|_| !spent) else {
        Key::spend(key, &mut tx, caller).await?;
        let detail = json!({"reason": "unknown job", "name": request.job_name});
        let event = clusters::event(ACTION, caller, None, Outcome::Refused, detail);
        return Err(tx.refuse(event, unknown(&request.job_name)).await);
    };
    delete(&mut tx, &job, caller, key).await?;
    tx.record(clusters::event(ACTION, caller, Some(&job.id), Outcome::Done, json!({"name": job.name}))).await?;
    tx.commit().await?;
    if !job.alive {
        spark::tidy(app, &job, true).await;
    }
    app.spark().ring();
    gone(app, &job.id).await
}

async fn delete(tx: &mut Transaction<'_>, job: &JobRow, caller: &Caller, key: Option<&Key>) -> Result<()> {
    let now = tx.now().as_microsecond();
    sqlx::query("UPDATE jobs SET deleted_at = ?, deleted_by = ?, delete_key = ? WHERE id = ?")
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
    let patience = Instant::now() + LONGEST_END;
    loop {
        let job = job_rows::by_id(&mut *app.read().await?, id).await?;
        if job.is_none_or(|job| !job.alive) || Instant::now() > patience {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// A cluster that is there.
pub(super) async fn cluster(app: &App, id: &str) -> Result<Cluster> {
    settle(app).await?;
    let now = app.clock().now().as_microsecond();
    let found = clusters::find(&mut *app.read().await?, id).await?;
    found.filter(|cluster| cluster.status(now).is_some()).ok_or_else(|| clusters::unknown(id))
}

async fn living(app: &App, request: &JobRequest) -> Result<(Cluster, JobRow)> {
    let cluster = cluster(app, &request.cluster_id).await?;
    let job = job_rows::living(&mut *app.read().await?, &cluster.id, &request.job_name).await?;
    job.map(|job| (cluster, job)).ok_or_else(|| unknown(&request.job_name))
}

/// The job that has the name, or had it last.
pub(crate) async fn last(app: &App, request: &JobRequest) -> Result<JobRow> {
    let mut connection = app.read().await?;
    last_in(&mut connection, &request.cluster_id, &request.job_name).await
}

pub(crate) async fn last_in(connection: &mut SqliteConnection, cluster: &str, name: &str) -> Result<JobRow> {
    job_rows::last(connection, cluster, name).await?.ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> Error {
    let text = format!("there is no job named '{name}' in this cluster: spark_jobs_list lists those there are");
    Error::refused(ErrorCode::NotFound, text)
}

fn name_taken(name: &str) -> Error {
    let text = format!("a job named '{name}' exists in this cluster");
    Error::refused(ErrorCode::Conflict, text)
}
