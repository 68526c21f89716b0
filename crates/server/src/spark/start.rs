//! The start of a run: its folder, its launch, and the process that becomes its parent.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, fchown},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use mlplatform_protocol::ErrorCode;
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    task::spawn_blocking,
};

use super::{
    disk,
    environment::Held,
    files, ids,
    installation::{self, Installation},
    job_user::{JobUser, Rights},
    launch::{self, Context},
    log::{JobLog, Room},
    mounts::{self, Tree},
    places::{Place, Places},
    plan::{Object, ObjectKind, Plan},
    reach,
    run::RunFolder,
    run_job::Launch,
    supervisor, trash,
};
use crate::{
    app::App,
    clusters::row::Cluster,
    data_dir::BucketOwner,
    error::{Error, causes},
    objects,
    service::job_rows::JobRow,
};

/// Why a run is not started.
pub(crate) enum Refusal {
    /// The job's own fault, or its surroundings': it counts as a failed start.
    Job(String),
    /// There is no room for its files: it can wait for some.
    Full,
    /// The platform's.
    Platform(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Platform(error)
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        if disk::is_full(&error) {
            return Self::Full;
        }
        Self::Job(format!("its folder cannot be written: {error}"))
    }
}

/// A run that can be started.
pub(crate) struct Prepared {
    launch: Launch,
    runner: PathBuf,
    run: RunFolder,
    namespace: String,
    log_from: u64,
}

/// The places of a cluster.
pub(crate) fn places(app: &App, cluster: &Cluster, spark_home: PathBuf) -> Places {
    let (bucket, dir) = (cluster.bucket.clone(), app.dir());
    Places { spark_home, folder: dir.bucket(&bucket), uploads: dir.uploads(), bucket }
}

/// Spark, Java and Python, which the jobs' user reaches; the text says what keeps jobs from running.
pub(crate) async fn installation(app: &App) -> Result<Arc<Installation>, String> {
    let spark = app.spark();
    let Some(user) = spark.job_user() else { return spark.installation().await };
    let runner = runner(app).map_err(|error| format!("its own program is not found: {error}"))?;
    let config = spark.config();
    let mut needs = vec![("the data directory", app.dir().path().join("jobs"))];
    if config.submit.is_none()
        && let Ok(python) = installation::python(&config)
    {
        // Before the search, which asks Python as that user, and hears nothing when it cannot be run.
        needs.push(("Python", python));
    }
    reach::problem(&runner, user, &needs).await?;
    let found = spark.installation().await?;
    reach::problem(&runner, user, &reach::needs(&found)).await.map(|()| found)
}

/// Tells the operator at the start what will keep each job from running as the user that it is to run as.
pub async fn warn_of_no_jobs(app: App) {
    if app.spark().job_user().is_some()
        && let Err(problem) = installation(&app).await
    {
        tracing::warn!("no job can run: {problem}");
    }
}

/// What is wrong with the files that a plan names, asked with the rights that the job will have: those of the cluster's
/// group, where each job has an id of its own.
pub(crate) async fn check_files(
    app: &App,
    plan: &Plan,
    places: &Places,
    cluster: &Cluster,
    job: &str,
) -> crate::error::Result<Option<String>> {
    // What came along with it is there, and is opened to it when it starts.
    let own = places.uploads.join(job);
    let is_own = |path: &Path| path.parent() == Some(own.as_path()) && path.file_name().is_some() && path.exists();
    let located: Result<Vec<_>, _> = plan.files().map(|(field, uri)| located(places, &field, uri)).collect();
    let main = launch::main(plan, places).err().or_else(|| launch::come_along(plan, places).err());
    let files: Vec<(String, Place)> = match (main, located) {
        (Some(problem), _) | (None, Err(problem)) => return Ok(Some(problem)),
        (None, Ok(located)) => located.into_iter().flatten().filter(|(_, place)| !is_own(&place.path)).collect(),
    };
    let failed = |error| Error::File("looking for the files of a job", error);
    let runner = runner(app).map_err(failed)?;
    let paths = files.iter().map(|(_, place)| place.path.clone()).collect();
    let group = ids::group(app, cluster).await?;
    let user = app.spark().job_user().map(|user| JobUser { gid: group.unwrap_or(user.gid), ..user.clone() });
    let user = user.as_ref();
    let found = files::readable(&runner, user, paths).await.map_err(failed)?;
    let missing = files.into_iter().zip(found).find(|(_, found)| !found);
    let by = match (user, app.spark().job_ids()) {
        (None, _) => String::new(),
        (Some(user), None) => format!(" (looked for as '{}', whom jobs run as)", user.name),
        (Some(user), Some(_)) => {
            format!(" (looked for as user {} of the cluster's group, with the rights of each job)", user.name)
        }
    };
    Ok(missing.map(|((field, place), _)| format!("{field}: {}{by}", place.missing)))
}

fn located(places: &Places, field: &str, uri: &str) -> Result<Option<(String, Place)>, String> {
    let place = places.locate(uri).map_err(|problem| format!("{field}: {problem}"))?;
    Ok(place.map(|place| (field.to_owned(), place)))
}

/// The program whose hidden commands work for jobs.
fn runner(app: &App) -> io::Result<PathBuf> {
    app.spark().config().runner.map_or_else(this_program, Ok)
}

/// Makes everything ready for the next run of a job.
pub(crate) async fn prepare(
    app: &App,
    job: &JobRow,
    cluster: &Cluster,
    rights: Option<Rights>,
) -> Result<Prepared, Refusal> {
    let plan = supervisor::plan(job).map_err(Refusal::Job)?;
    let mut values: Vec<(Object, Option<Held>)> = Vec::new();
    for object in plan.objects() {
        values.push((object.clone(), values_of(app, &cluster.id, &plan, object).await?));
    }
    let installation = installation(app).await.map_err(Refusal::Job)?;
    let places = places(app, cluster, installation.spark_home.clone());
    // Who looks for them runs as the jobs' user: that it fails may be a job's doing, and must not keep the others waiting.
    let problem = check_files(app, &plan, &places, cluster, &job.id)
        .await
        .unwrap_or_else(|error| Some(format!("{error}: {}", causes(&error).join(": "))));
    problem.map_or(Ok(()), |problem| Err(Refusal::Job(problem)))?;
    let (app, job) = (app.clone(), job.clone());
    let prepared = spawn_blocking(move || {
        let owner = match rights {
            None => BucketOwner::Platform,
            Some(Rights { cluster: Some(group), .. }) => BucketOwner::Group(group),
            Some(Rights { uid, gid, cluster: None }) => BucketOwner::User(uid, gid),
        };
        app.dir().make_bucket(&places.bucket, owner)?;
        if let Some(rights) = rights {
            app.dir().open_upload(&job.id, rights.gid)?;
        }
        let folder = job.folder(&app);
        let run = folder.join(format!("run-{}", job.runs.saturating_add(1)));
        let (cores, memory_mib) = launch::machine();
        let ivy = if rights.is_some() { folder.join("work/ivy") } else { app.dir().ivy() };
        let find = |object: &Object| values.iter().find(|(known, _)| known == object).and_then(|(_, v)| v.clone());
        let context = Context {
            installation: &installation,
            places: &places,
            folder: &folder,
            room: Room { limit: app.spark().config().longest_log.0, free: disk::Marks::at(app.dir().path()).logs },
            cores,
            memory_mib,
            mark: format!("{}.{}", job.id, job.runs.saturating_add(1)),
            rights,
            ivy,
            values: &find,
        };
        let (launch, conf) = launch::launch(&plan, &context).map_err(Refusal::Job)?;
        let tree = mounts::tree(&plan, &find).map_err(Refusal::Job)?;
        // Of the run before: what it wrote there may be of any size and depth.
        trash::discard(&app, &mounts::folder(&folder));
        let log_from = lay_out(&folder, &run, &conf, &tree, rights)?;
        let runner = runner(&app)?;
        Ok(Prepared { launch, runner, run: RunFolder::at(run), namespace: plan.namespace, log_from })
    });
    prepared.await.map_err(|_| Refusal::Platform(Error::Fault("the preparing of a run panicked")))?
}

/// What a secret or a config map holds; `None`: there is none of that name.
pub(crate) async fn values_of(
    app: &App,
    cluster: &str,
    plan: &Plan,
    object: &Object,
) -> crate::error::Result<Option<Held>> {
    let kind = match object.kind {
        ObjectKind::Secret => objects::Kind::Secret,
        ObjectKind::ConfigMap => objects::Kind::Configmap,
    };
    match objects::values(app, kind, cluster, &plan.namespace, &object.name).await {
        Ok(values) => Ok(Some(values)),
        Err(Error::Refused { code: ErrorCode::NotFound, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The folders and files of a run; gives where its part of the log begins. Modes are set, and not left to the umask.
fn lay_out(folder: &Path, run: &Path, conf: &str, tree: &Tree, rights: Option<Rights>) -> io::Result<u64> {
    let user = rights.as_ref().map(Rights::owner);
    // What a run that did not begin left behind.
    let _ = fs::remove_dir_all(run);
    // The job passes through to its own files, and cannot list the folder.
    make_folder(folder, if user.is_some() { 0o710 } else { 0o700 }, None)?;
    if let Some((_, group)) = user {
        chown(folder, None, Some(group))?;
    }
    // What is said of its runs a job can neither change nor lock.
    make_folder(run, 0o700, None)?;
    for name in ["work", "tmp"] {
        make_folder(&folder.join(name), 0o700, user)?;
    }
    let properties = launch::properties(folder);
    match fs::remove_file(&properties) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if !tree.is_empty() {
        tree.write(&mounts::folder(folder), user)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&properties)?;
    file.write_all(conf.as_bytes())?;
    file.set_permissions(Permissions::from_mode(0o400))?;
    if let Some((user, group)) = user {
        fchown(&file, Some(user), Some(group))?;
    }
    let log = folder.join("log");
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&log)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    JobLog::open(&log)?.map_or(Ok(0), |log| log.size())
}

/// A folder in one that only the platform can change.
fn make_folder(path: &Path, mode: u32, user: Option<(u32, u32)>) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    user.map_or(Ok(()), |(user, group)| chown(path, Some(user), Some(group)))
}

/// As it runs, also when a newer one was installed in its place.
fn this_program() -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.to_owned()) } else { std::env::current_exe() }
}

impl Prepared {
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn log_from(&self) -> i64 {
        i64::try_from(self.log_from).unwrap_or(i64::MAX)
    }

    /// Starts the parent, and tells it what to start.
    pub(crate) async fn start(self) -> io::Result<Child> {
        let lock: File = self.run.lock()?;
        let mut command = Command::new(&self.runner);
        command.arg("run-job").arg(self.run.path()).env_clear();
        command.stdin(Stdio::piped()).stdout(lock).stderr(Stdio::null()).current_dir("/");
        let mut parent = command.spawn()?;
        let text = serde_json::to_vec(&self.launch)?;
        if let Some(mut stdin) = parent.stdin.take() {
            stdin.write_all(&text).await?;
            stdin.shutdown().await?;
        }
        Ok(parent)
    }
}
