//! Rows of jobs and of their events: what the verbs ([`jobs`](super::verbs)) and the supervisor share.

use std::collections::HashSet;

use mlplatform_protocol::{EventKind, JobEvent, JobState, Open};
use mlplatform_runner::{
    explain::JobSnapshot,
    plan::Plan,
    runner::{JobRef, RunId},
    termination::Termination,
};
use mlplatform_store::{Connection, FromRow, joined, query};

use crate::{
    clock::timestamp,
    error::{Error, Result},
    secret::Digest,
};

/// A job.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct JobRow {
    pub(crate) seq: i64,
    pub(crate) id: String,
    pub(crate) cluster_id: String,
    pub(crate) name: String,
    pub(crate) manifest: String,
    pub(crate) millicores: i64,
    pub(crate) memory_mib: i64,
    pub(crate) created_at: i64,
    pub(crate) state: String,
    pub(crate) runs: i64,
    pub(crate) failed_starts: i64,
    pub(crate) alive: bool,
    pub(crate) due_at: Option<i64>,
    pub(crate) waits_for: Option<String>,
    pub(crate) started_at: Option<i64>,
    pub(crate) ended_at: Option<i64>,
    pub(crate) exit_code: Option<i64>,
    pub(crate) signal: Option<i64>,
    pub(crate) problem: Option<String>,
    pub(crate) log_from: i64,
    pub(crate) quick_ends: i64,
    pub(crate) deleted_at: Option<i64>,
}

const SELECT: &str = "SELECT seq, id, cluster_id, name, manifest, millicores, memory_mib, created_at, state, runs, \
     failed_starts, alive, due_at, waits_for, started_at, ended_at, exit_code, signal, problem, log_from, quick_ends, \
     deleted_at FROM jobs";

/// The same without manifests, which are large: where there are many rows, or one is asked for often.
const SELECT_SMALL: &str = "SELECT seq, id, cluster_id, name, '' AS manifest, millicores, memory_mib, created_at, state, \
     runs, failed_starts, alive, due_at, waits_for, started_at, ended_at, exit_code, signal, problem, log_from, quick_ends, \
     deleted_at FROM jobs";

/// A job that somebody has to look after; the index `jobs_open` holds them.
const OPEN: &str = "(alive = TRUE OR (deleted_at IS NULL AND state NOT IN ('COMPLETED', 'FAILED')))";

/// Whether a job keeps the cluster of the row around it from being inactive: it runs, or will when there is room. One
/// that asks for more than the cluster has does not, and neither does the Connect server: its calls do.
pub(crate) const KEEPS_ACTIVE: &str = "EXISTS (SELECT 1 FROM jobs WHERE jobs.cluster_id = clusters.id \
     AND jobs.name <> 'spark-connect' AND (jobs.alive = TRUE OR (jobs.deleted_at IS NULL AND jobs.state NOT IN ('COMPLETED', 'FAILED') \
     AND jobs.millicores <= clusters.max_cores * 1000 AND jobs.memory_mib <= clusters.max_memory / 1048576)))";

impl JobRow {
    pub(crate) fn state(&self) -> Open<JobState> {
        JobState::from_name(&self.state).map_or_else(|| Open::Unknown(self.state.clone()), Open::Known)
    }

    pub(crate) fn is(&self, state: JobState) -> bool {
        self.state == state.name()
    }

    pub(crate) fn is_over(&self) -> bool {
        !self.alive && (self.deleted_at.is_some() || self.is(JobState::Completed) || self.is(JobState::Failed))
    }

    /// As a runner knows it.
    pub(crate) fn job_ref(&self) -> JobRef {
        JobRef { id: self.id.clone(), cluster: self.cluster_id.clone(), name: self.name.clone() }
    }

    /// Its present or last run.
    pub(crate) fn run_id(&self) -> RunId {
        RunId { job: self.job_ref(), number: self.runs }
    }

    /// What it is explained from.
    pub(crate) fn snapshot(&self) -> JobSnapshot {
        JobSnapshot {
            name: self.name.clone(),
            state: self.state(),
            alive: self.alive,
            runs: self.runs,
            failed_starts: self.failed_starts,
            waits_for: self.waits_for.clone(),
            deleted: self.deleted_at.is_some(),
            end: self.end(),
        }
    }

    pub(crate) fn pod(&self) -> String {
        pod(&self.name)
    }

    /// How the last run ended; `None` while there is none that ended.
    pub(crate) fn end(&self) -> Option<Termination> {
        let number = |number: i64| i32::try_from(number).ok();
        Some(Termination {
            at: timestamp(self.ended_at?),
            exit_code: self.exit_code.and_then(number),
            signal: self.signal.and_then(number),
            problem: self.problem.clone(),
        })
    }
}

/// A job that is added.
pub(crate) struct NewJob<'a> {
    pub(crate) id: &'a str,
    pub(crate) cluster_id: &'a str,
    pub(crate) plan: &'a Plan,
    pub(crate) manifest: &'a str,
    pub(crate) created_by: &'a str,
    pub(crate) submit_key: Option<&'a Digest>,
    pub(crate) submit_digest: &'a Digest,
}

/// Adds a job that waits for its turn.
pub(crate) async fn insert(connection: &mut Connection, now: i64, new: NewJob<'_>) -> Result<JobRow> {
    let stored = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    query(
        "INSERT INTO jobs (id, cluster_id, name, manifest, millicores, memory_mib, created_at, created_by, \
         submit_key, submit_digest, state) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'SUBMITTED')",
    )
    .bind(new.id)
    .bind(new.cluster_id)
    .bind(&new.plan.name)
    .bind(new.manifest)
    .bind(stored(new.plan.millicores()))
    .bind(stored(new.plan.memory_mib()))
    .bind(now)
    .bind(new.created_by)
    .bind(new.submit_key)
    .bind(new.submit_digest)
    .execute(connection)
    .await?;
    by_id(connection, new.id).await?.ok_or(Error::Fault("a new job is not there"))
}

/// The name of a job's driver.
fn pod(job: &str) -> String {
    format!("{job}-driver")
}

/// The job that has the name.
pub(crate) async fn living(connection: &mut Connection, cluster: &str, name: &str) -> Result<Option<JobRow>> {
    let sql = joined(&[SELECT, " WHERE cluster_id = $1 AND name = $2 AND deleted_at IS NULL"]);
    Ok(sql.bind(cluster).bind(name).optional(connection).await?)
}

/// The job that has the name, or had it last: its log outlives it.
pub(crate) async fn last(connection: &mut Connection, cluster: &str, name: &str) -> Result<Option<JobRow>> {
    let order = "ORDER BY deleted_at IS NOT NULL, seq DESC LIMIT 1";
    let sql = joined(&[SELECT, " WHERE cluster_id = $1 AND name = $2 ", order]);
    Ok(sql.bind(cluster).bind(name).optional(connection).await?)
}

/// Without its manifest.
pub(crate) async fn by_id(connection: &mut Connection, id: &str) -> Result<Option<JobRow>> {
    Ok(joined(&[SELECT_SMALL, " WHERE id = $1"]).bind(id).optional(connection).await?)
}

/// How many open jobs a token has, and of how many bytes their manifests are.
pub(crate) async fn open_of(connection: &mut Connection, token: &str) -> Result<(i64, i64)> {
    let sql = joined(&[
        "SELECT count(*), coalesce(sum(octet_length(manifest)), 0) FROM jobs WHERE created_by = $1 AND ",
        OPEN,
    ]);
    Ok(sql.bind(token).one(connection).await?)
}

/// Of a cluster, in the order of submitting, behind a sequence number; without their manifests.
pub(crate) async fn listed(connection: &mut Connection, cluster: &str, after: i64, limit: i64) -> Result<Vec<JobRow>> {
    let order = "AND deleted_at IS NULL AND seq > $2 ORDER BY seq LIMIT $3";
    let sql = joined(&[SELECT_SMALL, " WHERE cluster_id = $1 ", order]);
    Ok(sql.bind(cluster).bind(after).bind(limit).all(connection).await?)
}

/// A job to which something happened, and what of it last.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Changed {
    #[sqlx(flatten)]
    pub(crate) job: JobRow,
    pub(crate) event: i64,
}

/// The jobs of the next so many events behind one, by their last event among these.
pub(crate) async fn changed(
    connection: &mut Connection,
    cluster: &str,
    after: i64,
    limit: i64,
) -> Result<Vec<Changed>> {
    let events = "SELECT job, seq FROM job_events WHERE cluster_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";
    let sql = joined(&[
        "SELECT j.*, e.event FROM (SELECT job, max(seq) AS event FROM (",
        events,
        ") next GROUP BY job) e JOIN (",
        SELECT_SMALL,
        ") j ON j.seq = e.job ORDER BY e.event",
    ]);
    Ok(sql.bind(cluster).bind(after).bind(limit).all(connection).await?)
}

/// The last event of a cluster; 0: there is none.
pub(crate) async fn last_event(connection: &mut Connection, cluster: &str) -> Result<i64> {
    Ok(query("SELECT coalesce(max(seq), 0) FROM job_events WHERE cluster_id = $1")
        .bind(cluster)
        .scalar(connection)
        .await?)
}

/// All that have to be looked after, in the order of submitting.
pub(crate) async fn open(connection: &mut Connection) -> Result<Vec<JobRow>> {
    Ok(joined(&[SELECT, " WHERE ", OPEN, " ORDER BY seq"]).all(connection).await?)
}

/// The ids of those that are not deleted, in clusters that are there.
pub(crate) async fn ids(connection: &mut Connection) -> Result<Vec<String>> {
    let sql = query(
        "SELECT j.id FROM jobs j JOIN clusters c ON c.id = j.cluster_id \
               WHERE j.deleted_at IS NULL AND c.gone_at IS NULL",
    );
    Ok(sql.scalars(connection).await?)
}

/// Each job that a cluster ever had, and whether it is over; those first that ended first.
pub(crate) async fn logs(connection: &mut Connection, cluster: &str) -> Result<Vec<(JobRef, bool)>> {
    let sql = joined(&[
        "SELECT id, name, NOT ",
        OPEN,
        " FROM jobs WHERE cluster_id = $1 ORDER BY coalesce(ended_at, created_at)",
    ]);
    let rows: Vec<(String, String, bool)> = sql.bind(cluster).all(connection).await?;
    let job = |(id, name, over)| (JobRef { id, cluster: cluster.to_owned(), name }, over);
    Ok(rows.into_iter().map(job).collect())
}

/// The store has no type that is as narrow.
pub(crate) const NO_USER_ID: Error = Error::Fault("the store holds a user id that is out of range");

/// Jobs that are over and have an id of the range still; without their manifests.
pub(crate) async fn over_with_id(connection: &mut Connection) -> Result<Vec<(JobRow, u32)>> {
    let sql = joined(&["SELECT id, user_id FROM jobs WHERE user_id IS NOT NULL AND NOT ", OPEN]);
    let held: Vec<(String, i64)> = sql.all(connection).await?;
    let mut jobs = Vec::new();
    for (id, user) in held {
        let user = u32::try_from(user).map_err(|_| NO_USER_ID)?;
        jobs.extend(by_id(connection, &id).await?.map(|job| (job, user)));
    }
    Ok(jobs)
}

/// The ids of a range that jobs have, or that were given to clusters.
pub(crate) async fn ids_of_range(connection: &mut Connection) -> Result<HashSet<u32>> {
    let sql = query(
        "SELECT user_id FROM jobs WHERE user_id IS NOT NULL \
               UNION SELECT job_group FROM clusters WHERE job_group IS NOT NULL",
    );
    let ids: Vec<i64> = sql.scalars(connection).await?;
    ids.into_iter().map(u32::try_from).collect::<Result<_, _>>().map_err(|_| NO_USER_ID)
}

/// Those whose time to live is over.
pub(crate) async fn expired(connection: &mut Connection, now: i64) -> Result<Vec<JobRow>> {
    let sql = joined(&[SELECT, " WHERE expires_at <= $1 AND deleted_at IS NULL"]);
    Ok(sql.bind(now).all(connection).await?)
}

/// The topic of all that happens to jobs: the supervisor and long polls wait for it, on whichever server.
pub(crate) const TOPIC: &str = "jobs";

/// A job has failed, though nobody has seen its end.
pub(crate) async fn fail(
    connection: &mut Connection,
    job: &JobRow,
    at: i64,
    reason: &str,
    problem: &str,
) -> Result<()> {
    query(
        "UPDATE jobs SET state = $1, alive = FALSE, ended_at = $2, exit_code = NULL, signal = NULL, problem = $3, \
         due_at = NULL, waits_for = NULL WHERE id = $4",
    )
    .bind(JobState::Failed.name())
    .bind(at)
    .bind(problem)
    .bind(&job.id)
    .execute(connection)
    .await?;
    note(connection, job, at, EventKind::Warning, reason, problem).await
}

/// Notes what happened to a job, and wakes those who wait for that once it is committed.
pub(crate) async fn note(
    connection: &mut Connection,
    job: &JobRow,
    at: i64,
    kind: EventKind,
    reason: &str,
    message: &str,
) -> Result<()> {
    query("INSERT INTO job_events (cluster_id, job, at, kind, reason, message) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(&job.cluster_id)
        .bind(job.seq)
        .bind(at)
        .bind(Open::Known(kind).name())
        .bind(reason)
        .bind(message)
        .execute(connection)
        .await?;
    Ok(connection.notify(TOPIC).await?)
}

/// Whether something was noted of a job.
pub(crate) async fn is_noted(connection: &mut Connection, job: &JobRow, reason: &str) -> Result<bool> {
    Ok(query("SELECT EXISTS (SELECT 1 FROM job_events WHERE job = $1 AND reason = $2)")
        .bind(job.seq)
        .bind(reason)
        .scalar(connection)
        .await?)
}

/// Forgets what happened to a job, the newest events apart.
pub(crate) async fn forget_events(connection: &mut Connection, job: &JobRow, kept: i64) -> Result<()> {
    query(
        "DELETE FROM job_events WHERE job = $1 AND seq <= \
         (SELECT seq FROM job_events WHERE job = $1 ORDER BY seq DESC LIMIT 1 OFFSET $2)",
    )
    .bind(job.seq)
    .bind(kept)
    .execute(connection)
    .await?;
    Ok(())
}

/// An event.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct EventRow {
    pub(crate) seq: i64,
    at: i64,
    name: String,
    kind: String,
    reason: String,
    message: String,
}

impl From<EventRow> for JobEvent {
    fn from(row: EventRow) -> Self {
        Self {
            at: timestamp(row.at),
            pod: pod(&row.name),
            job_name: row.name,
            kind: if row.kind == "NORMAL" { EventKind::Normal } else { EventKind::Warning }.into(),
            reason: row.reason,
            message: row.message,
        }
    }
}

const EVENTS: &str =
    "SELECT e.seq, e.at, j.name, e.kind, e.reason, e.message FROM job_events e JOIN jobs j ON j.seq = e.job";

/// Of a cluster, those of deleted jobs included.
pub(crate) async fn events_of_cluster(
    connection: &mut Connection,
    cluster: &str,
    after: i64,
    limit: i64,
) -> Result<Vec<EventRow>> {
    let sql = joined(&[EVENTS, " WHERE e.cluster_id = $1 AND e.seq > $2 ORDER BY e.seq LIMIT $3"]);
    Ok(sql.bind(cluster).bind(after).bind(limit).all(connection).await?)
}

/// The newest of a job, oldest first.
pub(crate) async fn events_of_job(connection: &mut Connection, job: i64, limit: i64) -> Result<Vec<EventRow>> {
    let sql = joined(&[EVENTS, " WHERE e.job = $1 ORDER BY e.seq DESC LIMIT $2"]);
    let mut rows: Vec<EventRow> = sql.bind(job).bind(limit).all(connection).await?;
    rows.reverse();
    Ok(rows)
}
