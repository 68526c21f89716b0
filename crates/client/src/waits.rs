//! Waiting for jobs. All waits of a client for jobs of one cluster share one long poll ([`Watch`]), which is made for the
//! first of them and goes with the last.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use mlplatform_protocol::{
    ErrorCode, Explanation, JobInfo, JobState, Open,
    jobs::{JobChange, JobChangesRequest, JobRequest, LONGEST_LOG_WAIT_MS},
    routes::{DescribeSparkJob, SparkJobExplain, SparkJobInfo, WaitForSparkJob},
};
use serde_json::Value;
use tokio::{
    sync::{Semaphore, watch},
    task::AbortHandle,
    time::{Instant, sleep, timeout_at},
};

use crate::{Client, Error, Kind, clusters::cluster_id, jobs::job, transport::Deadline};

/// For how long a platform that does not answer any more is borne: a restart, an update, a network that was changed.
pub(crate) const OUTAGE: Duration = Duration::from_secs(600);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long one long poll may take, its wait included.
const POLL: Duration = Duration::from_millis(LONGEST_LOG_WAIT_MS + 10_000);
/// So many requests about single jobs are sent at once, however many wait.
const ASKING: usize = 8;
/// How long the questions may take that are asked when a wait has ended, its own time being over or not needed any more.
const AFTERWARDS: Duration = Duration::from_secs(10);
/// Of a failed job's log.
const LAST_LINES: u64 = 50;
const LAST_EVENTS: usize = 10;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Its program runs, or has run.
    Running,
    /// It has ended.
    Completed,
}

impl Until {
    /// As Python names it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "running" => Some(Self::Running),
            "completed" => Some(Self::Completed),
            _ => None,
        }
    }

    /// Whether that state is it. One that nobody here knows is waited through.
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
    /// As it was to.
    Reached(JobInfo),
    /// The job failed.
    Failed(Box<Failure>),
}

/// What is known of a job that failed.
#[derive(Debug)]
pub struct Failure {
    /// The job.
    pub info: JobInfo,
    /// Why; `None`: the platform does not say.
    pub explanation: Option<Explanation>,
    /// The end of its log.
    pub log: Vec<u8>,
    /// One line each: the warnings among its events; if there are none, the last.
    pub events: Vec<String>,
}

/// The watches of a client, by cluster.
#[derive(Default)]
pub(crate) struct Watches(Mutex<HashMap<String, Weak<Watch>>>);

/// One cluster's long poll, and who waits for what.
pub(crate) struct Watch {
    cluster: String,
    jobs: Mutex<HashMap<String, watch::Sender<News>>>,
    /// From then on nothing is missed; or why there will be nothing.
    begun: watch::Sender<Option<Result<(), Error>>>,
    asking: Semaphore,
    /// How many wait for news. While nobody does, nothing is asked.
    needed: watch::Sender<usize>,
    task: Mutex<Option<AbortHandle>>,
}

#[derive(Clone, Debug, Default)]
enum News {
    #[default]
    None,
    Changed(JobChange),
    Ended(Error),
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = locked(&self.task).take() {
            task.abort();
        }
    }
}

/// Somebody who waits for news.
struct Need<'a>(&'a watch::Sender<usize>);

impl<'a> Need<'a> {
    fn new(needed: &'a watch::Sender<usize>) -> Self {
        needed.send_modify(|count| *count = count.saturating_add(1));
        Self(needed)
    }
}

impl Drop for Need<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// One job that is waited for. When this goes, it is forgotten.
struct Watched {
    watch: Arc<Watch>,
    name: String,
    news: watch::Receiver<News>,
}

impl Watched {
    fn new(watch: Arc<Watch>, name: &str) -> Self {
        let news = locked(&watch.jobs).entry(name.to_owned()).or_default().subscribe();
        Self { watch, name: name.to_owned(), news }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut jobs = locked(&self.watch.jobs);
        // Its own receiver is still there.
        if jobs.get(&self.name).is_some_and(|news| news.receiver_count() <= 1) {
            jobs.remove(&self.name);
        }
    }
}

impl Client {
    /// Waits until a job has ended well, or runs. `told` is called with what is known at the beginning, and with every
    /// change; changes that come together are told as one.
    ///
    /// # Errors
    /// See [`crate::Kind`]. [`Kind::Timeout`] says what the job is doing instead.
    pub async fn wait_for_spark_job(
        self: Arc<Self>,
        cluster: &str,
        job_name: &str,
        until: Until,
        timeout: Option<Duration>,
        told: impl Fn(&JobInfo) + Send + Sync,
    ) -> Result<Waited, Error> {
        let named = job(cluster, job_name)?;
        let deadline = timeout.map(Deadline::after);
        let watched = Watched::new(self.watch(cluster)?, &named.job_name);
        let waiting = self.wait(&named, &watched, until, deadline, &told);
        let ended = match deadline {
            None => waiting.await,
            Some(deadline) => match timeout_at(deadline.at(), waiting).await {
                Ok(ended) => ended,
                Err(_) => Err(self.too_late(&named, &watched, deadline).await),
            },
        };
        let info = ended?;
        if until.is_reached(&info.status) {
            return Ok(Waited::Reached(info));
        }
        let _permit = watched.watch.asking.acquire().await.map_err(Error::internal)?;
        Ok(Waited::Failed(Box::new(self.failure(named, info).await)))
    }

    /// What the job is when the wait is over: what was waited for, or failed.
    async fn wait(
        &self,
        named: &JobRequest,
        watched: &Watched,
        until: Until,
        deadline: Option<Deadline>,
        told: &(impl Fn(&JobInfo) + Send + Sync),
    ) -> Result<JobInfo, Error> {
        let mut begun = watched.watch.begun.subscribe();
        let is_begun = begun.wait_for(Option::is_some).await.map_err(Error::internal)?.clone();
        is_begun.transpose()?;
        let mut info = {
            let _permit = watched.watch.asking.acquire().await.map_err(Error::internal)?;
            let deadline = deadline.unwrap_or_else(|| self.deadline(None));
            self.call::<SparkJobInfo>(named, deadline).await?.info
        };
        let (mut news, mut need) = (watched.news.clone(), None);
        loop {
            told(&info);
            if until.is_reached(&info.status) || info.status == Open::Known(JobState::Failed) {
                return Ok(info);
            }
            need.get_or_insert_with(|| Need::new(&watched.watch.needed));
            loop {
                let changed = match news.borrow_and_update().clone() {
                    News::None => None,
                    News::Ended(error) => return Err(error),
                    News::Changed(change) => Some(change),
                };
                match changed {
                    // Told before it was asked.
                    Some(change) if change.info == info && !change.deleted => {}
                    // Of one that had the name before.
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
                news.changed().await.map_err(Error::internal)?;
            }
        }
    }

    async fn too_late(&self, named: &JobRequest, watched: &Watched, deadline: Deadline) -> Error {
        let afterwards = Deadline::after(AFTERWARDS);
        let asking = async {
            let _permit = watched.watch.asking.acquire().await.map_err(Error::internal)?;
            self.call::<SparkJobExplain>(named, afterwards).await
        };
        let told = timeout_at(afterwards.at(), asking).await.ok().and_then(Result::ok);
        match told {
            Some(told) => Error::still_waiting(deadline.whole(), &named.job_name, &told),
            None => deadline.passed(&format!("waiting for the job '{}'", named.job_name)),
        }
    }

    /// Each part of it is a help, and none is what was asked for: what cannot be had is left out.
    async fn failure(&self, named: JobRequest, info: JobInfo) -> Failure {
        let deadline = Deadline::after(AFTERWARDS);
        let explanation = self.call::<SparkJobExplain>(&named, deadline).await.ok();
        let events =
            self.call::<DescribeSparkJob>(&named, deadline).await.map(|told| events(&told)).unwrap_or_default();
        let (tail, wait) = (Some(LAST_LINES), Some(Duration::ZERO));
        let log = self.spark_job_logs(&named.cluster_id, &named.job_name, tail, wait, Some(deadline.left())).await;
        Failure { info, explanation, log: log.map(|log| log.bytes).unwrap_or_default(), events }
    }

    /// The watch of a cluster, or a new one.
    fn watch(self: &Arc<Self>, cluster: &str) -> Result<Arc<Watch>, Error> {
        let cluster = cluster_id(cluster)?;
        let mut watches = locked(&self.watches.0);
        let known = watches.get(&cluster).and_then(Weak::upgrade);
        // One whose poll has failed for good serves those who waited then.
        let known = known.filter(|watch| !matches!(&*watch.begun.borrow(), Some(Err(_))));
        if let Some(watch) = known {
            return Ok(watch);
        }
        watches.retain(|_, watch| watch.strong_count() > 0);
        let watch = Arc::new(Watch {
            cluster: cluster.clone(),
            jobs: Mutex::default(),
            begun: watch::Sender::new(None),
            asking: Semaphore::new(ASKING),
            needed: watch::Sender::new(0),
            task: Mutex::default(),
        });
        watches.insert(cluster, Arc::downgrade(&watch));
        drop(watches);
        let task = tokio::spawn(Arc::clone(self).poll(Arc::downgrade(&watch))).abort_handle();
        *locked(&watch.task) = Some(task);
        Ok(watch)
    }

    /// The long poll: for as long as anybody waits.
    async fn poll(self: Arc<Self>, of: Weak<Watch>) {
        let known = of.upgrade().map(|watch| (watch.cluster.clone(), watch.needed.subscribe()));
        let Some((cluster_id, mut needed)) = known else { return };
        let mut since = None;
        let mut outage: Option<Outage> = None;
        loop {
            let request = JobChangesRequest {
                cluster_id: cluster_id.clone(),
                since,
                wait_ms: since.map(|_| LONGEST_LOG_WAIT_MS),
            };
            // The first is a request like any other, with the time and the errors of one.
            let deadline = if since.is_some() { Deadline::after(POLL) } else { self.deadline(None) };
            let answer = self.call::<WaitForSparkJob>(&request, deadline).await;
            let Some(watch) = of.upgrade() else { return };
            match answer {
                Ok(changes) => {
                    outage = None;
                    since = Some(changes.version);
                    watch.tell(changes.jobs);
                    drop(watch);
                    if needed.wait_for(|count| *count > 0).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let passed = outage.get_or_insert_default();
                    let Some(pause) = passed.pause(&error).filter(|_| since.is_some()) else {
                        return watch.end(&error);
                    };
                    drop(watch);
                    sleep(pause).await;
                }
            }
        }
    }
}

impl Watch {
    fn tell(&self, changes: Vec<JobChange>) {
        self.begun.send_if_modified(|begun| begun.replace(Ok(())).is_none());
        let jobs = locked(&self.jobs);
        for change in changes {
            if let Some(news) = jobs.get(&change.info.job_name) {
                news.send_replace(News::Changed(change));
            }
        }
    }

    fn end(&self, error: &Error) {
        for news in locked(&self.jobs).values() {
            news.send_replace(News::Ended(error.clone()));
        }
        self.begun.send_replace(Some(Err(error.clone())));
    }
}

/// A platform that does not answer: since when, and what is done about it.
#[derive(Debug)]
pub(crate) struct Outage {
    since: Instant,
    next: Duration,
}

impl Default for Outage {
    fn default() -> Self {
        Self { since: Instant::now(), next: FIRST_PAUSE }
    }
}

impl Outage {
    /// How long to wait before it is tried again; `None`: it is no use.
    pub(crate) fn pause(&mut self, error: &Error) -> Option<Duration> {
        let passes = match error.kind() {
            Kind::Connection | Kind::Timeout => true,
            Kind::Foreign { status } => matches!(status, 502..=504),
            Kind::Refused(body) => {
                let codes = [ErrorCode::TooManyRequests, ErrorCode::ServiceUnavailable, ErrorCode::RequestTimeout];
                codes.iter().any(|code| code.status() == body.status)
            }
            _ => false,
        };
        let pause = self.next;
        self.next = self.next.saturating_mul(2).min(LONGEST_PAUSE);
        (passes && self.since.elapsed() < OUTAGE).then_some(pause)
    }
}

/// Of a job's description.
fn events(description: &Value) -> Vec<String> {
    let all: Vec<&Value> = description.get("events").and_then(Value::as_array).into_iter().flatten().collect();
    let of = |event: &Value, key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let warnings: Vec<&Value> = all.iter().copied().filter(|event| of(event, "type") == "WARNING").collect();
    let told = if warnings.is_empty() { all } else { warnings };
    let line = |event: &&Value| ["time", "type", "reason", "message"].map(|key| of(event, key)).join(" ");
    told.iter().skip(told.len().saturating_sub(LAST_EVENTS)).map(line).collect()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_lasts_ends_a_wait() {
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
    fn warnings_are_what_matters() {
        let event = |kind: &str, reason: &str| json!({"time": "t", "type": kind, "reason": reason, "message": "m"});
        let told = json!({"events": [event("WARNING", "a"), event("NORMAL", "b")]});
        assert_eq!(events(&told), ["t WARNING a m"]);
        assert_eq!(events(&json!({"events": [event("NORMAL", "b")]})), ["t NORMAL b m"]);
        assert!(events(&json!({"events": 5})).is_empty());
    }
}
