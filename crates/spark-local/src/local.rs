//! The runner of this machine: each run is a process, whose parent outlives the server.
//!
//! What a run is doing stands in its folder ([`RunFolder`]), so a server that was killed goes on where the last one was.

use std::{
    future::ready,
    io,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use mlplatform_protocol::{EventKind, clusters::NodeUsage};
use mlplatform_runner::{
    disk_space,
    ids::IdStore,
    log::{self, Gap, JobLog, LogQuota, OwnedLog, gaps_of, read_gaps, truncation_message},
    runner::{
        Answer, ClusterRef, JobRef, KnownJobs, LogChunk, PreparedRun, Resource, Run, RunId, RunState, RunStatus,
        Runner, RunnerError, RunnerEvent,
    },
    termination::EVICTED,
    values::Values,
};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command, task::spawn_blocking};

use crate::{
    credentials::Credentials,
    disk, environment, field_support,
    folders::{BucketOwner, Folders},
    installation::SparkConfig,
    job_user::{JobUsers, JobsAs},
    launch::{self, LaunchContext},
    mounts, node,
    paths::{Locations, upload_uri},
    preflight, process_tree, proxy,
    run_folder::{FolderState, RunFolder},
    run_job::LaunchSpec,
    shared::Shared,
    user_ids, workspace,
};

/// Run folders of a job that are kept: that of the last run and those before it.
const RUN_FOLDERS: i64 = 3;
/// The reason of the event about a log that was truncated.
const LOG_TRUNCATED: &str = "LogTruncated";

/// Runs jobs on this machine. Clones share everything.
#[derive(Clone, Debug)]
pub struct LocalRunner {
    shared: Arc<Shared>,
}

impl LocalRunner {
    /// `users`: whom jobs run as, if not as the platform's own user. `ids`: where the ids of jobs are kept.
    #[must_use]
    pub fn new(folders: Folders, config: SparkConfig, users: Option<JobUsers>, ids: Arc<dyn IdStore>) -> Self {
        Self { shared: Arc::new(Shared::new(folders, config, users, ids)) }
    }

    /// Does something with the state on a thread that may wait for the disk.
    async fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Shared) -> io::Result<T> + Send + 'static,
    ) -> Result<T, RunnerError> {
        let shared = Arc::clone(&self.shared);
        let done = spawn_blocking(move || work(&shared)).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        done.map_err(RunnerError::transient(action))
    }

    fn locations(&self, cluster: &ClusterRef, spark_home: PathBuf) -> Locations {
        let (bucket, folders) = (cluster.bucket.clone(), &self.shared.folders);
        Locations { spark_home, folder: folders.bucket(&bucket), uploads: folders.uploads(), bucket }
    }

    async fn check_run(&self, run: Run<'_>, values: &Values) -> Result<Vec<String>, RunnerError> {
        let shared = &self.shared;
        let isolated = shared.id_range().is_some();
        let notices = field_support::notices(run.manifest, run.plan, isolated).map_err(RunnerError::Job)?;
        let installation = preflight::installation(shared).await.map_err(RunnerError::Unavailable)?;
        let locations = self.locations(run.cluster, installation.spark_home.clone());
        let missing = preflight::check_files(shared, run.plan, &locations, run.cluster, &run.id.job.id).await?;
        missing.map_or(Ok(()), |problem| Err(RunnerError::Job(problem)))?;
        if let Some(object) = values.missing() {
            return Err(RunnerError::Job(object.missing()));
        }
        // Of some ten MiB: no other request waits for it.
        let (plan, values, root) = (run.plan.clone(), values.clone(), shared.folders.root().to_owned());
        let checked = spawn_blocking(move || {
            launch::driver_options(&plan)?;
            // Where they will be is not known before the job is; its length is close.
            environment::resolve(&plan, &root, &values)?;
            mounts::tree(&plan, &values).map(drop)
        });
        let panicked = |error| RunnerError::transient("checking a job")(io::Error::other(error));
        checked.await.map_err(panicked)?.map_err(RunnerError::Job)?;
        Ok(notices)
    }

    async fn prepare_run<'a>(&'a self, run: Run<'_>, values: &Values) -> Result<PreparedRun<'a>, RunnerError> {
        let shared = &self.shared;
        let folder = shared.run_folder(run.id);
        if folder.state() != FolderState::NotStarted {
            let log_from = folder.began().and_then(|began| began.log_from).unwrap_or_default();
            return Ok(PreparedRun::new(log_from, Box::pin(ready(Ok(())))));
        }
        let credentials = user_ids::allocate(shared, run.id).await?;
        field_support::notices(run.manifest, run.plan, credentials.is_some()).map_err(RunnerError::Job)?;
        let installation = preflight::installation(shared).await.map_err(RunnerError::Job)?;
        preflight::check_program(run.plan, &installation).map_err(RunnerError::Job)?;
        let locations = self.locations(run.cluster, installation.spark_home.clone());
        // Who looks for them runs as the jobs' user: that it fails may be a job's doing, and must not keep the others waiting.
        let problem = preflight::check_files(shared, run.plan, &locations, run.cluster, &run.id.job.id)
            .await
            .unwrap_or_else(|error| Some(with_causes(&error)));
        problem.map_or(Ok(()), |problem| Err(RunnerError::Job(problem)))?;
        let (state, id, plan, values) = (Arc::clone(shared), run.id.clone(), run.plan.clone(), values.clone());
        let prepared = spawn_blocking(move || {
            let job = state.folders.job(&id.job.id);
            let owner = match credentials {
                None => BucketOwner::Platform,
                Some(Credentials { cluster: Some(group), .. }) => BucketOwner::Group(group),
                Some(Credentials { uid, gid, cluster: None }) => BucketOwner::User(uid, gid),
            };
            state.folders.make_bucket(&locations.bucket, owner).map_err(unwritable)?;
            if let Some(credentials) = credentials {
                state.folders.open_upload(&id.job.id, credentials.gid).map_err(unwritable)?;
            }
            let (cores, memory_mib) = launch::machine();
            // Shared by all jobs, so that a package is fetched once, unless one could write what another runs.
            let package_cache =
                if credentials.is_some() { job.join("work/ivy") } else { state.folders.package_cache() };
            let free = disk_space::Thresholds::at(state.folders.root()).logs;
            let context = LaunchContext {
                installation: &installation,
                locations: &locations,
                folder: &job,
                quota: LogQuota { limit: state.config.longest_log.0, free },
                cores,
                memory_mib,
                run_id: id.to_string(),
                credentials,
                package_cache,
                values: &values,
            };
            let (mut launch, conf) = launch::launch(&plan, &context).map_err(RunnerError::Job)?;
            let tree = mounts::tree(&plan, &values).map_err(RunnerError::Job)?;
            // Of the run before: what it wrote there may be of any size and depth.
            state.trash.discard(&mounts::folder_of(&job));
            launch.log_from = workspace::lay_out(&job, folder.path(), &conf, &tree, credentials).map_err(unwritable)?;
            Ok(launch)
        });
        let panicked = |error| RunnerError::transient("preparing a run")(io::Error::other(error));
        let launch: LaunchSpec = prepared.await.map_err(panicked)??;
        shared.forget(run.id);
        let (log_from, id) = (launch.log_from, run.id.clone());
        Ok(PreparedRun::new(log_from, Box::pin(self.start(id, launch))))
    }

    /// Starts the parent, and tells it what to start.
    async fn start(&self, run: RunId, launch: LaunchSpec) -> Result<(), RunnerError> {
        let folder = self.shared.run_folder(&run);
        if folder.state() != FolderState::NotStarted {
            return Ok(());
        }
        self.spawn_parent(&run, &folder, &launch).await.map_err(|error| {
            if disk_space::is_full(&error) {
                return no_room();
            }
            RunnerError::Job(format!("its process cannot be started: {error}"))
        })
    }

    async fn spawn_parent(&self, run: &RunId, folder: &RunFolder, launch: &LaunchSpec) -> io::Result<()> {
        let lock = folder.lock()?;
        self.shared.note_started(run);
        let mut command = Command::new(self.shared.helper_program()?);
        command.arg("run-job").arg(folder.path()).env_clear();
        command.stdin(Stdio::piped()).stdout(lock).stderr(Stdio::null()).current_dir("/");
        let mut parent = command.spawn()?;
        let text = serde_json::to_vec(launch)?;
        if let Some(mut stdin) = parent.stdin.take() {
            stdin.write_all(&text).await?;
            stdin.shutdown().await?;
        }
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let _ = parent.wait().await;
            shared.notify_changed();
        });
        Ok(())
    }
}

fn no_room() -> RunnerError {
    let message = format!("{EVICTED}: no run starts until there is room");
    RunnerError::Exhausted { resource: Resource::Disk, message }
}

fn unwritable(error: io::Error) -> RunnerError {
    if disk_space::is_full(&error) {
        no_room()
    } else {
        RunnerError::Job(format!("its folder cannot be written: {error}"))
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source()).map(ToString::to_string);
    format!("{error}: {}", causes.collect::<Vec<_>>().join(": "))
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

fn status(shared: &Shared, run: &RunId) -> RunStatus {
    let folder = shared.run_folder(run);
    let state = match folder.state() {
        FolderState::Running => {
            shared.note_running(run);
            if folder.began().is_some() { RunState::Running } else { RunState::Pending(None) }
        }
        FolderState::Ended(mut end) => {
            shared.note_ended(run);
            if let Some(problem) = shared.eviction(run).filter(|_| !end.is_success()) {
                end.problem = Some(problem);
            }
            RunState::Ended(end)
        }
        FolderState::Lost => {
            shared.note_ended(run);
            let problem = "the job's parent process was killed, and with it went what it knew of the job's end";
            RunState::Lost(problem.to_owned())
        }
        FolderState::NotStarted if shared.was_started_here(run) && !disk::is_low(shared) => {
            let problem = "the job's parent process ended before it could start the program; is the disk full?";
            RunState::FailedToStart(problem.to_owned())
        }
        // The server before this one was killed on the way, or the disk was full: nothing ran, and nothing runs twice.
        FolderState::NotStarted => RunState::NotStarted,
    };
    RunStatus { state, started_at: folder.began().map(|began| began.at), attempts: None }
}

impl Runner for LocalRunner {
    fn restarts_jobs(&self, _: &str) -> bool {
        false
    }

    fn work(&self) -> BoxFuture<'_, ()> {
        let shared = &self.shared;
        Box::pin(async move {
            if shared.config.jobs == JobsAs::Off {
                return Arc::clone(&shared.trash).keep_empty().await;
            }
            proxy::warn_of_passwords();
            // Each goes on while the others wait for the disk.
            tokio::join!(
                preflight::warn_of_no_jobs(shared),
                disk::watch(Arc::clone(shared)),
                user_ids::reclaim(Arc::clone(shared)),
                Arc::clone(&shared.trash).keep_empty(),
            );
        })
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.shared.changed())
    }

    fn ensure<'a>(&'a self, cluster: &'a ClusterRef) -> Answer<'a, ()> {
        let name = cluster.bucket.clone();
        Box::pin(self.blocking("making the cluster's bucket", move |shared| {
            shared.folders.make_bucket(&name, BucketOwner::Platform)
        }))
    }

    fn nodes<'a>(&'a self, _: &'a ClusterRef) -> Answer<'a, Vec<NodeUsage>> {
        Box::pin(async { Ok(vec![node::usage().await.map_err(RunnerError::transient("reading /proc"))?]) })
    }

    fn remove<'a>(&'a self, _: &'a ClusterRef) -> Answer<'a, ()> {
        Box::pin(ready(Ok(())))
    }

    fn reconcile(&self, known: KnownJobs) -> Answer<'_, ()> {
        Box::pin(self.blocking("making the trash", move |shared| {
            // While there is room on the disk for it.
            shared.folders.make_trash()?;
            workspace::reconcile(shared, &known);
            Ok(())
        }))
    }

    fn upload<'a>(
        &'a self,
        cluster: &'a ClusterRef,
        job: &'a str,
        name: &'a str,
        content: Vec<u8>,
    ) -> Answer<'a, String> {
        Box::pin(async move {
            let (id, file) = (job.to_owned(), name.to_owned());
            let write = move |shared: &Shared| shared.folders.write_upload(&id, &file, &content);
            self.blocking("writing the job's program", write).await?;
            Ok(upload_uri(&cluster.bucket, job, name))
        })
    }

    fn remove_upload(&self, _: &ClusterRef, job: &str) {
        self.shared.trash.discard(&self.shared.folders.uploads().join(job));
    }

    fn check<'a>(&'a self, run: Run<'a>, values: &'a Values) -> Answer<'a, Vec<String>> {
        Box::pin(self.check_run(run, values))
    }

    fn ready<'a>(&'a self, _: &'a ClusterRef) -> Answer<'a, ()> {
        Box::pin(ready(if self.shared.is_under_pressure() { Err(no_room()) } else { Ok(()) }))
    }

    fn prepare<'a>(&'a self, run: Run<'a>, values: &'a Values) -> Answer<'a, PreparedRun<'a>> {
        Box::pin(self.prepare_run(run, values))
    }

    fn status<'a>(&'a self, runs: &'a [RunId]) -> Answer<'a, Vec<RunStatus>> {
        let runs = runs.to_vec();
        Box::pin(
            self.blocking("looking at runs", move |shared| Ok(runs.iter().map(|run| status(shared, run)).collect())),
        )
    }

    fn stop<'a>(&'a self, run: &'a RunId, grace: Duration) -> Answer<'a, ()> {
        let run = run.clone();
        Box::pin(self.blocking("ending the processes of a run", move |shared| {
            let ended = process_tree::end_run(&shared.run_folder(&run), &run.to_string(), grace);
            shared.notify_changed();
            if ended { Ok(()) } else { Err(io::Error::other("processes of it do not end")) }
        }))
    }

    fn forget<'a>(&'a self, run: &'a RunId) -> Answer<'a, ()> {
        self.shared.forget(run);
        let run = run.clone();
        Box::pin(self.blocking("removing old runs", move |shared| {
            workspace::remove_runs(&shared.folders.job(&run.job.id), run.number.saturating_sub(RUN_FOLDERS));
            Ok(())
        }))
    }

    fn clean_up<'a>(&'a self, job: &'a JobRef, deleted: bool) -> Answer<'a, ()> {
        Box::pin(async move {
            let folders = &self.shared.folders;
            let upload = deleted.then(|| folders.uploads().join(&job.id));
            self.shared.trash.discard_all(workspace::leftovers(&folders.job(&job.id)).into_iter().chain(upload)).await;
            self.shared.released.notify_one();
            Ok(())
        })
    }

    fn log<'a>(&'a self, job: &'a JobRef, offset: u64, most: usize) -> Answer<'a, Option<LogChunk>> {
        let id = job.id.clone();
        Box::pin(self.blocking("reading a log", move |shared| {
            JobLog::open(&shared.folders.log(&id))?.map(|log| log.chunk(offset, most)).transpose()
        }))
    }

    fn limit_logs(&self, jobs: Vec<(JobRef, bool)>) -> Answer<'_, Vec<(JobRef, RunnerEvent)>> {
        Box::pin(self.blocking("cutting logs", move |shared| {
            // One at a time: the next sees what this one leaves.
            let _turn = shared.logs.lock().unwrap_or_else(PoisonError::into_inner);
            let owned = |(owner, is_over): (JobRef, bool)| {
                let path = shared.folders.log(&owner.id);
                OwnedLog { owner, is_over, path }
            };
            let logs = jobs.into_iter().map(owned).collect();
            let cut = log::shrink(logs, shared.config.longest_cluster_logs).into_iter();
            Ok(cut.map(|(job, gap)| (job, truncated(&gap))).collect())
        }))
    }

    fn events<'a>(&'a self, job: &'a JobRef, after: Option<&'a str>) -> Answer<'a, Vec<RunnerEvent>> {
        if after.is_some() {
            // There is but one.
            return Box::pin(ready(Ok(Vec::new())));
        }
        let id = job.id.clone();
        Box::pin(self.blocking("reading a log", move |shared| {
            let log = shared.folders.log(&id);
            if !gaps_of(&log).exists() {
                return Ok(Vec::new());
            }
            let first = read_gaps(&log).unwrap_or_default().into_iter().next();
            Ok(first.iter().map(truncated).collect())
        }))
    }

    fn describe<'a>(&'a self, _: &'a JobRef) -> Answer<'a, Option<Value>> {
        Box::pin(ready(Ok(None)))
    }

    fn with_user_paths(&self, job: &JobRef, text: String) -> String {
        workspace::with_user_paths(&self.shared.folders, &job.id, text)
    }
}
