//! A runner in memory, for tests of whatever drives a runner: a state machine that runs tiny programs.
//!
//! A program is one that came along ([`Runner::upload`]), and is a shell script of few words, so that a runner of real
//! processes can run the same one: `echo TEXT`, `sleep SECONDS`, `exit CODE`, `trap '' TERM` (it does not end when it is
//! asked), `kill -KILL $$`. Runs go on while nobody looks, as processes do.

use std::{
    collections::{HashMap, HashSet},
    future::ready,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::Value;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{sleep, timeout},
};

use crate::{
    runner::{
        Answer, ClusterRef, JobRef, KnownJobs, LogChunk, PreparedRun, Resource, Run, RunId, RunState, RunStatus,
        Runner, RunnerError, RunnerEvent,
    },
    termination::Termination,
    values::Values,
};

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
/// What a shell returns for a command that it does not know.
const NOT_FOUND: i32 = 127;
/// Long enough to be seen.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(500);

/// Clones share everything.
#[derive(Clone, Debug, Default)]
pub struct MemoryRunner {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
    /// How often a run that fails is repeated by the runner itself.
    repeats: i64,
}

#[derive(Debug, Default)]
struct State {
    clusters: HashSet<String>,
    /// The programs that came along, by job.
    uploads: HashMap<String, Upload>,
    logs: HashMap<String, Vec<u8>>,
    runs: HashMap<RunId, MemoryRun>,
    events: HashMap<String, Vec<RunnerEvent>>,
    cleaned: HashSet<String>,
    exhausted: Option<Resource>,
    broken_start: Option<String>,
}

#[derive(Debug)]
struct Upload {
    address: String,
    content: Vec<u8>,
    at: Timestamp,
}

#[derive(Debug)]
struct MemoryRun {
    log_from: u64,
    status: RunStatus,
    stop: watch::Sender<Stop>,
    task: Option<AbortHandle>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Not,
    Ask,
    Kill,
}

impl MemoryRunner {
    /// One that itself repeats a run that fails, up to so many times.
    #[must_use]
    pub fn that_repeats(times: i64) -> Self {
        Self { shared: Arc::new(Shared { repeats: times, ..Shared::default() }) }
    }

    /// From now on, every run has to wait for that; `None`: none has.
    pub fn exhaust(&self, resource: Option<Resource>) {
        self.state().exhausted = resource;
        self.shared.changed.notify_one();
    }

    /// From now on, every start fails so; `None`: none does.
    pub fn break_starts(&self, problem: Option<&str>) {
        self.state().broken_start = problem.map(str::to_owned);
    }

    /// Kills what looks after a run, as an operator can kill a process: its end is never known.
    pub fn lose(&self, run: &RunId) {
        if let Some(found) = self.state().runs.get_mut(run) {
            found.task.take().inspect(AbortHandle::abort);
            found.status.state = RunState::Lost("whatever looked after the run was killed".to_owned());
        }
        self.shared.changed.notify_one();
    }

    /// Lets something happen to a job.
    pub fn add_event(&self, job: &str, event: RunnerEvent) {
        self.state().events.entry(job.to_owned()).or_default().push(event);
        self.shared.changed.notify_one();
    }

    /// Whether what a job left behind was removed.
    #[must_use]
    pub fn is_cleaned_up(&self, job: &str) -> bool {
        self.state().cleaned.contains(job)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    fn program(&self, run: Run<'_>, values: &Values) -> Result<String, RunnerError> {
        let (state, job) = (self.state(), &run.id.job.id);
        if !state.clusters.contains(&run.cluster.id) {
            return Err(RunnerError::transient("finding a cluster")(io::ErrorKind::NotFound.into()));
        }
        if let Some(object) = values.missing() {
            return Err(RunnerError::Job(object.missing()));
        }
        let main = run.plan.main.as_deref().unwrap_or_default();
        let upload = state.uploads.get(job).filter(|upload| upload.address == main);
        let upload =
            upload.ok_or_else(|| RunnerError::Job(format!("spec.mainApplicationFile: '{main}' does not exist")))?;
        Ok(String::from_utf8_lossy(&upload.content).into_owned())
    }

    fn begin(&self, id: RunId, program: String, log_from: u64) -> Result<(), RunnerError> {
        let mut state = self.state();
        if state.runs.contains_key(&id) {
            return Ok(());
        }
        if let Some(problem) = &state.broken_start {
            return Err(RunnerError::Job(problem.clone()));
        }
        let (stop, stopped) = watch::channel(Stop::Not);
        let attempts = (self.shared.repeats > 0).then_some(1);
        let status = RunStatus { state: RunState::Running, started_at: Some(Timestamp::now()), attempts };
        let task = tokio::spawn(execute(Arc::clone(&self.shared), id.clone(), program, stopped)).abort_handle();
        state.runs.insert(id, MemoryRun { log_from, status, stop, task: Some(task) });
        drop(state);
        self.shared.changed.notify_one();
        Ok(())
    }

    fn is_ended(&self, run: &RunId) -> bool {
        let state = self.state();
        state.runs.get(run).is_none_or(|run| !matches!(run.status.state, RunState::Running | RunState::Restarting(_)))
    }

    fn signal(&self, run: &RunId, stop: Stop) {
        if let Some(run) = self.state().runs.get(run) {
            run.stop.send_replace(stop);
        }
    }

    async fn until_ended(&self, run: &RunId) {
        while !self.is_ended(run) {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Shared {
    fn set_state(&self, run: &RunId, state: RunState) {
        if let Some(found) = self.state().runs.get_mut(run) {
            if state == RunState::Running {
                found.status.attempts = found.status.attempts.map(|attempts| attempts + 1);
            }
            found.status.state = state;
        }
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run, from its begin to its end.
async fn execute(shared: Arc<Shared>, run: RunId, program: String, mut stopped: watch::Receiver<Stop>) {
    let mut attempt = 1;
    loop {
        let (exit_code, signal) = interpret(&shared, &run, &program, &mut stopped).await;
        let end = Termination { at: Timestamp::now(), exit_code, signal, problem: None };
        let again = !end.is_success() && *stopped.borrow() == Stop::Not && attempt <= shared.repeats;
        shared.set_state(&run, if again { RunState::Restarting(end) } else { RunState::Ended(end) });
        if !again {
            return;
        }
        attempt += 1;
        sleep(BETWEEN_ATTEMPTS).await;
        shared.set_state(&run, RunState::Running);
    }
}

/// Exit code or signal.
async fn interpret(
    shared: &Shared,
    run: &RunId,
    program: &str,
    stopped: &mut watch::Receiver<Stop>,
) -> (Option<i32>, Option<i32>) {
    let mut ignores = false;
    for line in program.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (word, rest) {
            ("echo", text) => {
                let mut state = shared.state();
                state.logs.entry(run.job.id.clone()).or_default().extend(format!("{text}\n").bytes());
            }
            ("exit", code) => return (code.parse().ok(), None),
            ("trap", _) => ignores = true,
            ("kill", _) => return (None, Some(SIGKILL)),
            ("sleep", seconds) => {
                let seconds = Duration::from_secs(seconds.parse().unwrap_or_default());
                let wanted = |stop: &Stop| *stop == Stop::Kill || (*stop == Stop::Ask && !ignores);
                if let Ok(Ok(stop)) = timeout(seconds, stopped.wait_for(wanted)).await {
                    return (None, Some(if *stop == Stop::Kill { SIGKILL } else { SIGTERM }));
                }
            }
            _ => return (Some(NOT_FOUND), None),
        }
    }
    (Some(0), None)
}

impl Runner for MemoryRunner {
    fn restarts_jobs(&self, _: &str) -> bool {
        self.shared.repeats > 0
    }

    fn work(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.shared.changed.notified())
    }

    fn ensure<'a>(&'a self, cluster: &'a ClusterRef) -> Answer<'a, ()> {
        self.state().clusters.insert(cluster.id.clone());
        Box::pin(ready(Ok(())))
    }

    fn remove<'a>(&'a self, cluster: &'a ClusterRef) -> Answer<'a, ()> {
        self.state().clusters.remove(&cluster.id);
        Box::pin(ready(Ok(())))
    }

    fn reconcile(&self, known: KnownJobs) -> Answer<'_, ()> {
        let is_new = |upload: &Upload| known.uploads_until.is_some_and(|until| upload.at > until);
        self.state().uploads.retain(|job, upload| known.kept.contains(job) || is_new(upload));
        Box::pin(ready(Ok(())))
    }

    fn upload<'a>(
        &'a self,
        cluster: &'a ClusterRef,
        job: &'a str,
        name: &'a str,
        content: Vec<u8>,
    ) -> Answer<'a, String> {
        let address = format!("memory://{}/{job}/{name}", cluster.bucket);
        self.state().uploads.insert(job.to_owned(), Upload { address: address.clone(), content, at: Timestamp::now() });
        Box::pin(ready(Ok(address)))
    }

    fn remove_upload(&self, _: &ClusterRef, job: &str) {
        self.state().uploads.remove(job);
    }

    fn check<'a>(&'a self, run: Run<'a>, values: &'a Values) -> Answer<'a, Vec<String>> {
        Box::pin(ready(self.program(run, values).map(|_| Vec::new())))
    }

    fn ready<'a>(&'a self, _: &'a ClusterRef) -> Answer<'a, ()> {
        let exhausted = self.state().exhausted.filter(|resource| *resource == Resource::Disk);
        Box::pin(ready(exhausted.map_or(Ok(()), |resource| Err(used_up(resource)))))
    }

    fn prepare<'a>(&'a self, run: Run<'a>, values: &'a Values) -> Answer<'a, PreparedRun<'a>> {
        let exhausted = self.state().exhausted;
        let prepared = exhausted.map_or(Ok(()), |resource| Err(used_up(resource)));
        let prepared = prepared.and_then(|()| self.program(run, values)).map(|program| {
            let id = run.id.clone();
            let log_from = self.state().logs.entry(id.job.id.clone()).or_default().len() as u64;
            PreparedRun::new(log_from, Box::pin(async move { self.begin(id, program, log_from) }))
        });
        // One that has begun needs nothing any more.
        let begun = self.state().runs.get(run.id).map(|run| run.log_from);
        let begun = begun.map(|log_from| Ok(PreparedRun::new(log_from, Box::pin(ready(Ok(()))))));
        Box::pin(ready(begun.unwrap_or(prepared)))
    }

    fn status<'a>(&'a self, runs: &'a [RunId]) -> Answer<'a, Vec<RunStatus>> {
        let state = self.state();
        let unknown = RunStatus { state: RunState::NotStarted, started_at: None, attempts: None };
        let found = runs.iter().map(|run| state.runs.get(run).map_or(unknown.clone(), |run| run.status.clone()));
        Box::pin(ready(Ok(found.collect())))
    }

    fn stop<'a>(&'a self, run: &'a RunId, grace: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            self.signal(run, Stop::Ask);
            if timeout(grace, self.until_ended(run)).await.is_err() {
                self.signal(run, Stop::Kill);
                self.until_ended(run).await;
            }
            Ok(())
        })
    }

    fn forget<'a>(&'a self, _: &'a RunId) -> Answer<'a, ()> {
        Box::pin(ready(Ok(())))
    }

    fn clean_up<'a>(&'a self, job: &'a JobRef, deleted: bool) -> Answer<'a, ()> {
        let mut state = self.state();
        state.cleaned.insert(job.id.clone());
        if deleted {
            state.uploads.remove(&job.id);
        }
        Box::pin(ready(Ok(())))
    }

    fn log<'a>(&'a self, job: &'a JobRef, offset: u64, most: usize) -> Answer<'a, Option<LogChunk>> {
        let state = self.state();
        let chunk = state.logs.get(&job.id).map(|log| {
            let bytes = log.iter().skip(usize::try_from(offset).unwrap_or(usize::MAX)).take(most).copied().collect();
            LogChunk { from: offset, bytes, size: log.len() as u64, next_gap: None, is_gap: false, grows: false }
        });
        Box::pin(ready(Ok(chunk)))
    }

    fn limit_logs(&self, _: Vec<(JobRef, bool)>) -> Answer<'_, Vec<(JobRef, RunnerEvent)>> {
        Box::pin(ready(Ok(Vec::new())))
    }

    fn events<'a>(&'a self, job: &'a JobRef, after: Option<&'a str>) -> Answer<'a, Vec<RunnerEvent>> {
        let all = self.state().events.get(&job.id).cloned().unwrap_or_default();
        let seen = after.and_then(|after| all.iter().position(|event| event.key == after)).map_or(0, |seen| seen + 1);
        Box::pin(ready(Ok(all.into_iter().skip(seen).collect())))
    }

    fn describe<'a>(&'a self, _: &'a JobRef) -> Answer<'a, Option<Value>> {
        Box::pin(ready(Ok(None)))
    }

    fn with_user_paths(&self, _: &JobRef, text: String) -> String {
        text
    }
}

fn used_up(resource: Resource) -> RunnerError {
    RunnerError::Exhausted { resource, message: "other jobs have all of it".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{CASES, Fixture};

    #[tokio::test]
    async fn conforms() {
        for (name, case) in CASES {
            let fixture = Fixture::new(Arc::new(MemoryRunner::default())).await;
            timeout(Duration::from_secs(60), case(fixture)).await.unwrap_or_else(|_| panic!("{name} does not end"));
        }
    }
}
