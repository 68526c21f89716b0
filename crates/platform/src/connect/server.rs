//! The job that is a cluster's Connect server: started when somebody calls, and once more when it has ended.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    sync::Arc,
    time::Duration,
};

use hmac::{Hmac, KeyInit, Mac};
use mlplatform_protocol::{ErrorCode, EventKind, JobState, Secret};
use mlplatform_runner::plan::{Plan, Variable};
use mlplatform_store::{Connection, query};
use serde_json::json;
use sha2::Sha256;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{
    live::Server,
    settings::{self, NAME},
};
use crate::{
    app::App,
    audit::{Event, Outcome},
    clusters::row::Cluster,
    error::{Error, Result},
    jobs::{
        form,
        row::{self, JobRow, NewJob, note},
    },
    request::RequestContext,
    secret::{digest, uuid},
};

/// Where Spark's server reads what it lets callers in by. Not a setting: users can read those of their session.
const VARIABLE: &str = "SPARK_CONNECT_AUTHENTICATE_TOKEN";
/// Set apart from whatever else is computed with the same key.
const LABEL: &[u8] = b"mlplatform spark connect 1";
/// How long a call waits for a server to start; then the client tries again by itself.
const LONGEST_START: Duration = Duration::from_secs(120);
/// Between two looks, where nothing says that something has changed.
const LOOK: Duration = Duration::from_millis(250);
/// A server that has failed is not started again before that, in microseconds.
const PAUSE: i64 = 10_000_000;

/// The server of a cluster, once it listens; it is started if there is none.
pub(super) async fn ready(
    app: &App,
    context: &RequestContext,
    token: &str,
    cluster: &Cluster,
) -> Result<(String, Arc<Server>)> {
    // Not where another server runs the jobs: the Connect server listens on that machine alone.
    let place = cluster.cluster_ref();
    app.jobs().runner().ready(&place).await?;
    if place.kubernetes.is_some() {
        let text = format!(
            "the cluster '{}' is on Kubernetes, and Connect servers run on the platform's machine only: name another cluster \
             (;cluster=…), or submit a job",
            cluster.name
        );
        return Err(Error::refused(ErrorCode::Conflict, text));
    }
    let deadline = Instant::now() + LONGEST_START;
    let mut changes = app.store().subscribe(row::TOPIC);
    loop {
        let found = newest(&mut app.read().await?, &cluster.id).await?;
        let waits = match found {
            Some((job, port)) if !job.is_over() => {
                if let Some(server) = listening(app, &job, port).await? {
                    return Ok((job.id, server));
                }
                job.waits_for
            }
            _ => {
                start(app, context, token, cluster).await?;
                continue;
            }
        };
        if Instant::now() > deadline || app.is_stopping() {
            let why = waits.map(|what| format!(" (it waits for: {what})")).unwrap_or_default();
            let text = format!(
                "the Connect server of the cluster '{}' is being started{why}: try again; spark_job_explain(cluster_id, \
                 '{NAME}') says more",
                cluster.name
            );
            return Err(Error::refused(ErrorCode::ServiceUnavailable, text));
        }
        let _ = timeout(LOOK, changes.changed()).await;
    }
}

/// The job that was started last, and its port.
pub(super) async fn newest(connection: &mut Connection, cluster: &str) -> Result<Option<(JobRow, u16)>> {
    let found: Option<(Option<String>, Option<i64>)> =
        query("SELECT job_id, port FROM connect_servers WHERE cluster_id = $1")
            .bind(cluster)
            .optional(connection)
            .await?;
    let Some((Some(job), Some(port))) = found else { return Ok(None) };
    let port = u16::try_from(port).map_err(|_| Error::Fault("the store holds a port that is out of range"))?;
    Ok(row::by_id(connection, &job).await?.map(|job| (job, port)))
}

async fn listening(app: &App, job: &JobRow, port: u16) -> Result<Option<Arc<Server>>> {
    if !job.alive || job.deleted_at.is_some() {
        app.connect().forget_server(&job.id);
        return Ok(None);
    }
    if let Some(server) = app.connect().ready(&job.id) {
        return Ok(Some(server));
    }
    if !job.is(JobState::Running) || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
        return Ok(None);
    }
    let user: Option<Option<i64>> =
        query("SELECT user_id FROM jobs WHERE id = $1").bind(&job.id).optional_scalar(&mut app.read().await?).await?;
    let user_id = user.flatten().map(u32::try_from).transpose().map_err(|_| row::NO_USER_ID)?;
    let server = Arc::new(Server { port, user_id, secret: secret(app.secrets_key(), &job.id)? });
    app.connect().is_ready(&job.id, Arc::clone(&server));
    Ok(Some(server))
}

/// Starts another, unless there is one.
async fn start(app: &App, context: &RequestContext, token: &str, cluster: &Cluster) -> Result<()> {
    let _one = app.connect().starting.lock().await;
    let failed = |job: &JobRow, now: i64| {
        let lasted = job.ended_at.unwrap_or_default().saturating_sub(job.started_at.unwrap_or(job.created_at));
        let since = now.saturating_sub(job.ended_at.unwrap_or_default());
        job.deleted_at.is_none() && lasted < 2 * PAUSE && since < PAUSE
    };
    let settings = settings::read(&mut app.read().await?, &cluster.id).await?;
    let port = free_port()?;
    let manifest = settings::manifest(cluster, &settings, port);
    form::check(&manifest)?;
    let plan = Plan::read(&manifest).map_err(form::bad)?;
    let id = uuid()?;
    let mut tx = app.begin(context).await?;
    let now = tx.now().as_microsecond();
    let found = newest(tx.connection(), &cluster.id).await?;
    match &found {
        Some((found, _)) if !found.is_over() => return Ok(()),
        Some((found, _)) if failed(found, now) => {
            let why = found.problem.clone().unwrap_or_else(|| "see its log".to_owned());
            let text = format!(
                "the Connect server of the cluster '{}' has failed ({why}), and is started again in some seconds; \
                 spark_job_explain(cluster_id, '{NAME}') says why",
                cluster.name
            );
            return Err(Error::refused(ErrorCode::ServiceUnavailable, text));
        }
        _ => {}
    }
    let mut over = None;
    if let Some(old) = row::living(tx.connection(), &cluster.id, NAME).await? {
        if found.as_ref().is_none_or(|(found, _)| found.id != old.id) {
            let text =
                format!("a job named '{NAME}' exists in the cluster '{}', and is no server: delete it", cluster.name);
            return Err(Error::refused(ErrorCode::Conflict, text));
        }
        query("UPDATE jobs SET deleted_at = $1 WHERE id = $2").bind(now).bind(&old.id).execute(tx.connection()).await?;
        over = Some(old);
    }
    let text = manifest.to_string();
    let submit_digest = digest(&text);
    let new = NewJob {
        id: &id,
        cluster_id: &cluster.id,
        plan: &plan,
        manifest: &text,
        created_by: token,
        submit_key: None,
        submit_digest: &submit_digest,
    };
    let job = row::insert(tx.connection(), now, new).await?;
    query(
        "INSERT INTO connect_servers (cluster_id, job_id, port) VALUES ($1, $2, $3) \
         ON CONFLICT (cluster_id) DO UPDATE SET job_id = excluded.job_id, port = excluded.port, outdated = FALSE",
    )
    .bind(&cluster.id)
    .bind(&id)
    .bind(i64::from(port))
    .execute(tx.connection())
    .await?;
    note(tx.connection(), &job, now, EventKind::Normal, "SparkApplicationAdded", "started by a call of Spark Connect")
        .await?;
    let detail = json!({"cluster": cluster.name, "job": id});
    let (actor, subject) = (Some(token), Some(cluster.id.as_str()));
    tx.record(Event { action: "start_spark_connect", actor, subject, outcome: Outcome::Done, detail }).await?;
    tx.commit().await?;
    if let Some(over) = over {
        app.connect().forget_server(&over.id);
        if let Err(error) = app.jobs().runner().clean_up(&over.job_ref(), true).await {
            tracing::warn!("what an ended Connect server left cannot be removed: {error}");
        }
    }
    Ok(())
}

/// Whether a job is a cluster's server.
pub(crate) async fn is_server(connection: &mut Connection, job: &JobRow) -> Result<bool> {
    if job.name != NAME {
        return Ok(false);
    }
    let is = query("SELECT EXISTS (SELECT 1 FROM connect_servers WHERE job_id = $1)").bind(&job.id);
    Ok(is.scalar(connection).await?)
}

/// Adds to the plan of a server what it lets callers in by, which is in no manifest.
pub(crate) async fn arm(app: &App, job: &JobRow, plan: &mut Plan) -> Result<()> {
    if is_server(&mut app.read().await?, job).await? {
        let value = secret(app.secrets_key(), &job.id)?.expose().to_owned();
        plan.driver.environment.push(Variable::Literal { name: VARIABLE.to_owned(), value });
    }
    Ok(())
}

/// Of a job: computed, so that it is kept nowhere and outlives the platform.
fn secret(key: &Path, job: &str) -> Result<Secret> {
    let key = std::fs::read(key).map_err(|error| Error::File("reading the file secrets-key", error))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| Error::Fault("the file secrets-key is no key"))?;
    mac.update(LABEL);
    mac.update(job.as_bytes());
    let text = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Ok(Secret::from_pasted(&text))
}

/// One that nobody has now. Whoever takes it before the server does is not taken for the server.
fn free_port() -> Result<u16> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    Ok(port.map_err(|error| Error::File("looking for a free port", error))?.port())
}
