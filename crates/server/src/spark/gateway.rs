//! What of Spark the whole server shares: the settings, the installation once it was found, and the bell that wakes the
//! supervisor.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    id_range::IdRange,
    installation::{Installation, SparkConfig, beside_this_program},
    job_user::{JobUser, JobUsers},
    trash,
};

/// How long the processes of a job that is evicted may take to end before it is tried again.
const EVICTION: Duration = Duration::from_secs(5);

/// For how long what is missing is not looked for again.
const MISSING: Duration = Duration::from_secs(2);

type Found = Result<Arc<Installation>, (Instant, String)>;

/// Shared by requests and the supervisor.
#[derive(Debug, Default)]
pub struct Gateway {
    config: OnceLock<(SparkConfig, String)>,
    /// What was found is kept; that something is missing for a moment, because it may be installed while the server runs.
    found: tokio::sync::Mutex<Option<Found>>,
    bell: Notify,
    users: OnceLock<JobUsers>,
    /// Of the range: the one that was given last.
    last_id: AtomicU32,
    pub(crate) trash: trash::Bin,
    /// Whose turn it is to hold the logs of a cluster to their limit.
    pub(crate) logs: tokio::sync::Mutex<()>,
    /// The disk is nearly full.
    pressure: AtomicBool,
    /// Marks of runs that were evicted: why, and when.
    evicted: Mutex<HashMap<String, (String, Instant)>>,
}

impl Gateway {
    /// Said once, at the start: the settings, and the address of the platform.
    pub fn configure(&self, mut config: SparkConfig, url: String) {
        // Now: when this program is replaced by a newer one, the system does not say any more where it was.
        config.python = config.python.or_else(beside_this_program);
        let _ = self.config.set((config, url));
    }

    pub fn config(&self) -> SparkConfig {
        self.config.get().map(|(config, _)| config.clone()).unwrap_or_default()
    }

    /// Said once, at the start: whom jobs run as, if they have users of their own.
    pub fn run_jobs_as(&self, users: JobUsers) {
        if let Some(range) = users.range {
            // Anywhere: a server that is started again does not give those out at once that its predecessor has just had.
            let random = RandomState::new().build_hasher().finish() % u64::from(range.size());
            self.set_last_id(range.reserved().saturating_add(u32::try_from(random).unwrap_or_default()));
        }
        let _ = self.users.set(users);
    }

    /// The user of all jobs; with a range, the one that looks for files and runs none.
    pub(crate) fn job_user(&self) -> Option<&JobUser> {
        self.users.get().map(|users| &users.user)
    }

    /// The ids of which each job has its own.
    pub(crate) fn job_ids(&self) -> Option<IdRange> {
        self.users.get().and_then(|users| users.range)
    }

    /// The users that jobs have, and nobody else.
    pub fn job_uids(&self) -> Option<RangeInclusive<u32>> {
        self.users.get().map(JobUsers::uids)
    }

    pub(crate) fn last_id(&self) -> u32 {
        self.last_id.load(Ordering::Relaxed)
    }

    pub(crate) fn set_last_id(&self, id: u32) {
        self.last_id.store(id, Ordering::Relaxed);
    }

    /// Where people find a job's page.
    pub(crate) fn ui_url(&self, cluster: &str, job: &str) -> String {
        let url = self.config.get().map(|(_, url)| url.as_str()).unwrap_or_default();
        format!("{url}/clusters/{cluster}/{job}/jobs/")
    }

    /// Spark, Java and Python.
    pub(crate) async fn installation(&self) -> Result<Arc<Installation>, String> {
        let mut found = self.found.lock().await;
        match found.as_ref() {
            Some(Ok(installation)) => return Ok(Arc::clone(installation)),
            Some(Err((at, problem))) if at.elapsed() < MISSING => return Err(problem.clone()),
            _ => {}
        }
        let now = Installation::find(self.config(), self.job_user()).await.map(Arc::new);
        *found = Some(now.clone().map_err(|problem| (Instant::now(), problem)));
        now
    }

    /// There is something to do.
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// The disk is nearly full: no run starts.
    pub(crate) fn is_under_pressure(&self) -> bool {
        self.pressure.load(Ordering::Relaxed)
    }

    /// Gives what it was.
    pub(crate) fn set_pressure(&self, pressure: bool) -> bool {
        self.pressure.swap(pressure, Ordering::Relaxed)
    }

    /// A run is evicted; why is told with its end.
    pub(crate) fn note_eviction(&self, mark: String, problem: String) {
        let mut evicted = self.evicted.lock().unwrap_or_else(PoisonError::into_inner);
        evicted.entry(mark).or_insert_with(|| (problem, Instant::now())).1 = Instant::now();
    }

    /// Whether a run is being evicted.
    pub(crate) fn is_evicted(&self, mark: &str) -> bool {
        let evicted = self.evicted.lock().unwrap_or_else(PoisonError::into_inner);
        evicted.get(mark).is_some_and(|(_, at)| at.elapsed() < EVICTION)
    }

    /// Why a run was evicted, if it was.
    pub(crate) fn eviction(&self, mark: &str) -> Option<String> {
        let evicted = self.evicted.lock().unwrap_or_else(PoisonError::into_inner);
        evicted.get(mark).map(|(problem, _)| problem.clone())
    }

    /// Its end is written.
    pub(crate) fn forget_eviction(&self, mark: &str) {
        self.evicted.lock().unwrap_or_else(PoisonError::into_inner).remove(mark);
    }
}
