//! The interface between the rules of the platform and what runs jobs: this machine, or a cluster of Kubernetes.
//!
//! The rules decide which job runs when, how often, and when it is deleted; they write its state down. A runner does what
//! they say and tells what it sees. All that it is given comes again after a crash: each call may be repeated, and means
//! the same the second time. It finds a run by its [`RunId`] alone, so what it names after a run must follow from that.
//!
//! A start has two steps ([`Runner::prepare`], [`PreparedRun::start`]), because between them the store notes that the run
//! exists: a server that is killed there finds a run that has not begun, and nothing ever runs that the store does not
//! know. What the first step refuses was never a run.

use std::{collections::HashSet, fmt, future::ready, io, time::Duration};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use mlplatform_protocol::{EventKind, clusters::NodeUsage};
use serde_json::Value;

use crate::{plan::Plan, termination::Termination, values::Values};

/// The future of a runner's answer.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, RunnerError>>;

/// A failure of a runner.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// The job's own fault, or its surroundings': it counts as a failed start.
    #[error("{0}")]
    Job(String),
    /// No job can run here, whichever it is: something is not installed.
    #[error("{0}")]
    Unavailable(String),
    /// This server runs no jobs, and another one does, on its own machine.
    #[error(
        "this server of the platform runs no jobs and has none of their programs and logs; another one has: the platform's \
         operator has to send requests for jobs (/v1_0/magnum/{{cluster_id}}/jobs) to that one"
    )]
    Elsewhere,
    /// The run has to wait for something that other jobs have.
    #[error("{message}")]
    Exhausted {
        /// For what.
        resource: Resource,
        /// For people.
        message: String,
    },
    /// The runner's own failure, which may pass: try again.
    #[error("{action} failed")]
    Transient {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl RunnerError {
    /// Makes a transient failure of an error.
    pub fn transient(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Transient { action, source }
    }
}

/// What runs can lack, a cluster's capacity apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Room on the runner's disk.
    Disk,
    /// An id of its own for the job.
    UserIds,
}

/// A cluster, as a runner knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRef {
    /// Never another's.
    pub id: String,
    /// For people.
    pub name: String,
    /// The name of its bucket, never another's.
    pub bucket: String,
    /// Which cluster of Kubernetes it is, as JSON; `None`: it is this machine.
    pub kubernetes: Option<String>,
}

/// A job, as a runner knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobRef {
    /// Never another's.
    pub id: String,
    /// The id of its cluster.
    pub cluster: String,
    /// For people.
    pub name: String,
}

/// A run of a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RunId {
    /// Whose run.
    pub job: JobRef,
    /// From 1. The number of a run that did not begin is given again.
    pub number: i64,
}

/// Unique among all runs, and good for a name: `<id of the job>.<number>`.
impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job.id, self.number)
    }
}

/// A run that is to be started, or a job that may be submitted.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Where it runs.
    pub cluster: &'a ClusterRef,
    /// Which run of which job.
    pub id: &'a RunId,
    /// What it asks for.
    pub plan: &'a Plan,
    /// What the plan was read from.
    pub manifest: &'a Value,
}

/// A run that is ready to start. Nothing runs yet, and nothing is left to undo when it is dropped.
#[must_use]
pub struct PreparedRun<'a> {
    /// Where its part of the job's log begins.
    pub log_from: u64,
    start: Answer<'a, ()>,
}

impl fmt::Debug for PreparedRun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedRun").field("log_from", &self.log_from).finish_non_exhaustive()
    }
}

impl<'a> PreparedRun<'a> {
    /// `start` is what starts it, once it is awaited.
    pub fn new(log_from: u64, start: Answer<'a, ()>) -> Self {
        Self { log_from, start }
    }

    /// Starts it. A run that has begun before is not started again.
    ///
    /// # Errors
    /// When it cannot be started; then [`Runner::status`] says that it has not begun.
    pub async fn start(self) -> Result<(), RunnerError> {
        self.start.await
    }
}

/// What a run is doing.
#[derive(Clone, Debug, PartialEq)]
pub enum RunState {
    /// Nothing was ever started: it may be started now.
    NotStarted,
    /// It was to be started, and could not be: a failed start; why.
    FailedToStart(String),
    /// It was started, and its program does not run yet; what it waits for, if that is known.
    Pending(Option<String>),
    /// Its program runs.
    Running,
    /// It has ended, and the runner itself will run it again.
    Restarting(Termination),
    /// It has ended, for good.
    Ended(Termination),
    /// What looked after it is gone, and with that how it ended; its processes may not be. Why.
    Lost(String),
}

/// The status of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunStatus {
    /// What it is doing.
    pub state: RunState,
    /// When its program was started, by the clock of a [`Termination`].
    pub started_at: Option<Timestamp>,
    /// How often the runner itself has run it; `None`: it repeats no run.
    pub attempts: Option<i64>,
}

/// A piece of a job's log.
///
/// Offsets count every byte that the job ever printed. Bytes that were dropped keep theirs; a line in their place, which
/// ends where they end, says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// Where it begins: the offset that was asked for or, if what is there was dropped, where the line begins that says so.
    pub from: u64,
    /// At most as many as were asked for, up to the next gap; or the line that stands for a gap. None at the end.
    pub bytes: Vec<u8>,
    /// All bytes so far, those that were dropped included.
    pub size: u64,
    /// Where the first gap behind `from` begins.
    pub next_gap: Option<u64>,
    /// The bytes are the line that stands for a gap …
    pub is_gap: bool,
    /// … which nothing follows yet, so that it may become longer.
    pub grows: bool,
}

/// Something that a runner saw happen to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerEvent {
    /// Never another event's of the same job: it is noted once, however often it is given.
    pub key: String,
    /// Normal, or a warning.
    pub kind: EventKind,
    /// One word, as in Kubernetes.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// The jobs that the store knows when a server starts.
#[derive(Clone, Debug, Default)]
pub struct KnownJobs {
    /// The ids of those that were not deleted, in clusters that exist.
    pub kept: HashSet<String>,
    /// The ids of those that run or will.
    pub open: HashSet<String>,
    /// A program that was uploaded later may be of a job that is not in the store yet, and stays; `None`: there is no such
    /// job, because nobody can submit one.
    pub uploads_until: Option<Timestamp>,
}

/// Runs jobs.
pub trait Runner: fmt::Debug + Send + Sync {
    /// Whether it repeats the runs of a cluster, given by its id, as the restart policy says. Otherwise the rules do.
    fn restarts_jobs(&self, cluster: &str) -> bool;

    /// The runner's own work (watching its disk, removing what jobs left behind), for as long as the server runs.
    fn work(&self) -> BoxFuture<'_, ()>;

    /// Resolves when a status may have changed. It may resolve too often; who waits sets a time limit.
    fn changed(&self) -> BoxFuture<'_, ()>;

    /// Makes what a cluster needs: its bucket, its namespace.
    fn ensure<'a>(&'a self, cluster: &'a ClusterRef) -> Answer<'a, ()>;

    /// What the machines that the cluster's jobs run on have and use. None of them: the runner does not know its machines.
    fn nodes<'a>(&'a self, _: &'a ClusterRef) -> Answer<'a, Vec<NodeUsage>> {
        Box::pin(ready(Ok(Vec::new())))
    }

    /// Removes what a cluster needed, its bucket apart: its files are the users' own.
    fn remove<'a>(&'a self, cluster: &'a ClusterRef) -> Answer<'a, ()>;

    /// Cleans up what jobs left that are over, and programs of jobs that are gone. A runner of one machine is asked before
    /// anybody can submit a job there. One that several servers share is asked whenever one of them begins to look after
    /// the jobs, while others submit: [`KnownJobs::uploads_until`].
    fn reconcile(&self, known: KnownJobs) -> Answer<'_, ()>;

    /// Stores a program that comes along with a job, and gives its address. It is there to stay when this returns.
    fn upload<'a>(
        &'a self,
        cluster: &'a ClusterRef,
        job: &'a str,
        name: &'a str,
        content: Vec<u8>,
    ) -> Answer<'a, String>;

    /// Removes that program again: the job was not made after all. Work that goes on when this returns.
    fn remove_upload(&self, cluster: &ClusterRef, job: &str);

    /// Refuses what surely fails: files that are not there, objects that do not exist, fields that it cannot honour. Gives a
    /// text for each field that counts for nothing. The run is the job's first.
    fn check<'a>(&'a self, run: Run<'a>, values: &'a Values) -> Answer<'a, Vec<String>>;

    /// Whether a run could begin now, as far as the runner goes.
    fn ready<'a>(&'a self, cluster: &'a ClusterRef) -> Answer<'a, ()>;

    /// The first step of a start: makes everything ready. It may be repeated, also for a run that did not begin.
    fn prepare<'a>(&'a self, run: Run<'a>, values: &'a Values) -> Answer<'a, PreparedRun<'a>>;

    /// The status of each of the runs, in their order.
    fn status<'a>(&'a self, runs: &'a [RunId]) -> Answer<'a, Vec<RunStatus>>;

    /// Ends a run: asks it, and after the grace period asks no more. Returns when none of its processes is left.
    fn stop<'a>(&'a self, run: &'a RunId, grace: Duration) -> Answer<'a, ()>;

    /// The end of a run is in the store: whatever was kept for telling it may go.
    fn forget<'a>(&'a self, run: &'a RunId) -> Answer<'a, ()>;

    /// Removes what nobody needs of a job that is over; once it is deleted, also the program that came along. Its log
    /// stays.
    fn clean_up<'a>(&'a self, job: &'a JobRef, deleted: bool) -> Answer<'a, ()>;

    /// A piece of a job's log; `None`: nothing was ever started. At an offset behind the end, it is empty.
    fn log<'a>(&'a self, job: &'a JobRef, offset: u64, most: usize) -> Answer<'a, Option<LogChunk>>;

    /// Holds the logs of a cluster to their common limit: given its jobs, those first that ended first, and whether each is
    /// over. Gives those that were cut, and the event about it.
    fn limit_logs(&self, jobs: Vec<(JobRef, bool)>) -> Answer<'_, Vec<(JobRef, RunnerEvent)>>;

    /// What it saw happen to a job since the event of that key.
    fn events<'a>(&'a self, job: &'a JobRef, after: Option<&'a str>) -> Answer<'a, Vec<RunnerEvent>>;

    /// The live object of a job; `None`: the store knows all that there is.
    fn describe<'a>(&'a self, job: &'a JobRef) -> Answer<'a, Option<Value>>;

    /// A text that a job printed, with the runner's own paths as the job's owner knows them.
    fn with_user_paths(&self, job: &JobRef, text: String) -> String;
}
