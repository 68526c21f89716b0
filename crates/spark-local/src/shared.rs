//! The state that the parts of the runner share: settings, folders, the installation once it was found, what runs.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, Hasher, RandomState},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use mlplatform_runner::{ids::IdStore, runner::RunId};
use tokio::sync::Notify;

use crate::{
    folders::Folders,
    id_range::IdRange,
    installation::{Installation, SparkConfig, beside_this_program},
    job_user::{JobUser, JobUsers},
    run_folder::RunFolder,
    trash::Trash,
};

/// How long the processes of a run that is evicted may take to end before it is tried again.
const EVICTION: Duration = Duration::from_secs(5);
/// For how long what is missing is not looked for again.
const MISSING: Duration = Duration::from_secs(2);

type Found = Result<Arc<Installation>, (Instant, String)>;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) folders: Folders,
    pub(crate) config: SparkConfig,
    pub(crate) ids: Arc<dyn IdStore>,
    pub(crate) trash: Arc<Trash>,
    users: Option<JobUsers>,
    /// What was found is kept; that something is missing for a moment, because it may be installed while the server runs.
    found: tokio::sync::Mutex<Option<Found>>,
    /// The status of a run may have changed.
    changed: Notify,
    /// A job is over: its id may be free.
    pub(crate) released: Notify,
    /// Of the range: the one that was given last.
    last_id: AtomicU32,
    /// Held while the logs of a cluster are cut.
    pub(crate) logs: Mutex<()>,
    /// The disk is nearly full.
    pressure: AtomicBool,
    runs: Mutex<Runs>,
}

/// What is known of runs beside what their folders tell.
#[derive(Debug, Default)]
struct Runs {
    /// Those that run, in the order in which they became known.
    running: Vec<RunId>,
    /// Those that this process started.
    started: HashSet<RunId>,
    /// Those that were evicted: why, and when.
    evicted: HashMap<RunId, (String, Instant)>,
}

impl Shared {
    pub(crate) fn new(
        folders: Folders,
        mut config: SparkConfig,
        users: Option<JobUsers>,
        ids: Arc<dyn IdStore>,
    ) -> Self {
        // Now: when this program is replaced by a newer one, the system does not say any more where it was.
        config.python = config.python.or_else(beside_this_program);
        // Anywhere: a server that is started again does not give those out at once that its predecessor has just had.
        let last_id = users.as_ref().and_then(|users| users.range).map_or(0, |range| {
            let random = RandomState::new().build_hasher().finish() % u64::from(range.size());
            range.reserved().saturating_add(u32::try_from(random).unwrap_or_default())
        });
        Self {
            trash: Arc::new(Trash::new(folders.trash())),
            folders,
            config,
            ids,
            users,
            found: tokio::sync::Mutex::default(),
            changed: Notify::new(),
            released: Notify::new(),
            last_id: AtomicU32::new(last_id),
            logs: Mutex::default(),
            pressure: AtomicBool::new(false),
            runs: Mutex::default(),
        }
    }

    /// The user of all jobs; with a range, the one that looks for files and runs none.
    pub(crate) fn job_user(&self) -> Option<&JobUser> {
        self.users.as_ref().map(|users| &users.user)
    }

    /// The ids of which each job has its own.
    pub(crate) fn id_range(&self) -> Option<IdRange> {
        self.users.as_ref().and_then(|users| users.range)
    }

    pub(crate) fn last_id(&self) -> u32 {
        self.last_id.load(Ordering::Relaxed)
    }

    pub(crate) fn set_last_id(&self, id: u32) {
        self.last_id.store(id, Ordering::Relaxed);
    }

    /// The program whose hidden commands work for jobs.
    pub(crate) fn helper_program(&self) -> io::Result<PathBuf> {
        self.config.runner.clone().map_or_else(this_program, Ok)
    }

    /// Spark, Java and Python.
    pub(crate) async fn find_installation(&self) -> Result<Arc<Installation>, String> {
        let mut found = self.found.lock().await;
        match found.as_ref() {
            Some(Ok(installation)) => return Ok(Arc::clone(installation)),
            Some(Err((at, problem))) if at.elapsed() < MISSING => return Err(problem.clone()),
            _ => {}
        }
        let now = Installation::find(self.config.clone(), self.job_user()).await.map(Arc::new);
        *found = Some(now.clone().map_err(|problem| (Instant::now(), problem)));
        now
    }

    pub(crate) fn notify_changed(&self) {
        self.changed.notify_one();
    }

    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The disk is nearly full: no run starts.
    pub(crate) fn is_under_pressure(&self) -> bool {
        self.pressure.load(Ordering::Relaxed)
    }

    /// Gives what it was.
    pub(crate) fn set_pressure(&self, pressure: bool) -> bool {
        self.pressure.swap(pressure, Ordering::Relaxed)
    }

    pub(crate) fn run_folder(&self, run: &RunId) -> RunFolder {
        RunFolder::at(self.folders.job(&run.job.id).join(format!("run-{}", run.number)))
    }

    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This process starts a run.
    pub(crate) fn note_started(&self, run: &RunId) {
        self.runs().started.insert(run.clone());
        self.note_running(run);
    }

    /// Whether this process started it.
    pub(crate) fn was_started_here(&self, run: &RunId) -> bool {
        self.runs().started.contains(run)
    }

    pub(crate) fn note_running(&self, run: &RunId) {
        let mut runs = self.runs();
        if !runs.running.contains(run) {
            runs.running.push(run.clone());
        }
    }

    pub(crate) fn note_ended(&self, run: &RunId) {
        self.runs().running.retain(|other| other != run);
    }

    /// Those that run.
    pub(crate) fn running(&self) -> Vec<RunId> {
        self.runs().running.clone()
    }

    /// A run is evicted; why is part of its end.
    pub(crate) fn note_eviction(&self, run: &RunId, problem: String) {
        let mut runs = self.runs();
        runs.evicted.entry(run.clone()).or_insert_with(|| (problem, Instant::now())).1 = Instant::now();
    }

    /// Whether a run was evicted a moment ago, and may be ending.
    pub(crate) fn is_being_evicted(&self, run: &RunId) -> bool {
        self.runs().evicted.get(run).is_some_and(|(_, at)| at.elapsed() < EVICTION)
    }

    /// Why a run was evicted, if it was.
    pub(crate) fn eviction(&self, run: &RunId) -> Option<String> {
        self.runs().evicted.get(run).map(|(problem, _)| problem.clone())
    }

    /// Its end is written, or it did not begin.
    pub(crate) fn forget(&self, run: &RunId) {
        let mut runs = self.runs();
        runs.started.remove(run);
        runs.evicted.remove(run);
        runs.running.retain(|other| other != run);
    }
}

/// As it runs, also when a newer one was installed in its place.
fn this_program() -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.to_owned()) } else { std::env::current_exe() }
}
