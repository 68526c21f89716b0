//! Several servers on one PostgreSQL: one of them looks after the jobs.

use mlplatform_protocol::jobs::{JobChanges, JobChangesRequest};
use mlplatform_store::{DatabaseUrl, testing};

use super::*;
use crate::{
    jobs::{
        changes::wait_for_spark_job,
        lease::{ClaimError, LEASE, claim},
    },
    readiness::check::check,
};

/// What servers share: the database, the keys, and a runner that all of them reach.
struct Shared {
    url: DatabaseUrl,
    folder: Arc<TempDir>,
    runner: MemoryRunner,
}

impl Shared {
    async fn new() -> Self {
        Self {
            url: testing::database().await.parse().unwrap(),
            folder: Arc::new(tempfile::tempdir().unwrap()),
            runner: MemoryRunner::default(),
        }
    }

    async fn idle(&self, placement: Placement) -> Platform {
        let store = Store::init_postgres(&self.url).await.unwrap();
        Platform::idle(store, Arc::clone(&self.folder), self.runner.clone(), placement).await
    }

    async fn server(&self, holder: &str) -> Platform {
        let mut on = self.idle(Placement::Anywhere { holder: holder.to_owned() }).await;
        on.supervise();
        on
    }
}

fn here(holder: &str) -> Placement {
    let id = holder.rsplit(':').next().unwrap().to_owned();
    Placement::Here { holder: holder.to_owned(), id }
}

async fn until_role(on: &Platform, wanted: impl Fn(Role) -> bool) -> Role {
    let began = Instant::now();
    loop {
        let role = on.app.jobs().role();
        if wanted(role) {
            return role;
        }
        assert!(began.elapsed() < LATE, "{role:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Does something to the lease behind everybody's back.
async fn on_lease(on: &Platform, set: &'static str) {
    let context = RequestContext::local();
    let mut tx = on.app.begin(&context).await.unwrap();
    joined(&["UPDATE leases SET ", set, " WHERE name = $1"]).bind(LEASE).execute(tx.connection()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn changes(on: &Platform, since: Option<u64>) -> JobChanges {
    let cluster_id = on.cluster.id.clone();
    let request = JobChangesRequest { cluster_id, since, wait_ms: since.map(|_| 20_000) };
    let answer = wait_for_spark_job(&on.app, request).await.unwrap().await.unwrap();
    serde_json::from_slice(&answer).unwrap()
}

#[tokio::test]
async fn one_server_runs_what_is_submitted_to_another() {
    let shared = Shared::new().await;
    let one = shared.server("one").await;
    until_role(&one, |role| role == Role::Active { epoch: 1 }).await;
    let other = shared.server("other").await;
    until_role(&other, |role| role == Role::Standby).await;
    let mut version = changes(&other, None).await.version;
    let job = other.job("j", "sleep 1\nexit 0", json!({}), "").await;
    let mut seen = Vec::new();
    while seen.last() != Some(&JobState::Completed.name().to_owned()) {
        // A long poll at the server that does not run it.
        let answer = changes(&other, Some(version)).await;
        assert!(!answer.jobs.is_empty(), "nothing changed for 20 seconds: {seen:?}");
        version = answer.version;
        seen.extend(answer.jobs.iter().map(|change| change.info.status.name().to_owned()));
    }
    assert!(seen.contains(&JobState::Running.name().to_owned()), "{seen:?}");
    assert_eq!(one.reasons(&job).await, ["Scheduled", "Started", "SparkDriverCompleted"]);
    assert_eq!(other.app.jobs().role(), Role::Standby);
}

#[tokio::test]
async fn who_has_lost_the_lease_writes_nothing() {
    let shared = Shared::new().await;
    let one = shared.server("one").await;
    until_role(&one, |role| role == Role::Active { epoch: 1 }).await;
    let job = one.job("j", "sleep 1\nexit 0", json!({}), "").await;
    let row = one.until_is(&job, JobState::Running).await;
    on_lease(&one, "holder = 'thief', epoch = epoch + 1, ends_at = 9000000000000000").await;
    // It has to write that the run has ended, and may not.
    until_role(&one, |role| role == Role::Standby).await;
    let statuses = one.runner.status(&[row.run_id()]).await.unwrap();
    assert!(matches!(statuses.first().unwrap().state, RunState::Ended(_)), "{statuses:?}");
    let row = one.row(&job).await;
    assert!(row.alive && row.is(JobState::Running), "{row:?}");
    on_lease(&one, "ends_at = 0").await;
    until_role(&one, |role| role == Role::Active { epoch: 3 }).await;
    one.until_is(&job, JobState::Completed).await;
    assert_eq!(one.reasons(&job).await, ["Scheduled", "Started", "SparkDriverCompleted"]);
}

#[tokio::test]
async fn the_next_goes_on_where_the_last_one_was() {
    let shared = Shared::new().await;
    let mut one = shared.server("one").await;
    until_role(&one, |role| role == Role::Active { epoch: 1 }).await;
    let other = shared.server("other").await;
    let job = other.job("j", "echo once\nsleep 2", json!({}), "").await;
    other.until_is(&job, JobState::Running).await;
    let began = Instant::now();
    one.stop().await;
    assert_eq!(one.app.jobs().role(), Role::Off);
    until_role(&other, |role| role == Role::Active { epoch: 2 }).await;
    assert!(began.elapsed() < Duration::from_secs(5), "one that stops gives its lease up: {:?}", began.elapsed());
    let row = other.until_is(&job, JobState::Completed).await;
    assert_eq!(row.runs, 1);
    assert_eq!(other.reasons(&job).await, ["Scheduled", "Started", "SparkDriverCompleted"]);
    assert_eq!(other.runner.log(&row.job_ref(), 0, 100).await.unwrap().unwrap().bytes, b"once\n");
}

#[tokio::test]
async fn a_second_machine_runs_no_jobs() {
    let shared = Shared::new().await;
    let mut one = shared.idle(here("ml1:/data:aa")).await;
    claim(&one.app, false).await.unwrap();
    one.supervise();
    until_role(&one, |role| role == Role::Active { epoch: 1 }).await;
    let second = shared.idle(here("ml2:/data:bb")).await;
    let error = claim(&second.app, true).await.unwrap_err();
    assert!(matches!(&error, ClaimError::Held { holder } if holder == "ml1:/data:aa"), "{error}");
    assert!(error.to_string().contains("--no-jobs"), "{error}");
    let mut none = shared.idle(Placement::Nowhere).await;
    claim(&none.app, false).await.unwrap();
    none.supervise();
    let job = none.job("j", "sleep 600", json!({}), "").await;
    none.until_is(&job, JobState::Running).await;
    assert_eq!(none.app.jobs().role(), Role::Off);
    one.kill().await;
    // The same data directory needs no patience: its lock says that the server before is dead.
    claim(&one.app, false).await.unwrap();
    on_lease(&one, "ends_at = 0").await;
    let error = claim(&second.app, false).await.unwrap_err();
    assert!(matches!(&error, ClaimError::Abandoned { jobs: 1, .. }), "{error}");
    assert!(error.to_string().contains("ml1:/data:aa") && error.to_string().contains("--abandon-jobs"), "{error}");
    // Refused, it has taken nothing.
    let renamed = shared.idle(here("ml9:/data:aa")).await;
    claim(&renamed.app, false).await.unwrap();
    on_lease(&one, "ends_at = 0").await;
    claim(&second.app, true).await.unwrap();
    let row = second.row(&job).await;
    assert!(row.is(JobState::Failed) && !row.alive, "{row:?}");
    assert!(row.problem.unwrap().contains("ml9:/data:aa"));
    assert_eq!(second.reasons(&job).await.last().unwrap(), "MachineAbandoned");
}

#[tokio::test]
async fn a_clock_that_is_not_the_databases_is_not_ready() {
    let shared = Shared::new().await;
    let right = shared.idle(Placement::Nowhere).await;
    let report = check(&right.app).await;
    assert!(report.failed().is_none(), "{report:?}");
    for (by, ahead) in [(1_500, true), (1_500, false), (500, true), (500, false)] {
        let wrong = shared.idle(Placement::Nowhere).await;
        let by = Duration::from_millis(by);
        if ahead {
            wrong.app.clock().advance(by)
        } else {
            wrong.app.clock().step_back(by)
        }
        let report = check(&wrong.app).await;
        let failed = report.failed().map(|check| (check.name(), check.problem().unwrap()));
        let expected = (by > Duration::from_secs(1)).then_some(("clock", "the clock is not that of the database"));
        assert_eq!(failed, expected, "{by:?} {ahead}");
    }
}
