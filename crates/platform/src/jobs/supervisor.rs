//! The supervisor of jobs: starts them in their order when there is room, sees their ends, repeats them, ends what was
//! deleted.
//!
//! Everything it knows is in the store and with the runner, so a server that was killed goes on where the last one was. It
//! is the only one that changes a job's state; a request only adds a job, or says that one is deleted.

mod schedule;
#[cfg(test)]
mod tests;

use mlplatform_store::query;
use std::{
    collections::{HashMap, HashSet},
    future::pending,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use mlplatform_protocol::{EventKind, JobState, Timestamp};
use mlplatform_runner::{
    plan::Plan,
    runner::{JobRef, KnownJobs, RunId, RunState, RunStatus},
    termination::Termination,
};
use serde_json::Value;
use tokio::task::{AbortHandle, JoinSet};

use super::{
    lease::{Election, Fence},
    placement::{Placement, Role},
    restart,
    row::{self, JobRow, note},
};
use crate::{
    app::App,
    clusters,
    error::{Error, Result},
    metrics::RunEnd,
    request::RequestContext,
    transaction::Transaction,
};

/// How often a run is looked at, whether its runner says that something changed or not.
const LOOK: Duration = Duration::from_millis(250);
/// Until a new run has said that it began.
const LOOK_AT_NEW: Duration = Duration::from_millis(30);
/// How often times to live are checked.
const IDLE: Duration = Duration::from_secs(1);
/// Longer than any submit takes from the upload of its program to its commit, at another server with another clock.
const LONGEST_SUBMIT: Duration = Duration::from_secs(600);
/// How long a job that is deleted may take to end by itself.
const GRACE_PERIOD: Duration = Duration::from_secs(3);
/// How long the deleting of a job waits for its processes to be gone.
pub(crate) const LONGEST_END: Duration = Duration::from_secs(10);

/// Looks after the jobs while this server is the one that does, until `stopped`. `end_jobs`: at the end, nothing of what
/// runs shall go on.
pub async fn supervise(app: App, end_jobs: bool, stopped: impl Future) {
    let Some(mut election) = Election::enter(&app) else { return };
    {
        let mut stopped = pin!(stopped);
        loop {
            let fence = election.fence();
            app.jobs().set_role(fence.as_ref().map_or(Role::Standby, Fence::role));
            let work = async {
                if let Some(fence) = fence {
                    lead(&app, fence).await;
                }
                // It was lost, and this server does not know that yet.
                app.jobs().set_role(Role::Standby);
                pending::<()>().await;
            };
            tokio::select! {
                // Whatever is under way ends here: another server goes on with it.
                () = election.changed() => {}
                _ = &mut stopped => break,
                () = work => {}
            }
        }
    }
    if end_jobs
        && election.fence().is_some()
        && let Err(error) = end_all(&app).await
    {
        tracing::warn!("running jobs could not be ended: {error}");
    }
    app.jobs().set_role(Role::Off);
    election.leave().await;
}

/// Returns when a transaction finds that the lease is lost.
async fn lead(app: &App, fence: Fence) {
    if let Role::Active { epoch } = fence.role()
        && epoch > 0
    {
        tracing::info!("this server looks after the jobs (lease {epoch})");
    }
    // What the one before has left. A runner of one machine was told before anybody was served.
    while matches!(app.jobs().placement(), Placement::Anywhere { .. })
        && let Err(error) = reconcile(app).await
    {
        tracing::error!("jobs cannot be looked after: {error}: {:?}", crate::error::causes(&error));
        tokio::time::sleep(IDLE).await;
    }
    let runner = Arc::clone(app.jobs().runner());
    let work = async {
        runner.work().await;
        pending::<()>().await;
    };
    tokio::select! {
        () = look_after(app.clone(), fence) => {}
        () = work => {}
    }
    tracing::warn!("this server does not look after the jobs any more: its lease was lost");
}

/// Tells the runner which jobs there are.
pub async fn reconcile(app: &App) -> Result<()> {
    let kept = row::ids(&mut app.read().await?).await?.into_iter().collect();
    let open = row::open(&mut app.read().await?).await?.into_iter().map(|job| job.id).collect();
    // By the system's clock, as the runner's.
    let uploads_until = match app.jobs().placement() {
        Placement::Anywhere { .. } => Some(Timestamp::now() - LONGEST_SUBMIT),
        Placement::Here { .. } | Placement::Nowhere => None,
    };
    Ok(app.jobs().runner().reconcile(KnownJobs { kept, open, uploads_until }).await?)
}

async fn look_after(app: App, fence: Fence) {
    let mut changes = app.store().subscribe(row::TOPIC);
    let mut supervisor =
        Supervisor { app, fence, ending: HashMap::new(), tasks: JoinSet::new(), last_events: HashMap::new() };
    loop {
        let pause = match supervisor.look().await {
            Ok(pause) => pause,
            Err(Error::LeaseLost) => return,
            Err(error) => {
                tracing::error!("jobs could not be looked after: {error}: {:?}", crate::error::causes(&error));
                IDLE
            }
        };
        while supervisor.tasks.try_join_next().is_some() {}
        let runner = supervisor.app.jobs().runner();
        tokio::select! {
            () = changes.changed() => {}
            () = runner.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Ends all that runs: the server stops, and says that nothing of it shall go on.
async fn end_all(app: &App) -> Result<()> {
    let jobs = row::open(&mut app.read().await?).await?;
    for job in jobs.into_iter().filter(|job| job.alive) {
        stop(app, &job.run_id(), Duration::ZERO).await;
    }
    Ok(())
}

/// Returns when no process of the run is left.
async fn stop(app: &App, run: &RunId, grace: Duration) {
    if let Err(error) = app.jobs().runner().stop(run, grace).await {
        tracing::error!("processes of the job '{}' cannot be ended", run.job.name);
        tracing::debug!("{error}: {:?}", crate::error::causes(&error));
    }
}

/// Removes what nobody needs of a job that is over.
pub(super) async fn clean_up(app: &App, job: &JobRef, deleted: bool) {
    if let Err(error) = app.jobs().runner().clean_up(job, deleted).await {
        tracing::warn!(
            "what the job '{}' left cannot be removed: {error}: {:?}",
            job.name,
            crate::error::causes(&error)
        );
    }
}

/// Holds the logs of a cluster to their common limit, after one of its jobs is over.
async fn limit_logs(app: &App, fence: &Fence, cluster: &str) -> Result<()> {
    let jobs = row::logs(&mut app.read().await?, cluster).await?;
    let cut = app.jobs().runner().limit_logs(jobs).await?;
    if cut.is_empty() {
        return Ok(());
    }
    let context = RequestContext::local();
    let mut tx = fence.begin(app, &context).await?;
    let now = tx.now().as_microsecond();
    for (job, event) in cut {
        if let Some(job) = row::by_id(tx.connection(), &job.id).await? {
            note(tx.connection(), &job, now, event.kind, &event.reason, &event.message).await?;
        }
    }
    tx.commit().await
}

struct Supervisor {
    app: App,
    fence: Fence,
    /// The runs that are being ended.
    ending: HashMap<RunId, AbortHandle>,
    /// What goes on beside the others, and ends with the supervisor.
    tasks: JoinSet<()>,
    /// The keys of the last events that were read of jobs.
    last_events: HashMap<String, String>,
}

impl Supervisor {
    /// One round; gives how long the next may wait.
    async fn look(&mut self) -> Result<Duration> {
        let now = self.app.clock().now().as_microsecond();
        let expired = row::expired(&mut self.app.read().await?, now).await?;
        for job in expired {
            self.expire(&job).await?;
        }
        let mut alive = self.open().await?;
        alive.retain(|job| job.alive);
        let runs: Vec<RunId> = alive.iter().map(JobRow::run_id).collect();
        let statuses = self.app.jobs().runner().status(&runs).await?;
        for (job, status) in alive.iter().zip(statuses) {
            self.look_at_run(job, status).await?;
        }
        self.end_those_without_cluster().await?;
        let mut waiting: Vec<(String, Vec<JobRow>)> = Vec::new();
        let mut used: HashMap<String, (i64, i64)> = HashMap::new();
        let (mut news, mut any) = (false, false);
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

    async fn begin<'a>(&'a self, context: &'a RequestContext) -> Result<Transaction<'a>> {
        self.fence.begin(&self.app, context).await
    }

    async fn open(&self) -> Result<Vec<JobRow>> {
        row::open(&mut self.app.read().await?).await
    }

    async fn look_at_run(&mut self, job: &JobRow, status: RunStatus) -> Result<()> {
        let RunStatus { state, started_at, .. } = status;
        match state {
            RunState::Running | RunState::Pending(_) => {
                if state == RunState::Running && !job.is(JobState::Running) && job.deleted_at.is_none() {
                    let context = RequestContext::local();
                    let mut tx = self.begin(&context).await?;
                    began(&mut tx, job).await?;
                    tx.commit().await?;
                }
                self.end_deleted(job);
                self.note_events(job).await
            }
            RunState::Restarting(end) => {
                self.restarting(job, &end).await?;
                self.end_deleted(job);
                self.note_events(job).await
            }
            RunState::Ended(end) => {
                self.note_events(job).await?;
                self.ended(job, &end, started_at).await
            }
            RunState::Lost(problem) => {
                stop(&self.app, &job.run_id(), Duration::ZERO).await;
                self.ended(job, &Termination::problem(&problem), started_at).await
            }
            RunState::FailedToStart(problem) => self.not_started(job, &problem).await,
            RunState::NotStarted => self.start_again(job).await,
        }
    }

    /// Ends the run of a job that was deleted, while the others go on.
    fn end_deleted(&mut self, job: &JobRow) {
        let run = job.run_id();
        if job.deleted_at.is_some() && self.ending.get(&run).is_none_or(AbortHandle::is_finished) {
            let (app, ended) = (self.app.clone(), run.clone());
            let ending = self.tasks.spawn(async move { stop(&app, &ended, GRACE_PERIOD).await });
            self.ending.insert(run, ending);
        }
    }

    /// The runner itself repeats the run: its state is the runner's.
    async fn restarting(&self, job: &JobRow, end: &Termination) -> Result<()> {
        let state = if end.is_success() { JobState::PendingRerun } else { JobState::Failing };
        if job.is(state) {
            return Ok(());
        }
        let context = RequestContext::local();
        let mut tx = self.begin(&context).await?;
        query("UPDATE jobs SET state = $1 WHERE id = $2")
            .bind(state.name())
            .bind(&job.id)
            .execute(tx.connection())
            .await?;
        let now = tx.now().as_microsecond();
        let (kind, reason, message) = end.event(&job.pod(), false);
        note(tx.connection(), job, now, kind, reason, &message).await?;
        tx.commit().await
    }

    /// A run has not begun, which is not its fault: it waits for its turn again.
    async fn start_again(&mut self, job: &JobRow) -> Result<()> {
        let context = RequestContext::local();
        let mut tx = self.begin(&context).await?;
        query("UPDATE jobs SET alive = FALSE, runs = runs - 1 WHERE id = $1 AND alive = TRUE")
            .bind(&job.id)
            .execute(tx.connection())
            .await?;
        tx.commit().await
    }

    /// A run has ended: the job is over, or will be run again.
    async fn ended(&mut self, job: &JobRow, end: &Termination, started_at: Option<Timestamp>) -> Result<()> {
        let run = job.run_id();
        self.ending.remove(&run);
        let plan = plan_of(job);
        // By one clock, the runner's.
        let lasted = started_at.map(|started| end.at.as_microsecond() - started.as_microsecond());
        let quick = lasted.is_some_and(|lasted| lasted < restart::QUICK);
        let quick_ends = if quick { job.quick_ends.saturating_add(1) } else { 0 };
        let context = RequestContext::local();
        let mut tx = self.begin(&context).await?;
        // It was too quick to be seen running.
        if !job.is(JobState::Running) && started_at.is_some() {
            began(&mut tx, job).await?;
        }
        let now = tx.now().as_microsecond();
        let at = self.app.clock().told(end.at).as_microsecond().min(now);
        // One that was evicted would only fill the disk again.
        let by_rules = !self.app.jobs().runner().restarts_jobs(&job.cluster_id);
        let may_repeat = job.deleted_at.is_none() && !end.is_eviction() && by_rules;
        let again = plan.as_ref().ok().filter(|_| may_repeat);
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
        query(
            "UPDATE jobs SET state = $1, alive = FALSE, ended_at = $2, exit_code = $3, signal = $4, problem = $5, due_at = $6, expires_at = $7, quick_ends = $8, waits_for = NULL WHERE id = $9",
        )
        .bind(state.name())
        .bind(at)
        .bind(end.exit_code)
        .bind(end.signal)
        .bind(&end.problem)
        .bind(again.map(|seconds| now.saturating_add(seconds.saturating_mul(1_000_000))))
        .bind(expires_at)
        .bind(quick_ends)
        .bind(&job.id).execute(tx.connection())
        .await?;
        let (kind, reason, message) = end.event(&job.pod(), job.deleted_at.is_some());
        note(tx.connection(), job, at, kind, reason, &message).await?;
        if let Some(seconds) = again {
            let message = restart::message(job.runs, end.is_success(), seconds, quick_ends);
            note(tx.connection(), job, now, EventKind::Normal, "SparkApplicationPendingRerun", &message).await?;
        }
        row::forget_events(tx.connection(), job, restart::EVENTS).await?;
        active(&mut tx, &job.cluster_id).await?;
        tx.commit().await?;
        self.app.metrics().job_ended(match (end.is_eviction(), end.is_success()) {
            (true, _) => RunEnd::Evicted,
            (false, true) => RunEnd::Succeeded,
            (false, false) => RunEnd::Failed,
        });
        self.forget(&run).await;
        if again.is_none() {
            self.last_events.remove(&job.id);
            clean_up(&self.app, &run.job, job.deleted_at.is_some()).await;
            let (app, fence, cluster) = (self.app.clone(), self.fence.clone(), job.cluster_id.clone());
            self.tasks.spawn(async move {
                if let Err(error) = limit_logs(&app, &fence, &cluster).await {
                    tracing::error!("the logs of a cluster could not be held to their limit: {error}");
                }
            });
        }
        Ok(())
    }

    /// The end of a run is in the store.
    async fn forget(&self, run: &RunId) {
        if let Err(error) = self.app.jobs().runner().forget(run).await {
            tracing::warn!("what is left of run {run} stays: {error}: {:?}", crate::error::causes(&error));
        }
    }

    /// Notes what the runner saw happen to a job. After a start of the server, what was noted before comes again: of each
    /// reason that is there, nothing more is noted then.
    async fn note_events(&mut self, job: &JobRow) -> Result<()> {
        let after = self.last_events.get(&job.id).map(String::as_str);
        let events = self.app.jobs().runner().events(&job.job_ref(), after).await?;
        let Some(last) = events.last().map(|event| event.key.clone()) else { return Ok(()) };
        let mut noted: HashSet<String> = HashSet::new();
        if after.is_none() {
            let mut connection = self.app.read().await?;
            for event in &events {
                if row::is_noted(&mut connection, job, &event.reason).await? {
                    noted.insert(event.reason.clone());
                }
            }
        }
        let new: Vec<_> = events.iter().filter(|event| !noted.contains(&event.reason)).collect();
        if !new.is_empty() {
            let context = RequestContext::local();
            let mut tx = self.begin(&context).await?;
            let now = tx.now().as_microsecond();
            for event in new {
                note(tx.connection(), job, now, event.kind, &event.reason, &event.message).await?;
            }
            tx.commit().await?;
        }
        self.last_events.insert(job.id.clone(), last);
        Ok(())
    }

    /// A start has failed: the job is over, or it will be tried again.
    async fn not_started(&mut self, job: &JobRow, problem: &str) -> Result<()> {
        let failed = job.failed_starts.saturating_add(1);
        let again = plan_of(job).ok().and_then(|plan| plan.restart.after_submission(failed));
        let again = again.map(|seconds| seconds.max(restart::back_off(failed)));
        let context = RequestContext::local();
        let mut tx = self.begin(&context).await?;
        let now = tx.now().as_microsecond();
        let state = if again.is_some() { JobState::SubmissionFailed } else { JobState::Failed };
        query(
            "UPDATE jobs SET state = $1, runs = runs - CASE WHEN alive = TRUE THEN 1 ELSE 0 END, alive = FALSE, failed_starts = $2, ended_at = $3, exit_code = NULL, signal = NULL, problem = $4, due_at = $5, waits_for = NULL WHERE id = $6",
        )
        .bind(state.name())
        .bind(failed)
        .bind(now)
        .bind(problem)
        .bind(again.map(|seconds| now.saturating_add(seconds.saturating_mul(1_000_000))))
        .bind(&job.id).execute(tx.connection())
        .await?;
        let message = format!("failed to submit the application: {problem}");
        note(tx.connection(), job, now, EventKind::Warning, "SparkApplicationSubmissionFailed", &message).await?;
        row::forget_events(tx.connection(), job, restart::EVENTS).await?;
        active(&mut tx, &job.cluster_id).await?;
        tx.commit().await?;
        self.app.metrics().job_ended(RunEnd::NotStarted);
        if job.alive {
            self.forget(&job.run_id()).await;
        }
        if again.is_none() {
            clean_up(&self.app, &job.job_ref(), job.deleted_at.is_some()).await;
        }
        Ok(())
    }

    /// A time to live is over.
    async fn expire(&self, job: &JobRow) -> Result<()> {
        let context = RequestContext::local();
        let mut tx = self.begin(&context).await?;
        delete(&mut tx, job, "its time to live is over").await?;
        tx.commit().await?;
        if !job.alive {
            clean_up(&self.app, &job.job_ref(), true).await;
        }
        Ok(())
    }

    /// A cluster that goes takes its jobs along.
    async fn end_those_without_cluster(&self) -> Result<()> {
        let now = self.app.clock().now().as_microsecond();
        let mut jobs = self.open().await?;
        jobs.retain(|job| job.deleted_at.is_none());
        let mut seen: HashMap<String, bool> = HashMap::new();
        for job in &jobs {
            if !seen.contains_key(&job.cluster_id) {
                let cluster = clusters::row::find(&mut self.app.read().await?, &job.cluster_id).await?;
                let there = cluster.is_some_and(|c| !c.is_being_deleted() && c.status(now).is_some());
                seen.insert(job.cluster_id.clone(), there);
            }
        }
        jobs.retain(|job| seen.get(&job.cluster_id) == Some(&false));
        if jobs.is_empty() {
            return Ok(());
        }
        let context = RequestContext::local();
        let mut tx = self.begin(&context).await?;
        for job in &jobs {
            delete(&mut tx, job, "its cluster was deleted").await?;
        }
        tx.commit().await?;
        for job in jobs.iter().filter(|job| !job.alive) {
            clean_up(&self.app, &job.job_ref(), true).await;
        }
        Ok(())
    }
}

/// The cluster was active until now.
async fn active(tx: &mut Transaction<'_>, cluster: &str) -> Result<()> {
    let now = tx.now().as_microsecond();
    query("UPDATE clusters SET last_active_at = CASE WHEN last_active_at > $1 THEN last_active_at ELSE $1 END WHERE id = $2")
        .bind(now)
        .bind(cluster).execute(tx.connection())
        .await?;
    Ok(())
}

async fn began(tx: &mut Transaction<'_>, job: &JobRow) -> Result<()> {
    let now = tx.now().as_microsecond();
    query("UPDATE jobs SET state = 'RUNNING', started_at = $1, failed_starts = 0 WHERE id = $2")
        .bind(now)
        .bind(&job.id)
        .execute(tx.connection())
        .await?;
    let message = "Started container spark-kubernetes-driver";
    note(tx.connection(), job, now, EventKind::Normal, "Started", message).await
}

/// Ends a job of the platform's own.
pub(crate) async fn end(app: &App, job: &JobRow, why: &'static str) -> Result<()> {
    let context = RequestContext::local();
    let mut tx = app.begin(&context).await?;
    delete(&mut tx, job, why).await?;
    tx.commit().await
}

async fn delete(tx: &mut Transaction<'_>, job: &JobRow, why: &'static str) -> Result<()> {
    let now = tx.now().as_microsecond();
    query("UPDATE jobs SET deleted_at = $1 WHERE id = $2 AND deleted_at IS NULL")
        .bind(now)
        .bind(&job.id)
        .execute(tx.connection())
        .await?;
    note(tx.connection(), job, now, EventKind::Normal, "SparkApplicationDeleted", why).await
}

/// What a job's manifest asks for.
pub(crate) fn plan_of(job: &JobRow) -> Result<Plan, String> {
    Plan::read(&manifest_of(job)?)
}

fn manifest_of(job: &JobRow) -> Result<Value, String> {
    serde_json::from_str(&job.manifest).map_err(|error| error.to_string())
}
