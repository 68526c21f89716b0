//! The conformance suite: what every runner has to do, as tests that are given one.
//!
//! The programs in it are shell scripts of the few words that the runner in memory ([`crate::memory`]) knows as well. Each
//! case gets a runner of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    plan::Plan,
    runner::{ClusterRef, JobRef, KnownJobs, LogChunk, Run, RunId, RunState, RunStatus, Runner, RunnerError},
    termination::Termination,
    values::Values,
};

/// Far longer than anything here takes.
const LATE: Duration = Duration::from_secs(30);
/// How often a status is asked for, whether something changed or not.
const LOOK: Duration = Duration::from_millis(50);
const GRACE: Duration = Duration::from_secs(2);

/// The name of a case, and the case.
pub type Case = (&'static str, fn(Fixture) -> BoxFuture<'static, ()>);

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// All of them.
        pub const CASES: &[Case] = &[$((stringify!($name), |fixture| Box::pin($name(fixture)))),*];
    };
}

cases!(
    a_cluster_is_made_and_removed_any_number_of_times,
    nothing_runs_before_it_is_started,
    a_run_ends_as_its_program_does,
    a_start_is_done_once,
    each_run_has_its_part_of_the_log,
    a_log_is_read_piece_by_piece,
    a_program_that_can_be_asked_to_end_is,
    a_program_that_cannot_be_asked_to_end_is_killed,
    a_stop_of_what_does_not_run_is_no_error,
    runs_do_not_disturb_each_other,
    an_end_wakes_who_waits,
    what_cannot_start_is_refused,
    a_program_is_kept_for_the_next_run_and_removed_with_its_job,
    programs_of_unknown_jobs_are_removed,
    nothing_is_known_of_a_run_that_never_was,
);

/// A runner under test, with a cluster.
#[derive(Clone, Debug)]
pub struct Fixture {
    runner: Arc<dyn Runner>,
    cluster: ClusterRef,
}

/// A job whose program came along.
struct Job {
    id: JobRef,
    manifest: Value,
    plan: Plan,
}

impl Fixture {
    /// Begins with a runner that no other fixture has, as a server does at its start.
    pub async fn new(runner: Arc<dyn Runner>) -> Self {
        runner.reconcile(KnownJobs::default()).await.unwrap();
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let id = format!("c{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let cluster = ClusterRef { name: id.clone(), bucket: format!("spark-{id}"), id, kubernetes: None };
        Self { runner, cluster }
    }

    async fn job(&self, name: &str, program: &str) -> Job {
        self.runner.ensure(&self.cluster).await.unwrap();
        let id = format!("{}-{name}", self.cluster.id);
        let content = program.as_bytes().to_vec();
        let address = self.runner.upload(&self.cluster, &id, "job.py", content).await.unwrap();
        self.job_of(id, name, json!({"type": "Python", "mainApplicationFile": address}))
    }

    fn job_of(&self, id: String, name: &str, spec: Value) -> Job {
        let manifest = json!({"metadata": {"name": name}, "spec": spec});
        let plan = Plan::read(&manifest).unwrap();
        Job { id: JobRef { id, cluster: self.cluster.id.clone(), name: name.to_owned() }, manifest, plan }
    }

    fn run<'a>(&'a self, job: &'a Job, id: &'a RunId) -> Run<'a> {
        Run { cluster: &self.cluster, id, plan: &job.plan, manifest: &job.manifest }
    }

    /// Gives where its part of the log begins.
    async fn start(&self, job: &Job, number: i64) -> (RunId, u64) {
        let (id, values) = (job.run(number), Values::default());
        let prepared = self.runner.prepare(self.run(job, &id), &values).await.unwrap();
        let log_from = prepared.log_from;
        prepared.start().await.unwrap();
        (id, log_from)
    }

    async fn status(&self, run: &RunId) -> RunStatus {
        let mut found = self.runner.status(std::slice::from_ref(run)).await.unwrap();
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    async fn until<T>(&self, run: &RunId, wanted: impl Fn(&RunStatus) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            let status = self.status(run).await;
            if let Some(found) = wanted(&status) {
                return found;
            }
            assert!(began.elapsed() < LATE, "{run} is {status:?}");
            let _ = timeout(LOOK, self.runner.changed()).await;
        }
    }

    async fn ended(&self, run: &RunId) -> Termination {
        let ended = |status: &RunStatus| match &status.state {
            RunState::Ended(end) => Some(end.clone()),
            _ => None,
        };
        self.until(run, ended).await
    }

    async fn running(&self, run: &RunId) {
        self.until(run, |status| (status.state == RunState::Running).then_some(())).await;
    }

    /// Until its program has printed that.
    async fn printed(&self, job: &Job, text: &str) {
        let began = Instant::now();
        while !self.whole_log(job).await.contains(text) {
            assert!(began.elapsed() < LATE, "'{text}' is not printed");
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn log(&self, job: &Job, offset: u64, most: usize) -> LogChunk {
        self.runner.log(&job.id, offset, most).await.unwrap().expect("a log")
    }

    async fn whole_log(&self, job: &Job) -> String {
        let chunk = self.runner.log(&job.id, 0, 1 << 20).await.unwrap();
        String::from_utf8(chunk.map(|chunk| chunk.bytes).unwrap_or_default()).unwrap()
    }

    async fn check(&self, job: &Job, values: &Values) -> Result<Vec<String>, RunnerError> {
        let id = job.run(1);
        self.runner.check(self.run(job, &id), values).await
    }
}

impl Job {
    fn run(&self, number: i64) -> RunId {
        RunId { job: self.id.clone(), number }
    }
}

fn is_job_error<T: std::fmt::Debug>(result: &Result<T, RunnerError>) -> bool {
    matches!(result, Err(RunnerError::Job(_)))
}

async fn a_cluster_is_made_and_removed_any_number_of_times(on: Fixture) {
    for _ in 0..2 {
        on.runner.ensure(&on.cluster).await.unwrap();
        on.runner.ensure(&on.cluster).await.unwrap();
        on.runner.remove(&on.cluster).await.unwrap();
        on.runner.remove(&on.cluster).await.unwrap();
    }
    let job = on.job("j", "exit 0").await;
    let (run, _) = on.start(&job, 1).await;
    assert!(on.ended(&run).await.is_success());
}

async fn nothing_runs_before_it_is_started(on: Fixture) {
    let job = on.job("j", "echo ran").await;
    let id = job.run(1);
    assert_eq!(on.check(&job, &Values::default()).await.unwrap(), Vec::<String>::new());
    on.runner.ready(&on.cluster).await.unwrap();
    for _ in 0..2 {
        drop(on.runner.prepare(on.run(&job, &id), &Values::default()).await.unwrap());
        let status = on.status(&id).await;
        assert_eq!((status.state, status.started_at), (RunState::NotStarted, None));
        assert_eq!(on.whole_log(&job).await, "");
    }
    let (run, _) = on.start(&job, 1).await;
    assert!(on.ended(&run).await.is_success());
    assert_eq!(on.whole_log(&job).await, "ran\n");
    assert!(on.status(&run).await.started_at.is_some());
}

async fn a_run_ends_as_its_program_does(on: Fixture) {
    for (name, program, exit_code, signal) in
        [("ok", "exit 0", Some(0), None), ("bad", "exit 3", Some(3), None), ("killed", "kill -KILL $$", None, Some(9))]
    {
        let job = on.job(name, program).await;
        let (run, _) = on.start(&job, 1).await;
        let end = on.ended(&run).await;
        assert_eq!((end.exit_code, end.signal, end.problem.as_deref()), (exit_code, signal, None), "{name}");
        assert!(end.at >= on.status(&run).await.started_at.unwrap());
        // It stays so, also when its end is in the store.
        on.runner.forget(&run).await.unwrap();
        on.runner.forget(&run).await.unwrap();
        assert_eq!(on.ended(&run).await, end);
    }
}

async fn a_start_is_done_once(on: Fixture) {
    let job = on.job("j", "echo once\nsleep 1").await;
    let id = job.run(1);
    let values = Values::default();
    let first = on.runner.prepare(on.run(&job, &id), &values).await.unwrap();
    let second = on.runner.prepare(on.run(&job, &id), &values).await.unwrap();
    first.start().await.unwrap();
    second.start().await.unwrap();
    on.running(&id).await;
    on.start(&job, 1).await;
    assert!(on.ended(&id).await.is_success());
    on.start(&job, 1).await;
    assert!(on.ended(&id).await.is_success());
    assert_eq!(on.whole_log(&job).await, "once\n");
}

async fn each_run_has_its_part_of_the_log(on: Fixture) {
    let job = on.job("j", "echo a run\nexit 1").await;
    for number in 1..=3 {
        let (run, log_from) = on.start(&job, number).await;
        assert_eq!(log_from, u64::try_from(number - 1).unwrap() * 6);
        assert_eq!(on.ended(&run).await.exit_code, Some(1));
        on.runner.forget(&run).await.unwrap();
        assert_eq!(on.log(&job, log_from, 100).await.bytes, b"a run\n");
        assert_eq!(on.start(&job, number).await, (run, log_from), "also when it is asked for again");
    }
    on.runner.clean_up(&job.id, false).await.unwrap();
    on.runner.clean_up(&job.id, true).await.unwrap();
    on.runner.clean_up(&job.id, true).await.unwrap();
    assert_eq!(on.whole_log(&job).await, "a run\na run\na run\n", "the log outlives its job");
}

async fn a_log_is_read_piece_by_piece(on: Fixture) {
    let job = on.job("j", "echo one\necho two\nsleep 600").await;
    assert!(on.runner.log(&job.id, 0, 10).await.unwrap().is_none(), "nothing was started yet");
    let (run, _) = on.start(&job, 1).await;
    on.printed(&job, "two").await;
    for (offset, most, bytes) in
        [(0, 4, "one\n"), (1, 2, "ne"), (4, 100, "two\n"), (8, 100, ""), (99, 5, ""), (0, 0, "")]
    {
        let chunk = on.log(&job, offset, most).await;
        assert_eq!((chunk.from, String::from_utf8(chunk.bytes).unwrap().as_str()), (offset, bytes));
        assert_eq!((chunk.size, chunk.next_gap, chunk.is_gap, chunk.grows), (8, None, false, false));
    }
    let printed = "Failed at /a/path".to_owned();
    assert_eq!(on.runner.with_user_paths(&job.id, printed.clone()), printed);
    let events = on.runner.events(&job.id, None).await.unwrap();
    for (index, event) in events.iter().enumerate() {
        assert!(events.iter().skip(index + 1).all(|other| other.key != event.key), "{events:?}");
        let later = on.runner.events(&job.id, Some(&event.key)).await.unwrap();
        assert!(later.len() >= events.len() - index - 1 && !later.contains(event), "{later:?}");
    }
    on.runner.stop(&run, Duration::ZERO).await.unwrap();
}

async fn a_program_that_can_be_asked_to_end_is(on: Fixture) {
    let job = on.job("j", "echo here\nsleep 600").await;
    let (run, _) = on.start(&job, 1).await;
    on.printed(&job, "here").await;
    on.runner.stop(&run, LATE).await.unwrap();
    let end = on.ended(&run).await;
    assert_eq!((end.exit_code, end.signal), (None, Some(15)));
    on.runner.stop(&run, GRACE).await.unwrap();
    assert_eq!(on.ended(&run).await, end);
}

async fn a_program_that_cannot_be_asked_to_end_is_killed(on: Fixture) {
    for (name, grace) in [("slow", GRACE), ("now", Duration::ZERO)] {
        let job = on.job(name, "trap '' TERM\necho here\nsleep 600\nsleep 600").await;
        let (run, _) = on.start(&job, 1).await;
        on.printed(&job, "here").await;
        timeout(LATE, on.runner.stop(&run, grace)).await.expect("an end").unwrap();
        assert_eq!(on.ended(&run).await.signal, Some(9), "{name}");
    }
}

async fn a_stop_of_what_does_not_run_is_no_error(on: Fixture) {
    let job = on.job("j", "exit 0").await;
    on.runner.stop(&job.run(1), GRACE).await.unwrap();
    assert_eq!(on.status(&job.run(1)).await.state, RunState::NotStarted);
    let (run, _) = on.start(&job, 1).await;
    let end = on.ended(&run).await;
    on.runner.stop(&run, Duration::ZERO).await.unwrap();
    assert_eq!(on.ended(&run).await, end);
}

async fn runs_do_not_disturb_each_other(on: Fixture) {
    let (long, short) = (on.job("long", "sleep 600").await, on.job("short", "exit 4").await);
    let (long_run, _) = on.start(&long, 1).await;
    on.running(&long_run).await;
    let (short_run, _) = on.start(&short, 1).await;
    assert_eq!(on.ended(&short_run).await.exit_code, Some(4));
    on.runner.stop(&short_run, Duration::ZERO).await.unwrap();
    on.runner.clean_up(&short.id, true).await.unwrap();
    let both = on.runner.status(&[short_run, long_run.clone()]).await.unwrap();
    assert!(matches!(both[0].state, RunState::Ended(_)) && both[1].state == RunState::Running, "{both:?}");
    on.runner.stop(&long_run, Duration::ZERO).await.unwrap();
}

async fn an_end_wakes_who_waits(on: Fixture) {
    let job = on.job("j", "sleep 1").await;
    let (run, _) = on.start(&job, 1).await;
    let began = Instant::now();
    while !matches!(on.status(&run).await.state, RunState::Ended(_)) {
        assert!(began.elapsed() < LATE);
        timeout(LATE, on.runner.changed()).await.expect("to be woken");
    }
}

async fn what_cannot_start_is_refused(on: Fixture) {
    let missing = on.job("none", "exit 0").await;
    on.runner.remove_upload(&on.cluster, &missing.id.id);
    let variable = json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]);
    let mut secret = on.job("secret", "exit 0").await;
    let main = secret.plan.main.clone().unwrap();
    secret = on.job_of(secret.id.id, "secret", json!({"mainApplicationFile": main, "driver": {"env": variable}}));
    let mut none = Values::default();
    secret.plan.objects().into_iter().for_each(|object| none.insert(object.clone(), None));
    for (job, values) in [(&missing, &Values::default()), (&secret, &none)] {
        let run = job.run(1);
        let checked = on.check(job, values).await;
        assert!(is_job_error(&checked), "{checked:?}");
        let prepared = on.runner.prepare(on.run(job, &run), values).await;
        assert!(is_job_error(&prepared), "{prepared:?}");
        drop(prepared);
        assert_eq!(on.status(&run).await.state, RunState::NotStarted);
    }
    let mut there = Values::default();
    let data = [("k".to_owned(), b"v".to_vec().into())];
    secret.plan.objects().into_iter().for_each(|object| there.insert(object.clone(), Some(data.clone().into())));
    on.check(&secret, &there).await.unwrap();
}

async fn a_program_is_kept_for_the_next_run_and_removed_with_its_job(on: Fixture) {
    let job = on.job("j", "exit 0").await;
    let (run, _) = on.start(&job, 1).await;
    on.ended(&run).await;
    on.runner.clean_up(&job.id, false).await.unwrap();
    on.check(&job, &Values::default()).await.unwrap();
    on.runner.clean_up(&job.id, true).await.unwrap();
    let checked = on.check(&job, &Values::default()).await;
    assert!(is_job_error(&checked), "{checked:?}");
    // One that was never a job's after all.
    let other = on.job("other", "exit 0").await;
    on.runner.remove_upload(&on.cluster, &other.id.id);
    on.runner.remove_upload(&on.cluster, &other.id.id);
    assert!(is_job_error(&on.check(&other, &Values::default()).await));
}

async fn programs_of_unknown_jobs_are_removed(on: Fixture) {
    let (kept, gone) = (on.job("kept", "exit 0").await, on.job("gone", "exit 0").await);
    let known = |uploads_until| KnownJobs {
        kept: [kept.id.id.clone()].into(),
        open: [kept.id.id.clone()].into(),
        uploads_until,
    };
    // It may be of a submit that is under way at another server.
    on.runner.reconcile(known(Some(Timestamp::now() - Duration::from_secs(600)))).await.unwrap();
    on.check(&gone, &Values::default()).await.unwrap();
    let known = known(None);
    on.runner.reconcile(known.clone()).await.unwrap();
    on.runner.reconcile(known).await.unwrap();
    on.check(&kept, &Values::default()).await.unwrap();
    assert!(is_job_error(&on.check(&gone, &Values::default()).await));
}

async fn nothing_is_known_of_a_run_that_never_was(on: Fixture) {
    on.runner.ensure(&on.cluster).await.unwrap();
    let id = format!("{}-never", on.cluster.id);
    let job = on.job_of(id, "never", json!({"type": "Python"}));
    let status = on.status(&job.run(7)).await;
    assert_eq!((status.state, status.started_at), (RunState::NotStarted, None));
    assert!(on.runner.log(&job.id, 0, 10).await.unwrap().is_none());
    assert_eq!(on.runner.status(&[]).await.unwrap(), []);
    on.runner.forget(&job.run(7)).await.unwrap();
    on.runner.clean_up(&job.id, true).await.unwrap();
    assert_eq!(on.runner.limit_logs(Vec::new()).await.unwrap(), []);
}
