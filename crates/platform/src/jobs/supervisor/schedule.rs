//! Scheduling: which waiting jobs of a cluster start, in which order, and what the others wait for.

use mlplatform_store::query;
use std::sync::Arc;

use mlplatform_protocol::{ClusterStatus, EventKind, JobState};
use mlplatform_runner::{
    quantity::{cores_text, memory_text},
    runner::{Resource, Run, RunId, RunnerError},
};
use serde_json::json;

use super::{Supervisor, manifest_of, plan_of};
use crate::{
    audit::{Event, Outcome},
    clusters::{self, row::Cluster},
    connect,
    error::Result,
    jobs::{
        row::{JobRow, note},
        values::values_of,
    },
    request::RequestContext,
};

impl Supervisor {
    /// Starts those of a cluster for which there is room, in their order; gives whether any was started.
    pub(super) async fn schedule(&mut self, cluster_id: &str, jobs: Vec<JobRow>, used: (i64, i64)) -> Result<bool> {
        let now = self.app.clock().now().as_microsecond();
        let cluster = clusters::row::find(&mut self.app.read().await?, cluster_id).await?;
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
            } else if let Err(error) = self.app.jobs().runner().ready(&cluster.cluster_ref()).await {
                self.waits_for_runner(&job, error).await?;
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
        let mut tx = self.begin(&context).await?;
        query("UPDATE jobs SET state = 'PENDING_RERUN', due_at = NULL WHERE id = $1")
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
        let mut tx = self.begin(&context).await?;
        query("UPDATE jobs SET waits_for = $1 WHERE id = $2").bind(what).bind(&job.id).execute(tx.connection()).await?;
        let now = tx.now().as_microsecond();
        note(tx.connection(), job, now, kind, reason, text).await?;
        tx.commit().await
    }

    /// A run waits for what the runner lacks.
    async fn waits_for_runner(&self, job: &JobRow, error: RunnerError) -> Result<()> {
        let RunnerError::Exhausted { resource, message } = error else { return Err(error.into()) };
        let (what, reason) = match resource {
            Resource::Disk => ("disk", "DiskPressure"),
            Resource::UserIds => ("ids", "FailedScheduling"),
        };
        self.waits(job, what, EventKind::Warning, reason, &message).await
    }

    /// A job starts the cluster that it was submitted to.
    async fn wake(&self, cluster: &Cluster, job: &JobRow) -> Result<()> {
        let context = RequestContext::local();
        let mut tx = self.begin(&context).await?;
        clusters::row::wake(&mut tx, &cluster.id, None).await?;
        let detail = json!({"name": cluster.name, "job": job.name});
        let (action, subject) = ("wake_cluster_for_job", Some(cluster.id.as_str()));
        tx.record(Event { action, actor: None, subject, outcome: Outcome::Done, detail }).await?;
        tx.commit().await
    }

    /// Gives whether it is on its way, and not waiting.
    async fn start(&mut self, mut job: JobRow, cluster: &Cluster) -> Result<bool> {
        let read = plan_of(&job).and_then(|plan| Ok((plan, manifest_of(&job)?)));
        let (mut plan, manifest) = match read {
            Ok(read) => read,
            Err(problem) => return self.not_started(&job, &problem).await.map(|()| true),
        };
        connect::server::arm(&self.app, &job, &mut plan).await?;
        let values = values_of(&self.app, &cluster.id, &plan).await?;
        let runner = Arc::clone(self.app.jobs().runner());
        let id = RunId { job: job.job_ref(), number: job.runs.saturating_add(1) };
        let known = cluster.cluster_ref();
        let run = Run { cluster: &known, id: &id, plan: &plan, manifest: &manifest };
        let prepared = match runner.prepare(run, &values).await {
            Ok(prepared) => prepared,
            Err(RunnerError::Job(problem) | RunnerError::Unavailable(problem)) => {
                return self.not_started(&job, &problem).await.map(|()| true);
            }
            Err(error) => return self.waits_for_runner(&job, error).await.map(|()| false),
        };
        let context = RequestContext::local();
        let mut tx = self.begin(&context).await?;
        let now = tx.now().as_microsecond();
        // Before anything is started: a server that is killed now finds a run that did not begin, and begins it.
        let begun = query(
            "UPDATE jobs SET alive = TRUE, runs = runs + 1, log_from = $1, waits_for = NULL WHERE id = $2 AND deleted_at IS NULL",
        )
        .bind(i64::try_from(prepared.log_from).unwrap_or(i64::MAX))
        .bind(&job.id).execute(tx.connection())
        .await?;
        if begun == 0 {
            return Ok(true);
        }
        job.runs = id.number;
        job.alive = true;
        let message = format!("Successfully assigned {}/{} to {}", plan.namespace, job.pod(), cluster.name);
        note(tx.connection(), &job, now, EventKind::Normal, "Scheduled", &message).await?;
        tx.commit().await?;
        self.app.metrics().job_started();
        match prepared.start().await {
            Ok(()) => {}
            Err(RunnerError::Job(problem) | RunnerError::Unavailable(problem)) => {
                self.not_started(&job, &problem).await?;
            }
            Err(RunnerError::Exhausted { .. }) => self.start_again(&job).await?,
            // Whether it runs shows at the next look.
            Err(error) => tracing::warn!("run {id} may not have started: {error}: {:?}", crate::error::causes(&error)),
        }
        Ok(true)
    }
}

fn asks(job: &JobRow) -> String {
    format!("the job asks for {}", amounts(job.millicores, job.memory_mib))
}

fn amounts(millicores: i64, memory_mib: i64) -> String {
    let number = |number: i64| u64::try_from(number).unwrap_or_default();
    format!("{} cores and {}", cores_text(number(millicores)), memory_text(number(memory_mib)))
}
