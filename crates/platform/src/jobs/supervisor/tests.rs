//! The supervisor over a runner in memory, whose runs fail, wait and are lost when a test says so.

mod replicas;

use mlplatform_store::{Store, joined, query};
use std::time::Instant;

use mlplatform_protocol::Open;
use mlplatform_runner::{
    memory::MemoryRunner,
    runner::{Resource, Runner, RunnerEvent},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

use super::*;
use crate::{
    audit::Audit,
    clock::Clock,
    clusters::{row::Cluster, verbs},
    jobs::{placement::Placement, runtime::Jobs},
    limits::Limits,
    readiness::System,
    store,
    tokens::admin,
    vault::Vault,
};

/// Far longer than anything here takes.
const LATE: Duration = Duration::from_secs(30);

struct EndlessDisk;

impl System for EndlessDisk {
    fn free(&self) -> Option<u64> {
        None
    }

    fn size(&self) -> Option<u64> {
        None
    }

    fn is_low(&self) -> bool {
        false
    }
}

struct Platform {
    app: App,
    runner: MemoryRunner,
    cluster: Cluster,
    supervisor: JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
    _folder: Arc<TempDir>,
}

impl Platform {
    async fn new(runner: MemoryRunner) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let store = store::open(&folder.path().join("db")).await.unwrap();
        Self::start(store, folder, runner, Placement::Nowhere).await
    }

    /// A server on a store that others may share.
    async fn start(store: Store, folder: Arc<TempDir>, runner: MemoryRunner, placement: Placement) -> Self {
        let mut on = Self::idle(store, folder, runner, placement).await;
        on.supervise();
        on
    }

    /// One that does not look after jobs yet.
    async fn idle(store: Store, folder: Arc<TempDir>, runner: MemoryRunner, placement: Placement) -> Self {
        let path = |name| folder.path().join(name);
        let fresh = store.is_fresh().await.unwrap();
        let audit = Audit::open(&path("audit-key"), &path("audit-head"), fresh).unwrap();
        Vault::prepare(&path("secrets-key"), false).unwrap();
        let jobs = Jobs::new(Arc::new(runner.clone()), "http://localhost".to_owned(), placement);
        let app = App::new(
            path("secrets-key"),
            store,
            audit,
            Clock::default(),
            Limits::default(),
            jobs,
            Arc::new(EndlessDisk),
        );
        admin::bootstrap(&app, |_| Ok(())).await.unwrap();
        verbs::bootstrap(&app).await.unwrap();
        let id: String = query("SELECT id FROM clusters").scalar(&mut app.read().await.unwrap()).await.unwrap();
        let cluster = clusters::row::find(&mut app.read().await.unwrap(), &id).await.unwrap().unwrap();
        Self { app, runner, cluster, supervisor: tokio::spawn(async {}), stop: None, _folder: folder }
    }

    fn supervise(&mut self) {
        let (stop, stopped) = oneshot::channel();
        self.supervisor = tokio::spawn(supervise(self.app.clone(), false, stopped));
        self.stop = Some(stop);
    }

    /// As a server that is told to stop.
    async fn stop(&mut self) {
        drop(self.stop.take());
        (&mut self.supervisor).await.unwrap();
    }

    /// As the death of a server.
    async fn kill(&mut self) {
        self.supervisor.abort();
        let _ = (&mut self.supervisor).await;
    }

    /// A job, as a submit stores it; gives its id. `columns` are set beside those of a new job.
    async fn job(&self, name: &str, program: &str, spec: Value, columns: &'static str) -> String {
        let id = format!("id-of-{name}");
        let cluster = self.cluster.cluster_ref();
        let address = self.runner.upload(&cluster, &id, "job.py", program.into()).await.unwrap();
        let mut manifest =
            json!({"metadata": {"name": name}, "spec": {"type": "Python", "mainApplicationFile": address}});
        manifest["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let context = RequestContext::local();
        let mut tx = self.app.begin(&context).await.unwrap();
        let insert = "INSERT INTO jobs (id, cluster_id, name, manifest, millicores, memory_mib, created_at, created_by, \
                      submit_digest, state) SELECT $1, $2, $3, $4, 1000, 1024, $5, id, $6, 'SUBMITTED' FROM tokens";
        let now = tx.now().as_microsecond();
        query(insert)
            .bind(&id)
            .bind(&cluster.id)
            .bind(name)
            .bind(manifest.to_string())
            .bind(now)
            .bind([0; 32])
            .execute(tx.connection())
            .await
            .unwrap();
        if !columns.is_empty() {
            joined(&["UPDATE jobs SET ", columns, " WHERE id = $1"]).bind(&id).execute(tx.connection()).await.unwrap();
        }
        tx.connection().notify(row::TOPIC).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    async fn row(&self, id: &str) -> JobRow {
        row::by_id(&mut self.app.read().await.unwrap(), id).await.unwrap().unwrap()
    }

    async fn until(&self, id: &str, wanted: impl Fn(&JobRow) -> bool) -> JobRow {
        let began = Instant::now();
        loop {
            let row = self.row(id).await;
            if wanted(&row) {
                return row;
            }
            assert!(began.elapsed() < LATE, "{row:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn until_is(&self, id: &str, state: JobState) -> JobRow {
        self.until(id, |row| row.is(state)).await
    }

    async fn reasons(&self, id: &str) -> Vec<String> {
        let row = self.row(id).await;
        let mut connection = self.app.read().await.unwrap();
        let events = row::events_of_job(&mut connection, row.seq, 100).await.unwrap();
        events.into_iter().map(|event| mlplatform_protocol::JobEvent::from(event).reason).collect()
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

fn repeated(times: i64) -> Value {
    json!({"restartPolicy": {"type": "OnFailure", "onFailureRetries": times, "onFailureRetryInterval": 0,
        "onSubmissionFailureRetries": times, "onSubmissionFailureRetryInterval": 0}})
}

#[tokio::test]
async fn a_job_runs_to_its_end() {
    let on = Platform::new(MemoryRunner::default()).await;
    let (good, bad) =
        (on.job("good", "sleep 1\nexit 0", json!({}), "").await, on.job("bad", "exit 3", json!({}), "").await);
    let row = on.until_is(&good, JobState::Completed).await;
    assert_eq!((row.runs, row.alive, row.exit_code), (1, false, Some(0)));
    assert_eq!(on.reasons(&good).await, ["Scheduled", "Started", "SparkDriverCompleted"]);
    let row = on.until_is(&bad, JobState::Failed).await;
    assert_eq!((row.runs, row.exit_code, row.state()), (1, Some(3), Open::Known(JobState::Failed)));
    assert!(on.runner.is_cleaned_up(&good) && on.runner.is_cleaned_up(&bad));
}

#[tokio::test]
async fn what_the_runner_lacks_is_waited_for() {
    let runner = MemoryRunner::default();
    runner.exhaust(Some(Resource::Disk));
    let on = Platform::new(runner).await;
    let job = on.job("j", "exit 0", json!({}), "").await;
    on.until(&job, |row| row.waits_for.as_deref() == Some("disk")).await;
    on.runner.exhaust(Some(Resource::UserIds));
    let row = on.until(&job, |row| row.waits_for.as_deref() == Some("ids")).await;
    assert_eq!((row.runs, row.alive), (0, false));
    on.runner.exhaust(None);
    on.until_is(&job, JobState::Completed).await;
    assert_eq!(
        on.reasons(&job).await,
        ["DiskPressure", "FailedScheduling", "Scheduled", "Started", "SparkDriverCompleted"]
    );
}

#[tokio::test]
async fn the_restart_policy_repeats_runs_and_starts() {
    let on = Platform::new(MemoryRunner::default()).await;
    let job = on.job("runs", "exit 1", repeated(2), "").await;
    let row = on.until_is(&job, JobState::Failed).await;
    assert_eq!((row.runs, row.quick_ends), (3, 3));
    on.runner.break_starts(Some("no place"));
    let job = on.job("starts", "exit 0", repeated(1), "").await;
    let row = on.until_is(&job, JobState::Failed).await;
    assert_eq!((row.runs, row.failed_starts, row.problem.as_deref()), (0, 2, Some("no place")));
}

#[tokio::test]
async fn a_runner_that_repeats_runs_itself_is_left_to_it() {
    let on = Platform::new(MemoryRunner::that_repeats(2)).await;
    let job = on.job("j", "sleep 1\nexit 1", repeated(9), "").await;
    let row = on.until(&job, |row| row.is(JobState::Failing)).await;
    assert!(row.alive && row.runs == 1, "{row:?}");
    on.until_is(&job, JobState::Running).await;
    let row = on.until_is(&job, JobState::Failed).await;
    assert_eq!((row.runs, row.alive, row.exit_code), (1, false, Some(1)));
}

#[tokio::test]
async fn a_run_that_is_lost_has_failed() {
    let on = Platform::new(MemoryRunner::default()).await;
    let job = on.job("j", "sleep 600", json!({}), "").await;
    let row = on.until_is(&job, JobState::Running).await;
    on.runner.lose(&row.run_id());
    let row = on.until_is(&job, JobState::Failed).await;
    assert!(row.problem.unwrap().contains("was killed"));
}

/// The server was killed after it had written the start, and before it started anything.
#[tokio::test]
async fn a_run_that_did_not_begin_is_begun() {
    let on = Platform::new(MemoryRunner::default()).await;
    let job = on.job("j", "echo once", json!({}), "alive = TRUE, runs = 1").await;
    let row = on.until_is(&job, JobState::Completed).await;
    assert_eq!(row.runs, 1);
    let log = on.runner.log(&row.job_ref(), 0, 100).await.unwrap().unwrap();
    assert_eq!(log.bytes, b"once\n");
}

#[tokio::test]
async fn another_supervisor_goes_on_and_notes_nothing_twice() {
    let mut on = Platform::new(MemoryRunner::default()).await;
    let job = on.job("j", "echo once\nsleep 2", json!({}), "").await;
    on.until_is(&job, JobState::Running).await;
    let event = |key: &str, reason: &str| RunnerEvent {
        key: key.to_owned(),
        kind: EventKind::Warning,
        reason: reason.to_owned(),
        message: "seen".to_owned(),
    };
    on.runner.add_event(&job, event("1", "BackOff"));
    let began = Instant::now();
    while !on.reasons(&job).await.contains(&"BackOff".to_owned()) {
        assert!(began.elapsed() < LATE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    on.kill().await;
    on.supervise();
    on.runner.add_event(&job, event("2", "Pulled"));
    let row = on.until_is(&job, JobState::Completed).await;
    assert_eq!(on.reasons(&job).await, ["Scheduled", "Started", "BackOff", "Pulled", "SparkDriverCompleted"]);
    assert_eq!(on.runner.log(&row.job_ref(), 0, 100).await.unwrap().unwrap().bytes, b"once\n");
}

#[tokio::test]
async fn a_deleted_job_ends() {
    let on = Platform::new(MemoryRunner::default()).await;
    let job = on.job("j", "sleep 600", json!({}), "").await;
    on.until_is(&job, JobState::Running).await;
    let context = RequestContext::local();
    let mut tx = on.app.begin(&context).await.unwrap();
    delete(&mut tx, &on.row(&job).await, "a test wants it").await.unwrap();
    tx.commit().await.unwrap();
    let row = on.until(&job, |row| !row.alive).await;
    assert_eq!((row.signal, row.is_over()), (Some(15), true));
    assert_eq!(on.reasons(&job).await, ["Scheduled", "Started", "SparkApplicationDeleted", "Killing"]);
}
