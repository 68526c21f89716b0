//! Waiting for jobs.
//!
//! All waits of a client for jobs of one cluster share one long poll ([`Watch`]): the first wait starts it, the last one
//! ends it.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use mlplatform_protocol::{
    Explanation, JobInfo, JobState, Open,
    jobs::{JobChangesRequest, JobRequest, LONGEST_LOG_WAIT_MS},
    routes::{DescribeSparkJob, SparkJobExplain, SparkJobInfo, WaitForSparkJob},
};
use serde_json::Value;
use tokio::time::{sleep, timeout_at};

use crate::{
    client::Client,
    clusters::cluster_id,
    deadline::Deadline,
    error::Error,
    jobs::job,
    outage::Outage,
    watch::{Update, Waiter, Watch, Watched, locked},
};

/// The time limit of one long poll, its wait included.
const POLL: Duration = Duration::from_millis(LONGEST_LOG_WAIT_MS + 10_000);
/// The time limit of the requests that explain how a wait ended. They are not part of the caller's timeout.
const AFTERWARDS: Duration = Duration::from_secs(10);
/// Lines of the log, and events, that a failure reports.
const LAST_LINES: u64 = 50;
const LAST_EVENTS: usize = 10;

/// The state to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The program runs, or has run.
    Running,
    /// The job has ended.
    Completed,
}

impl Until {
    /// From the name that Python uses.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "running" => Some(Self::Running),
            "completed" => Some(Self::Completed),
            _ => None,
        }
    }

    /// Whether a job in this state has reached it. An unknown state of a newer platform is not final.
    fn is_reached(self, status: &Open<JobState>) -> bool {
        match status {
            Open::Known(JobState::Completed) => true,
            Open::Known(JobState::Running | JobState::Failing) => self == Self::Running,
            _ => false,
        }
    }
}

/// How a wait ended.
#[derive(Debug)]
pub enum Waited {
    /// The job reached the state.
    Reached(JobInfo),
    /// The job failed.
    Failed(Box<Failure>),
}

/// What is known about a failed job.
#[derive(Debug)]
pub struct Failure {
    /// The job.
    pub info: JobInfo,
    /// The cause; `None`: it could not be fetched.
    pub explanation: Option<Explanation>,
    /// The end of its log.
    pub log: Vec<u8>,
    /// The last warnings among its events, or the last events if there are no warnings; one line each.
    pub events: Vec<String>,
}

impl Client {
    /// Waits until a job has completed, or runs. `on_update` is called with the job's state at the beginning and after each
    /// change; changes that arrive together are reported once.
    ///
    /// # Errors
    /// See [`crate::Kind`]. [`crate::Kind::Timeout`] says why the job is still waiting or running.
    pub async fn wait_for_spark_job(
        self: Arc<Self>,
        cluster: &str,
        job_name: &str,
        until: Until,
        timeout: Option<Duration>,
        on_update: impl Fn(&JobInfo) + Send + Sync,
    ) -> Result<Waited, Error> {
        let named = job(cluster, job_name)?;
        let deadline = timeout.map(Deadline::after);
        let watched = Watched::new(self.watch(cluster)?, &named.job_name);
        let wait = self.wait(&named, &watched, until, deadline, &on_update);
        let ended = match deadline {
            None => wait.await,
            Some(deadline) => match timeout_at(deadline.at(), wait).await {
                Ok(ended) => ended,
                Err(_) => Err(self.timed_out(&named, &watched, deadline).await),
            },
        };
        let info = ended?;
        if until.is_reached(&info.status) {
            return Ok(Waited::Reached(info));
        }
        let _permit = watched.watch.requests.acquire().await.map_err(Error::internal)?;
        Ok(Waited::Failed(Box::new(self.failure(named, info).await)))
    }

    /// The job once it has reached the state or failed.
    async fn wait(
        &self,
        named: &JobRequest,
        watched: &Watched,
        until: Until,
        deadline: Option<Deadline>,
        on_update: &(impl Fn(&JobInfo) + Send + Sync),
    ) -> Result<JobInfo, Error> {
        let mut started = watched.watch.started.subscribe();
        let is_started = started.wait_for(Option::is_some).await.map_err(Error::internal)?.clone();
        is_started.transpose()?;
        let mut info = {
            let _permit = watched.watch.requests.acquire().await.map_err(Error::internal)?;
            let deadline = deadline.unwrap_or_else(|| self.deadline(None));
            self.call::<SparkJobInfo>(named, deadline).await?.info
        };
        let (mut updates, mut waiter) = (watched.updates.clone(), None);
        loop {
            on_update(&info);
            if until.is_reached(&info.status) || info.status == Open::Known(JobState::Failed) {
                return Ok(info);
            }
            waiter.get_or_insert_with(|| Waiter::new(&watched.watch.waiters));
            loop {
                let changed = match updates.borrow_and_update().clone() {
                    Update::None => None,
                    Update::Failed(error) => return Err(error),
                    Update::Changed(change) => Some(change),
                };
                match changed {
                    // Older than the answer above.
                    Some(change) if change.info == info && !change.deleted => {}
                    // Of a deleted job with the same name.
                    Some(change) if change.info.created_at < info.created_at => {}
                    Some(change) if change.deleted || change.info.created_at != info.created_at => {
                        return Err(Error::job_deleted(&info.job_name, info.status.name()));
                    }
                    Some(change) => {
                        info = change.info;
                        break;
                    }
                    None => {}
                }
                updates.changed().await.map_err(Error::internal)?;
            }
        }
    }

    async fn timed_out(&self, named: &JobRequest, watched: &Watched, deadline: Deadline) -> Error {
        let afterwards = Deadline::after(AFTERWARDS);
        let explanation = async {
            let _permit = watched.watch.requests.acquire().await.map_err(Error::internal)?;
            self.call::<SparkJobExplain>(named, afterwards).await
        };
        let explanation = timeout_at(afterwards.at(), explanation).await.ok().and_then(Result::ok);
        match explanation {
            Some(explanation) => Error::still_waiting(deadline.whole(), &named.job_name, &explanation),
            None => deadline.passed(&format!("waiting for the job '{}'", named.job_name)),
        }
    }

    /// Collects what helps to find the cause. A part that cannot be fetched is left out.
    async fn failure(&self, named: JobRequest, info: JobInfo) -> Failure {
        let deadline = Deadline::after(AFTERWARDS);
        let explanation = self.call::<SparkJobExplain>(&named, deadline).await.ok();
        let events = self
            .call::<DescribeSparkJob>(&named, deadline)
            .await
            .map(|description| events(&description))
            .unwrap_or_default();
        let (tail, wait) = (Some(LAST_LINES), Some(Duration::ZERO));
        let log = self.spark_job_logs(&named.cluster_id, &named.job_name, tail, wait, Some(deadline.left())).await;
        Failure { info, explanation, log: log.map(|log| log.bytes).unwrap_or_default(), events }
    }

    /// The watch of a cluster, or a new one.
    fn watch(self: &Arc<Self>, cluster: &str) -> Result<Arc<Watch>, Error> {
        let cluster = cluster_id(cluster)?;
        let mut watches = locked(&self.watches.0);
        let known = watches.get(&cluster).and_then(Weak::upgrade);
        // A poll that has failed for good is not used by new waits.
        let known = known.filter(|watch| !matches!(&*watch.started.borrow(), Some(Err(_))));
        if let Some(watch) = known {
            return Ok(watch);
        }
        watches.retain(|_, watch| watch.strong_count() > 0);
        let watch = Arc::new(Watch::new(&cluster));
        watches.insert(cluster, Arc::downgrade(&watch));
        drop(watches);
        let task = tokio::spawn(Arc::clone(self).poll(Arc::downgrade(&watch))).abort_handle();
        *locked(&watch.task) = Some(task);
        Ok(watch)
    }

    /// Polls as long as there are waits.
    async fn poll(self: Arc<Self>, of: Weak<Watch>) {
        let known = of.upgrade().map(|watch| (watch.cluster.clone(), watch.waiters.subscribe()));
        let Some((cluster_id, mut waiters)) = known else { return };
        let mut since = None;
        let mut outage: Option<Outage> = None;
        loop {
            let request = JobChangesRequest {
                cluster_id: cluster_id.clone(),
                since,
                wait_ms: since.map(|_| LONGEST_LOG_WAIT_MS),
            };
            // The first request does not wait: it has the usual timeout, and its errors are not retried.
            let deadline = if since.is_some() { Deadline::after(POLL) } else { self.deadline(None) };
            let answer = self.call::<WaitForSparkJob>(&request, deadline).await;
            let Some(watch) = of.upgrade() else { return };
            match answer {
                Ok(changes) => {
                    outage = None;
                    since = Some(changes.version);
                    watch.publish(changes.jobs);
                    drop(watch);
                    if waiters.wait_for(|count| *count > 0).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let passed = outage.get_or_insert_default();
                    let Some(pause) = passed.pause(&error).filter(|_| since.is_some()) else {
                        return watch.fail(&error);
                    };
                    drop(watch);
                    sleep(pause).await;
                }
            }
        }
    }
}

/// The last events of a job's description that matter.
fn events(description: &Value) -> Vec<String> {
    let all: Vec<&Value> = description.get("events").and_then(Value::as_array).into_iter().flatten().collect();
    let of = |event: &Value, key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let warnings: Vec<&Value> = all.iter().copied().filter(|event| of(event, "type") == "WARNING").collect();
    let shown = if warnings.is_empty() { all } else { warnings };
    let line = |event: &&Value| ["time", "type", "reason", "message"].map(|key| of(event, key)).join(" ");
    shown.iter().skip(shown.len().saturating_sub(LAST_EVENTS)).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_final_states_end_a_wait() {
        let unknown = Open::Unknown("SUSPENDED".to_owned());
        for until in [Until::Running, Until::Completed] {
            assert!(until.is_reached(&JobState::Completed.into()) && !until.is_reached(&unknown));
            for state in [JobState::Submitted, JobState::SubmissionFailed, JobState::PendingRerun, JobState::Failed] {
                assert!(!until.is_reached(&state.into()), "{state:?}");
            }
        }
        for state in [JobState::Running, JobState::Failing] {
            assert!(Until::Running.is_reached(&state.into()) && !Until::Completed.is_reached(&state.into()));
        }
    }

    #[test]
    fn events_are_the_warnings_if_there_are_any() {
        let event = |kind: &str, reason: &str| json!({"time": "t", "type": kind, "reason": reason, "message": "m"});
        let description = json!({"events": [event("WARNING", "a"), event("NORMAL", "b")]});
        assert_eq!(events(&description), ["t WARNING a m"]);
        assert_eq!(events(&json!({"events": [event("NORMAL", "b")]})), ["t NORMAL b m"]);
        assert!(events(&json!({"events": 5})).is_empty());
    }
}
