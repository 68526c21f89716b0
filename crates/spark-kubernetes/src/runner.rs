//! The runner of a cluster on Kubernetes.

use std::{
    future::ready,
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use mlplatform_protocol::EventKind;
use mlplatform_runner::{
    log::{self, Gap, JobLog, OwnedLog, truncation_message},
    runner::{
        Answer, ClusterRef, JobRef, KnownJobs, LogChunk, PreparedRun, Run, RunId, RunStatus, Runner, RunnerError,
        RunnerEvent,
    },
    values::Values,
};
use serde_json::Value;

use crate::{errors::ask_for, names, settings::KubernetesConfig, shared::Shared, start, status, stop, watches};

const LOG_TRUNCATED: &str = "LogTruncated";

/// Runs the jobs of a cluster on Kubernetes. Clones share everything.
#[derive(Clone, Debug)]
pub struct KubernetesRunner {
    shared: Arc<Shared>,
}

impl KubernetesRunner {
    /// Reads the credentials; nothing is sent yet.
    ///
    /// # Errors
    /// [`RunnerError::Unavailable`] when they cannot be read.
    pub async fn new(config: KubernetesConfig) -> Result<Self, RunnerError> {
        Ok(Self { shared: Arc::new(Shared::new(config).await?) })
    }

    /// The namespace that it uses.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.shared.namespace
    }
}

impl Runner for KubernetesRunner {
    /// The operator does.
    fn restarts_jobs(&self, _: &str) -> bool {
        true
    }

    fn work(&self) -> BoxFuture<'_, ()> {
        Box::pin(watches::watch(&self.shared))
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.shared.changed.notified())
    }

    fn ensure<'a>(&'a self, _: &'a ClusterRef) -> Answer<'a, ()> {
        // Its namespace is the administrator's. Nothing is asked: a cluster is made while the store waits.
        Box::pin(ready(Ok(())))
    }

    fn remove<'a>(&'a self, cluster: &'a ClusterRef) -> Answer<'a, ()> {
        Box::pin(stop::remove_cluster(&self.shared, &cluster.id))
    }

    fn reconcile(&self, known: KnownJobs) -> Answer<'_, ()> {
        Box::pin(async move { stop::reconcile(&self.shared, &known).await })
    }

    fn upload<'a>(
        &'a self,
        cluster: &'a ClusterRef,
        job: &'a str,
        name: &'a str,
        content: Vec<u8>,
    ) -> Answer<'a, String> {
        let job = JobRef { id: job.to_owned(), cluster: cluster.id.clone(), name: String::new() };
        Box::pin(start::upload(&self.shared, job, name, content))
    }

    fn remove_upload(&self, _: &ClusterRef, job: &str) {
        let (shared, job) = (Arc::clone(&self.shared), job.to_owned());
        shared.removed_programs.lock().unwrap_or_else(PoisonError::into_inner).insert(job.clone());
        tokio::spawn(async move {
            // What stays after all, the next start of a server removes.
            if let Err(error) = stop::clean_up(&shared, &job, true).await {
                tracing::warn!("the program of job {job}, which was not made, stays for now: {error}");
            } else {
                shared.removed_programs.lock().unwrap_or_else(PoisonError::into_inner).remove(&job);
            }
        });
    }

    fn check<'a>(&'a self, run: Run<'a>, values: &'a Values) -> Answer<'a, Vec<String>> {
        Box::pin(async move { start::check(&self.shared, run, values).await.map(|()| Vec::new()) })
    }

    fn ready<'a>(&'a self, _: &'a ClusterRef) -> Answer<'a, ()> {
        Box::pin(ready(Ok(())))
    }

    fn prepare<'a>(&'a self, run: Run<'a>, values: &'a Values) -> Answer<'a, PreparedRun<'a>> {
        Box::pin(start::prepare(&self.shared, run, values))
    }

    fn status<'a>(&'a self, runs: &'a [RunId]) -> Answer<'a, Vec<RunStatus>> {
        Box::pin(async move {
            let mut found = Vec::with_capacity(runs.len());
            for run in runs {
                found.push(status::status(&self.shared, run).await?);
            }
            Ok(found)
        })
    }

    fn stop<'a>(&'a self, run: &'a RunId, grace: Duration) -> Answer<'a, ()> {
        Box::pin(stop::stop(&self.shared, run, grace))
    }

    /// What is kept for telling an end is a few bytes beside the log, and also tells that the run was.
    fn forget<'a>(&'a self, _: &'a RunId) -> Answer<'a, ()> {
        Box::pin(ready(Ok(())))
    }

    fn clean_up<'a>(&'a self, job: &'a JobRef, deleted: bool) -> Answer<'a, ()> {
        Box::pin(stop::clean_up(&self.shared, &job.id, deleted))
    }

    fn log<'a>(&'a self, job: &'a JobRef, offset: u64, most: usize) -> Answer<'a, Option<LogChunk>> {
        let log = self.shared.folder(&job.id).log();
        Box::pin(
            self.shared
                .on_disk("reading a log", move |_| JobLog::open(&log)?.map(|log| log.chunk(offset, most)).transpose()),
        )
    }

    fn limit_logs(&self, jobs: Vec<(JobRef, bool)>) -> Answer<'_, Vec<(JobRef, RunnerEvent)>> {
        Box::pin(self.shared.on_disk("cutting logs", move |shared| {
            let owned = |(owner, is_over): (JobRef, bool)| {
                let path = shared.folder(&owner.id).log();
                OwnedLog { owner, is_over, path }
            };
            let logs = jobs.into_iter().map(owned).collect();
            let cut = log::shrink(logs, shared.config.longest_cluster_logs).into_iter();
            Ok(cut.map(|(job, gap)| (job, truncated(&gap))).collect())
        }))
    }

    fn events<'a>(&'a self, job: &'a JobRef, after: Option<&'a str>) -> Answer<'a, Vec<RunnerEvent>> {
        let jobs = self.shared.jobs();
        let all = jobs.get(&job.id).map(|job| &job.events);
        let seen = |events: &&std::collections::VecDeque<RunnerEvent>| {
            after.and_then(|after| events.iter().position(|event| event.key == after)).map_or(0, |seen| seen + 1)
        };
        let new = all.map(|events| events.iter().skip(seen(&events)).cloned().collect());
        Box::pin(ready(Ok(new.unwrap_or_default())))
    }

    fn describe<'a>(&'a self, job: &'a JobRef) -> Answer<'a, Option<Value>> {
        Box::pin(async move {
            let name = names::application(&job.id);
            let found = ask_for("reading a SparkApplication", self.shared.applications.get(&name)).await?;
            Ok(found.and_then(|mut found| {
                found.metadata.managed_fields = None;
                serde_json::to_value(found).ok()
            }))
        })
    }

    fn with_user_paths(&self, _: &JobRef, text: String) -> String {
        text
    }
}

/// The event about a log with a gap.
fn truncated(gap: &Gap) -> RunnerEvent {
    RunnerEvent {
        key: LOG_TRUNCATED.to_owned(),
        kind: EventKind::Warning,
        reason: LOG_TRUNCATED.to_owned(),
        message: truncation_message(gap),
    }
}
