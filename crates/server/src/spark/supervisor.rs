//! Looks after the jobs: starts them in their order when there is room, sees their ends, repeats them, ends what was
//! deleted.
//!
//! Everything it knows is in the store and in the folders of the runs, so a server that was killed goes on where the
//! last one was. It is the only one that changes a job's state; a request only adds a job, or says that one is deleted.

use std::{
    collections::{HashMap, HashSet},
    fs,
    time::Duration,
};

use mlplatform_protocol::{ClusterStatus, EventKind, JobState};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{
    disk,
    end::message_of,
    ids,
    job_user::JobsAs,
    log::{gaps_of, hold, read_gaps, truncated},
    plan::Plan,
    processes::{PATIENCE, end_run},
    proxy,
    quantity::{cores_text, memory_text},
    restart,
    run::{End, Standing},
    start::{self, Refusal},
    trash,
};
use crate::{
    App, RequestContext, Result,
    app::Transaction,
    audit::{Event, Outcome},
    metrics::RunEnd,
    service::{
        clusters::{self, Cluster},
        job_rows::{self, JobRow, note},
    },
};

/// How often a run is looked at that another server has started; the end of our own rings the bell.
const LOOK: Duration = Duration::from_millis(250);
/// Until a new run has said that it began.
const LOOK_AT_NEW: Duration = Duration::from_millis(30);
/// How often it is looked whether a job's time to live is over.
const IDLE: Duration = Duration::from_secs(1);
/// How long the deleting of a job waits for its processes to be gone.
pub(crate) const LONGEST_END: Duration = Duration::from_secs(10);

/// For as long as the server runs.
pub(crate) async fn supervise(app: App) {
    if app.spark().config().jobs == JobsAs::Off {
        tokio::join!(look_after(app.clone()), trash::keep_empty(app));
        return;
    }
    proxy::tell();
    // Each goes on while the others wait for the disk.
    tokio::join!(look_after(app.clone()), disk::watch(app.clone()), trash::keep_empty(app));
}

async fn look_after(app: App) {
    let mut supervisor = Supervisor { app, started: HashSet::new(), ending: HashMap::new(), truncated: HashSet::new() };
    loop {
        let pause = supervisor.look().await.unwrap_or_else(|error| {
            tracing::error!("jobs could not be looked after: {error}: {:?}", crate::error::causes(&error));
            IDLE
        });
        tokio::select! {
            () = supervisor.app.spark().rung() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Ends all that runs: the server stops, and says that nothing of it shall go on.
pub(crate) async fn end_all(app: &App) -> Result<()> {
    let jobs = job_rows::open(&mut *app.read().await?).await?;
    for job in jobs.into_iter().filter(|job| job.alive) {
        end_processes(app, &job, Duration::ZERO).await;
    }
    Ok(())
}

/// Blocks a thread, not the server, until no process of the run is left.
async fn end_processes(app: &App, job: &JobRow, patience: Duration) {
    let (run, mark) = (job.run(app), job.mark());
    match spawn_blocking(move || end_run(&run, &mark, patience)).await {
        Ok(true) => {}
        _ => tracing::error!("processes of the job '{}' cannot be ended", job.name),
    }
}

struct Supervisor {
    app: App,
    /// Marks of the runs that this server started.
    started: HashSet<String>,
    /// Marks of the runs that are being ended.
    ending: HashMap<String, JoinHandle<()>>,
    /// Jobs whose logs were truncated, and whose event says so.
    truncated: HashSet<String>,
}

impl Supervisor {
    /// One round; gives how long the next may wait.
    async fn look(&mut self) -> Result<Duration> {
        let now = self.app.clock().now().as_microsecond();
        let held = ids::take_back(&self.app).await?;
        let expired = job_rows::expired(&mut *self.app.read().await?, now).await?;
        for job in expired {
            self.expire(&job).await?;
        }
        for job in self.open().await?.into_iter().filter(|job| job.alive) {
            self.look_at_run(&job).await?;
        }
        self.end_those_without_cluster().await?;
        let mut waiting: Vec<(String, Vec<JobRow>)> = Vec::new();
        let mut used: HashMap<String, (i64, i64)> = HashMap::new();
        let (mut news, mut any) = (false, held);
        for job in self.open().await? {
            any = true;
            if job.alive {
                let used = used.entry(job.cluster_id.clone()).or_default();
                *used = (used.0.saturating_add(job.millicores), used.1.saturating_add(job.memory_mib));
                news |= !job.is(JobState::Running);
                continue;
            }
            match waiting.iter_mut().find(|(cluster, _)| *cluster == job.cluster_id) {
                Some((_, jobs)) => jobs.push(job),
                None => waiting.push((job.cluster_id.clone(), vec![job])),
            }
        }
        for (cluster, jobs) in waiting {
            let used = used.get(&cluster).copied().unwrap_or_default();
            news |= self.schedule(&cluster, jobs, used).await?;
        }
        Ok(if news {
            LOOK_AT_NEW
        } else if any {
            LOOK
        } else {
            IDLE
        })
    }

    async fn open(&self) -> Result<Vec<JobRow>> {
        job_rows::open(&mut *self.app.read().await?).await
    }

    async fn look_at_run(&mut self, job: &JobRow) -> Result<()> {
        let run = job.run(&self.app);
        match run.standing() {
            Standing::Running => {
                if run.began().is_some() && !job.is(JobState::Running) && job.deleted_at.is_none() {
                    let context = RequestContext::local();
                    let mut tx = self.app.begin(&context).await?;
                    began(&mut tx, job).await?;
                    tx.commit().await?;
                }
                if job.deleted_at.is_some() && self.ending.get(&job.mark()).is_none_or(JoinHandle::is_finished) {
                    let (app, job) = (self.app.clone(), job.clone());
                    let mark = job.mark();
                    let ending = tokio::spawn(async move {
                        end_processes(&app, &job, PATIENCE).await;
                        app.spark().ring();
                    });
                    self.ending.insert(mark, ending);
                }
                self.tell_of_truncated(job).await
            }
            Standing::Ended(mut end) => {
                if let Some(problem) = self.app.spark().eviction(&job.mark()).filter(|_| !end.is_success()) {
                    end.problem = Some(problem);
                }
                self.tell_of_truncated(job).await?;
                self.ended(job, &end).await
            }
            Standing::Lost => {
                end_processes(&self.app, job, Duration::ZERO).await;
                let problem = "the job's parent process was killed, and with it went what it knew of the job's end";
                self.ended(job, &End::problem(problem)).await
            }
            Standing::NotBegun if self.started.contains(&job.mark()) && !disk::is_low(&self.app) => {
                let problem = "the job's parent process ended before it could start the program; is the disk full?";
                self.not_started(job, problem).await
            }
            // The server before this one was killed on the way, or the disk was full: nothing ran, and nothing runs
            // twice.
            Standing::NotBegun => self.start_again(job).await,
        }
    }

    /// A run has not begun, which is not its fault: it waits for its turn again.
    async fn start_again(&mut self, job: &JobRow) -> Result<()> {
        let context = RequestContext::local();
        let mut tx = self.app.begin(&context).await?;
        sqlx::query("UPDATE jobs SET alive = 0, runs = runs - 1 WHERE id = ? AND alive = 1")
            .bind(&job.id)
            .execute(tx.connection())
            .await?;
        tx.commit().await?;
        self.started.remove(&job.mark());
        Ok(())
    }

    /// A run has ended: the job is over, or will be run again.
    async fn ended(&mut self, job: &JobRow, end: &End) -> Result<()> {
        let mark = job.mark();
        self.started.remove(&mark);
        self.ending.remove(&mark);
        let plan = plan(job);
        // By one clock, that of the run's parent.
        let lasted = job.run(&self.app).began().map(|began| end.at.as_microsecond() - began.at.as_microsecond());
        let quick = lasted.is_some_and(|lasted| lasted < restart::QUICK);
        let quick_ends = if quick { job.quick_ends.saturating_add(1) } else { 0 };
        let evicted = end.problem.as_deref().is_some_and(|problem| problem.starts_with(disk::EVICTED));
        let context = RequestContext::local();
        let mut tx = self.app.begin(&context).await?;
        // It was too quick to be seen running.
        if !job.is(JobState::Running) && job.run(&self.app).began().is_some() {
            began(&mut tx, job).await?;
        }
        let now = tx.now().as_microsecond();
        let at = self.app.clock().told(end.at).as_microsecond().min(now);
        // One that was evicted would only fill the disk again.
        let again = plan.as_ref().ok().filter(|_| job.deleted_at.is_none() && !evicted);
        let again = again.and_then(|plan| plan.restart.after_run(end.is_success(), job.runs));
        let again = again.map(|seconds| seconds.max(restart::back_off(quick_ends)));
        let state = match (again, end.is_success()) {
            (Some(_), true) => JobState::PendingRerun,
            (Some(_), false) => JobState::Failing,
            (None, true) => JobState::Completed,
            (None, false) => JobState::Failed,
        };
        let expires_at = plan.ok().and_then(|plan| plan.time_to_live).filter(|_| again.is_none());
        let expires_at = expires_at.map(|seconds| at.saturating_add(seconds.saturating_mul(1_000_000)));
        sqlx::query(
            "UPDATE jobs SET state = ?, alive = 0, ended_at = ?, exit_code = ?, signal = ?, problem = ?, due_at = ?, \
             expires_at = ?, quick_ends = ?, waits_for = NULL WHERE id = ?",
        )
        .bind(state.name())
        .bind(at)
        .bind(end.exit_code)
        .bind(end.signal)
        .bind(&end.problem)
        .bind(again.map(|seconds| now.saturating_add(seconds.saturating_mul(1_000_000))))
        .bind(expires_at)
        .bind(quick_ends)
        .bind(&job.id)
        .execute(tx.connection())
        .await?;
        let (kind, reason, message) = message_of(job, end);
        note(tx.connection(), job, at, kind, reason, &message).await?;
        if let Some(seconds) = again {
            let message = restart::message(job.runs, end.is_success(), seconds, quick_ends);
            note(tx.connection(), job, now, EventKind::Normal, "SparkApplicationPendingRerun", &message).await?;
        }
        job_rows::forget_events(tx.connection(), job, restart::EVENTS).await?;
        active(&mut tx, &job.cluster_id).await?;
        tx.commit().await?;
        self.app.metrics().job_ended(match (evicted, end.is_success()) {
            (true, _) => RunEnd::Evicted,
            (false, true) => RunEnd::Succeeded,
            (false, false) => RunEnd::Failed,
        });
        self.app.spark().forget_eviction(&mark);
        self.remove_old_runs(job);
        if again.is_none() {
            self.truncated.remove(&job.id);
            trash::tidy(&self.app, job, job.deleted_at.is_some()).await;
            let (app, cluster) = (self.app.clone(), job.cluster_id.clone());
            tokio::spawn(async move { hold(&app, &cluster).await });
        }
        self.app.spark().ring();
        Ok(())
    }

    /// Only the last few are of use to anybody; a job that is always run again has no end of them.
    fn remove_old_runs(&self, job: &JobRow) {
        let (folder, oldest) = (job.folder(&self.app), job.runs.saturating_sub(restart::FOLDERS));
        spawn_blocking(move || {
            // No job can write here: what is removed is the platform's own.
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let number = entry.file_name().to_str().and_then(|name| name.strip_prefix("run-")?.parse::<i64>().ok());
                if number.is_some_and(|number| number <= oldest) {
                    let _ = fs::remove_dir_all(entry.path());
                }
            }
        });
    }

    /// Says once that a log was truncated; where is in the log itself.
    async fn tell_of_truncated(&mut self, job: &JobRow) -> Result<()> {
        let log = job.log(&self.app);
        if self.truncated.contains(&job.id) || !gaps_of(&log).exists() {
            return Ok(());
        }
        let gaps = read_gaps(&log).unwrap_or_default();
        let Some(gap) = gaps.first() else { return Ok(()) };
        if !job_rows::is_noted(&mut *self.app.read().await?, job, LOG_TRUNCATED).await? {
            let context = RequestContext::local();
            let mut tx = self.app.begin(&context).await?;
            let now = tx.now().as_microsecond();
            note(tx.connection(), job, now, EventKind::Warning, LOG_TRUNCATED, &truncated(gap)).await?;
            tx.commit().await?;
        }
        self.truncated.insert(job.id.clone());
        Ok(())
    }

    /// A start has failed: the job is over, or it will be tried again.
    async fn not_started(&mut self, job: &JobRow, problem: &str) -> Result<()> {
        self.started.remove(&job.mark());
        let failed = job.failed_starts.saturating_add(1);
        let again = plan(job).ok().and_then(|plan| plan.restart.after_submission(failed));
        let again = again.map(|seconds| seconds.max(restart::back_off(failed)));
        let context = RequestContext::local();
        let mut tx = self.app.begin(&context).await?;
        let now = tx.now().as_microsecond();
        let state = if again.is_some() { JobState::SubmissionFailed } else { JobState::Failed };
        sqlx::query(
            "UPDATE jobs SET state = ?, runs = runs - alive, alive = 0, failed_starts = ?, ended_at = ?, \
             exit_code = NULL, signal = NULL, problem = ?, due_at = ?, waits_for = NULL WHERE id = ?",
        )
        .bind(state.name())
        .bind(failed)
        .bind(now)
        .bind(problem)
        .bind(again.map(|seconds| now.saturating_add(seconds.saturating_mul(1_000_000))))
        .bind(&job.id)
        .execute(tx.connection())
        .await?;
        let message = format!("failed to submit the application: {problem}");
        note(tx.connection(), job, now, EventKind::Warning, "SparkApplicationSubmissionFailed", &message).await?;
        job_rows::forget_events(tx.connection(), job, restart::EVENTS).await?;
        active(&mut tx, &job.cluster_id).await?;
        tx.commit().await?;
        self.app.metrics().job_ended(RunEnd::NotStarted);
        if again.is_none() {
            trash::tidy(&self.app, job, job.deleted_at.is_some()).await;
        }
        Ok(())
    }

    /// A time to live is over.
    async fn expire(&self, job: &JobRow) -> Result<()> {
        let context = RequestContext::local();
        let mut tx = self.app.begin(&context).await?;
        delete(&mut tx, job, "its time to live is over").await?;
        tx.commit().await?;
        if !job.alive {
            trash::tidy(&self.app, job, true).await;
        }
        Ok(())
    }

    /// Starts those of a cluster for which there is room, in their order; gives whether any was started.
    async fn schedule(&mut self, cluster_id: &str, jobs: Vec<JobRow>, used: (i64, i64)) -> Result<bool> {
        let now = self.app.clock().now().as_microsecond();
        let cluster = clusters::find(&mut *self.app.read().await?, cluster_id).await?;
        let status = cluster.as_ref().and_then(|cluster| cluster.status(now));
        // One that goes has no jobs any more at the next look.
        let (Some(cluster), Some(status)) = (cluster, status) else { return Ok(false) };
        let (all_cores, all_memory) = (cluster.max_cores.saturating_mul(1000), cluster.max_memory / 1_048_576);
        let (mut cores, mut memory) = (all_cores.saturating_sub(used.0), all_memory.saturating_sub(used.1));
        let (mut any, mut full) = (false, false);
        for job in jobs {
            let Some(job) = self.due(job, now).await? else { continue };
            if job.millicores > all_cores || job.memory_mib > all_memory {
                let text = format!(
                    "0/1 nodes are available: {}; the cluster '{}' has {} in all, so this job waits for ever: delete \
                     it, ask for less and submit it again",
                    asks(&job),
                    cluster.name,
                    amounts(all_cores, all_memory)
                );
                self.waits(&job, "size", EventKind::Warning, "FailedScheduling", &text).await?;
            } else if status != ClusterStatus::Running {
                if status == ClusterStatus::Shutoff && !any {
                    self.wake(&cluster, &job).await?;
                    any = true;
                }
                let text = format!("the cluster '{}' is being started", cluster.name);
                self.waits(&job, "cluster", EventKind::Normal, "TriggeredScaleUp", &text).await?;
            } else if self.app.spark().is_under_pressure() {
                self.waits_for_disk(&job).await?;
            } else if full || job.millicores > cores || job.memory_mib > memory {
                full = true;
                let text = format!(
                    "0/1 nodes are available: {}; of the cluster's {} there are {} free; jobs start in the order in \
                     which they were submitted",
                    asks(&job),
                    amounts(all_cores, all_memory),
                    amounts(cores, memory)
                );
                self.waits(&job, "capacity", EventKind::Warning, "FailedScheduling", &text).await?;
            } else {
                cores = cores.saturating_sub(job.millicores);
                memory = memory.saturating_sub(job.memory_mib);
                any |= self.start(job, &cluster).await?;
            }
        }
        Ok(any)
    }

    /// The job, if it waits for nothing but room: one that is to be repeated waits for its time first.
    async fn due(&self, mut job: JobRow, now: i64) -> Result<Option<JobRow>> {
        let Some(due_at) = job.due_at else { return Ok(Some(job)) };
        if due_at > now {
            return Ok(None);
        }
        let context = RequestContext::local();
        let mut tx = self.app.begin(&context).await?;
        sqlx::query("UPDATE jobs SET state = 'PENDING_RERUN', due_at = NULL WHERE id = ?")
            .bind(&job.id)
            .execute(tx.connection())
            .await?;
        tx.commit().await?;
        (job.due_at, job.state) = (None, JobState::PendingRerun.name().to_owned());
        Ok(Some(job))
    }

    /// Says why a job waits; once, however often it is looked at.
    async fn waits(&self, job: &JobRow, what: &str, kind: EventKind, reason: &str, text: &str) -> Result<()> {
        if job.waits_for.as_deref() == Some(what) {
            return Ok(());
        }
        let context = RequestContext::local();
        let mut tx = self.app.begin(&context).await?;
        sqlx::query("UPDATE jobs SET waits_for = ? WHERE id = ?")
            .bind(what)
            .bind(&job.id)
            .execute(tx.connection())
            .await?;
        let now = tx.now().as_microsecond();
        note(tx.connection(), job, now, kind, reason, text).await?;
        tx.commit().await
    }

    async fn waits_for_disk(&self, job: &JobRow) -> Result<()> {
        let text = format!("{}: no run starts until there is room", disk::EVICTED);
        self.waits(job, "disk", EventKind::Warning, "DiskPressure", &text).await
    }

    /// A job starts the cluster that it was submitted to.
    async fn wake(&self, cluster: &Cluster, job: &JobRow) -> Result<()> {
        let context = RequestContext::local();
        let mut tx = self.app.begin(&context).await?;
        clusters::wake(&mut tx, &cluster.id, None).await?;
        let detail = json!({"name": cluster.name, "job": job.name});
        let (action, subject) = ("wake_cluster_for_job", Some(cluster.id.as_str()));
        tx.record(Event { action, actor: None, subject, outcome: Outcome::Done, detail }).await?;
        tx.commit().await
    }

    /// A cluster that goes takes its jobs along.
    async fn end_those_without_cluster(&self) -> Result<()> {
        let now = self.app.clock().now().as_microsecond();
        let mut jobs = self.open().await?;
        jobs.retain(|job| job.deleted_at.is_none());
        let mut seen: HashMap<String, bool> = HashMap::new();
        for job in &jobs {
            if !seen.contains_key(&job.cluster_id) {
                let cluster = clusters::find(&mut *self.app.read().await?, &job.cluster_id).await?;
                let there = cluster.is_some_and(|c| !c.is_being_deleted() && c.status(now).is_some());
                seen.insert(job.cluster_id.clone(), there);
            }
        }
        jobs.retain(|job| seen.get(&job.cluster_id) == Some(&false));
        if jobs.is_empty() {
            return Ok(());
        }
        let context = RequestContext::local();
        let mut tx = self.app.begin(&context).await?;
        for job in &jobs {
            delete(&mut tx, job, "its cluster was deleted").await?;
        }
        tx.commit().await?;
        for job in jobs.iter().filter(|job| !job.alive) {
            trash::tidy(&self.app, job, true).await;
        }
        Ok(())
    }

    /// Gives whether it is on its way, and not waiting.
    async fn start(&mut self, mut job: JobRow, cluster: &Cluster) -> Result<bool> {
        let rights = match ids::grant(&self.app, &job, cluster).await? {
            Ok(rights) => rights,
            Err(text) => {
                self.waits(&job, "ids", EventKind::Warning, "FailedScheduling", &text).await?;
                return Ok(false);
            }
        };
        let prepared = match start::prepare(&self.app, &job, cluster, rights).await {
            Ok(prepared) => prepared,
            Err(Refusal::Job(problem)) => return self.not_started(&job, &problem).await.map(|()| true),
            Err(Refusal::Full) => return self.waits_for_disk(&job).await.map(|()| false),
            Err(Refusal::Platform(error)) => return Err(error),
        };
        let context = RequestContext::local();
        let mut tx = self.app.begin(&context).await?;
        let now = tx.now().as_microsecond();
        // Before anything is started: a server that is killed now finds a run that did not begin, and begins it.
        let begun = sqlx::query(
            "UPDATE jobs SET alive = 1, runs = runs + 1, log_from = ?, waits_for = NULL \
             WHERE id = ? AND deleted_at IS NULL",
        )
        .bind(prepared.log_from())
        .bind(&job.id)
        .execute(tx.connection())
        .await?;
        if begun.rows_affected() == 0 {
            return Ok(true);
        }
        job.runs = job.runs.saturating_add(1);
        job.alive = true;
        let message = format!("Successfully assigned {}/{} to {}", prepared.namespace(), job.pod(), cluster.name);
        note(tx.connection(), &job, now, EventKind::Normal, "Scheduled", &message).await?;
        tx.commit().await?;
        self.app.metrics().job_started();
        self.started.insert(job.mark());
        match prepared.start().await {
            Ok(mut parent) => {
                let app = self.app.clone();
                tokio::spawn(async move {
                    let _ = parent.wait().await;
                    app.spark().ring();
                });
            }
            Err(error) if disk::is_full(&error) => self.start_again(&job).await?,
            Err(error) => {
                let problem = format!("its process cannot be started: {error}");
                self.not_started(&job, &problem).await?;
            }
        }
        Ok(true)
    }
}

/// The reason of the event about a log that was truncated.
pub(crate) const LOG_TRUNCATED: &str = "LogTruncated";

/// The cluster was active until now.
async fn active(tx: &mut Transaction<'_>, cluster: &str) -> Result<()> {
    let now = tx.now().as_microsecond();
    sqlx::query("UPDATE clusters SET last_active_at = max(last_active_at, ?) WHERE id = ?")
        .bind(now)
        .bind(cluster)
        .execute(tx.connection())
        .await?;
    Ok(())
}

async fn began(tx: &mut Transaction<'_>, job: &JobRow) -> Result<()> {
    let now = tx.now().as_microsecond();
    sqlx::query("UPDATE jobs SET state = 'RUNNING', started_at = ?, failed_starts = 0 WHERE id = ?")
        .bind(now)
        .bind(&job.id)
        .execute(tx.connection())
        .await?;
    let message = "Started container spark-kubernetes-driver";
    note(tx.connection(), job, now, EventKind::Normal, "Started", message).await
}

async fn delete(tx: &mut Transaction<'_>, job: &JobRow, why: &'static str) -> Result<()> {
    let now = tx.now().as_microsecond();
    sqlx::query("UPDATE jobs SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL")
        .bind(now)
        .bind(&job.id)
        .execute(tx.connection())
        .await?;
    note(tx.connection(), job, now, EventKind::Normal, "SparkApplicationDeleted", why).await
}

pub(crate) fn plan(job: &JobRow) -> Result<Plan, String> {
    let manifest: Value = serde_json::from_str(&job.manifest).map_err(|error| error.to_string())?;
    Plan::read(&manifest)
}

fn asks(job: &JobRow) -> String {
    format!("the job asks for {}", amounts(job.millicores, job.memory_mib))
}

fn amounts(millicores: i64, memory_mib: i64) -> String {
    let number = |number: i64| u64::try_from(number).unwrap_or_default();
    format!("{} cores and {}", cores_text(number(millicores)), memory_text(number(memory_mib)))
}
