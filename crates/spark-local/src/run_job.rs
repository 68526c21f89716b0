//! `mlplatform-server run-job`: the parent process (subreaper) of one run of a job.
//!
//! It starts the program, writes down what the program prints, waits for its end, ends whatever it leaves behind and
//! notes how it ended. The server may be killed, stopped or replaced meanwhile: neither the program nor this notices.
//! What to start comes over standard input, because secrets are among it, and they touch no disk. Standard output is the
//! run's lock. SIGTERM ends the run.
//!
//! The program's output is a pipe: it never holds the log's file, and can neither shorten nor fill it.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, PipeWriter, Read},
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use mlplatform_runner::{
    log::{LogQuota, LogWriter},
    termination::Termination,
};
use rustix::{
    fs::{Gid, Mode, Uid, fchown},
    io::Errno,
    process::{
        Resource, Rlimit, WaitOptions, WaitStatus, getpid, getrlimit, set_child_subreaper, setrlimit, setsid, umask,
        wait,
    },
    thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use serde::{Deserialize, Serialize};
use tokio::{
    net::unix::pipe,
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};

use crate::{
    cgroup::Cgroup,
    credentials::Credentials,
    namespaces,
    process_tree::{GRACE_PERIOD, KILL_TIMEOUT, POLL_INTERVAL, ProcessId, ProcessTree, RUN_VARIABLE},
    run_folder::RunFolder,
};

/// What a program leaves behind has served its purpose: it is asked once, and shortly.
const GRACE_PERIOD_OF_ORPHANS: Duration = Duration::from_millis(500);
/// How often it is checked whether the data directory still exists.
const WATCH: Duration = Duration::from_secs(2);
/// How often an end is written that finds no room.
const AGAIN: Duration = Duration::from_millis(250);
/// One read of what the program prints.
const PIECE: usize = 64 * 1024;
/// The largest pipe that a program may make of its output (`/proc/sys/fs/pipe-max-size`).
const LARGEST_PIPE: usize = 1 << 20;
/// Of a job, in a thousand of the machine's memory: so much more it seems to take.
const OOM_SCORE: &str = "500";
const OWN_OOM_SCORE: &str = "/proc/self/oom_score_adj";
/// A job that starts processes without end takes no more than this part of what the machine can have: the platform, which
/// is another user, always finds room for its own.
const PART_OF_PROCESSES: u64 = 4;
const MOST_PROCESSES: &str = "/proc/sys/kernel/pid_max";
/// What programs expect: others may read what they make.
const UMASK: u32 = 0o022;
/// Of a job with ids of its own: later runs on its cluster may write what it makes in the bucket, and nobody else reads it.
const UMASK_ISOLATED: u32 = 0o007;

/// The launch specification: what to start, and how.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LaunchSpec {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// All of it: nothing is inherited.
    pub(crate) environment: BTreeMap<String, String>,
    /// Where it runs.
    pub(crate) folder: PathBuf,
    /// What it prints is added to this file …
    pub(crate) log: PathBuf,
    /// … within these limits.
    pub(crate) quota: LogQuota,
    /// Where the run's part of the log begins.
    pub(crate) log_from: u64,
    /// The value of [`RUN_VARIABLE`].
    pub(crate) run_id: String,
    /// What to run as; `None`: as this process.
    pub(crate) credentials: Option<Credentials>,
}

/// Runs what standard input says, to its end.
///
/// # Errors
/// When nothing was started, or the end could not be written.
pub fn run_job(folder: &Path) -> io::Result<()> {
    // Fails only where this process leads a group already: started by hand.
    let _ = setsid();
    // What loses its parent becomes our child, and is found and ended.
    let _ = set_child_subreaper(Some(getpid()));
    umask(Mode::from_raw_mode(UMASK));
    // One thread: it moves between control groups while it starts the program.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&RunFolder::at(folder)))
}

async fn run(folder: &RunFolder) -> io::Result<()> {
    // Before the run has begun: whoever reads that it has may end it.
    let mut stop = signal(SignalKind::terminate())?;
    let mut children = signal(SignalKind::child())?;
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text)?;
    // Cut short when the server was killed while it wrote: then nothing begins.
    let launch: LaunchSpec = serde_json::from_str(&text)?;
    drop(text);
    if let Some(credentials) = launch.credentials.filter(|credentials| credentials.cluster.is_some()) {
        umask(Mode::from_raw_mode(UMASK_ISOLATED));
        // The start of the server has shown that the system lets us.
        if let Err(error) = namespaces::isolate(&credentials, &launch.folder, folder.path()) {
            return folder
                .write_end(&Termination::problem(&format!("it cannot be kept apart from other jobs: {error}")));
        }
    }
    let mut run =
        Run { folder, log: LogWriter::open(&launch.log, launch.quota)?, output: None, status: None, child: 0 };
    let (output, input) = io::pipe()?;
    run.output = Some(pipe::Receiver::from_owned_fd(OwnedFd::from(output))?);
    folder.reserve_end()?;
    let mut tree =
        ProcessTree { root: ProcessId::of(std::process::id()), cgroup: Cgroup::make(&launch.run_id), orphans: None };
    if let Err(error) = folder.write_began(tree.cgroup.as_ref(), launch.log_from) {
        tree.cgroup.iter().for_each(Cgroup::remove);
        return Err(error);
    }
    let (started, out) = match &tree.cgroup {
        Some(group) => group.within(|| start(&launch, &input)),
        None => (start(&launch, &input), true),
    };
    drop(input);
    if !out {
        tree.cgroup = None;
        let _ = folder.write_began(None, launch.log_from);
    }
    let problem = match started {
        Ok(child) => {
            run.child = child.id();
            let mut grace = GRACE_PERIOD;
            let mut looked = Instant::now();
            while !run.reap() {
                tokio::select! {
                    () = run.copy() => {}
                    _ = children.recv() => {}
                    _ = stop.recv() => break,
                    () = sleep(WATCH) => {}
                }
                // A platform in a temporary folder is removed with it, and then nobody is left who could end a job.
                if looked.elapsed() >= WATCH {
                    looked = Instant::now();
                    if !folder.path().exists() {
                        grace = GRACE_PERIOD_OF_ORPHANS;
                        break;
                    }
                }
            }
            if run.status.is_some() {
                grace = GRACE_PERIOD_OF_ORPHANS;
            }
            run.end(&tree, grace).await;
            None
        }
        Err(error) => Some(format!("'{}' cannot be started: {error}", launch.program.display())),
    };
    tree.cgroup.iter().for_each(Cgroup::remove);
    let end = problem.map_or_else(|| ended(run.status), |problem| Termination::problem(&problem));
    run.write_end(&end).await
}

struct Run<'a> {
    folder: &'a RunFolder,
    log: LogWriter,
    /// What the program and its descendants print.
    output: Option<pipe::Receiver>,
    /// The program.
    child: u32,
    /// How it ended.
    status: Option<WaitStatus>,
}

impl Run<'_> {
    /// Takes note of whoever has ended; gives whether the program has.
    fn reap(&mut self) -> bool {
        self.has_children();
        self.status.is_some()
    }

    /// Takes note of whoever has ended; gives whether anybody is left.
    fn has_children(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if u32::try_from(pid.as_raw_pid()) == Ok(self.child) => {
                    self.status = Some(status);
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Writes down what is printed, for ever.
    async fn copy(&mut self) {
        let mut piece = [0; PIECE];
        while let Some(output) = &self.output {
            if output.readable().await.is_err() {
                break;
            }
            match output.try_read(&mut piece) {
                Ok(0) => self.output = None,
                Ok(length) => self.log.write(piece.get(..length).unwrap_or_default()),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => self.output = None,
            }
            // A program that prints without end must not keep us from its end.
            tokio::task::yield_now().await;
        }
        std::future::pending().await
    }

    /// Ends the run's processes: asks them, and after the grace period does not ask any more. Returns when none is left,
    /// and all that they have printed is written.
    async fn end(&mut self, tree: &ProcessTree, grace: Duration) {
        let began = Instant::now();
        let mut asked = false;
        while self.has_children() || !tree.is_empty() {
            // A zombie is left to whoever traces it, who may be no process of this run and in no hurry.
            if began.elapsed() >= grace + KILL_TIMEOUT && tree.is_empty() {
                break;
            }
            if began.elapsed() >= grace {
                tree.kill();
            } else if !asked {
                tree.ask();
                asked = true;
            }
            let _ = timeout(POLL_INTERVAL, self.copy()).await;
        }
        // Read directly: what came since the runtime last looked, `try_read` would take for not there. No more than a pipe
        // holds: nobody is left who could add to it, unless a job has given it away.
        let (mut piece, mut left) = ([0; PIECE], LARGEST_PIPE);
        while let Some(Ok(length @ 1..)) = self.output.as_ref().map(|output| rustix::io::read(output, &mut piece)) {
            self.log.write(piece.get(..length).unwrap_or_default());
            left = left.saturating_sub(length);
            if left == 0 {
                break;
            }
        }
    }

    /// As often as it takes: a disk that is full now will not be for ever, and until then the run has not ended.
    async fn write_end(&mut self, end: &Termination) -> io::Result<()> {
        loop {
            let flushed = self.log.flush_gaps();
            match self.folder.write_end(end) {
                Ok(()) if flushed => return Ok(()),
                Err(error) if !self.folder.path().exists() => return Err(error),
                _ => sleep(AGAIN).await,
            }
        }
    }
}

fn start(launch: &LaunchSpec, output: &PipeWriter) -> io::Result<Child> {
    // When memory runs out, the kernel takes a job before the platform. Inherited, so that there is no moment without it,
    // and no way back for the job where root said so.
    let before = fs::read(OWN_OOM_SCORE);
    let _ = fs::write(OWN_OOM_SCORE, OOM_SCORE);
    let child = start_as(launch, output);
    let _ = before.and_then(|before| fs::write(OWN_OOM_SCORE, before));
    child
}

fn start_as(launch: &LaunchSpec, output: &PipeWriter) -> io::Result<Child> {
    let mut command = Command::new(&launch.program);
    command.args(&launch.arguments).env_clear().envs(&launch.environment).env(RUN_VARIABLE, &launch.run_id);
    command.current_dir(&launch.folder).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
    // A group of its own, in our session.
    command.process_group(0);
    let Some(credentials) = launch.credentials else { return command.spawn() };
    limit_processes()?;
    let (user, group) = (Uid::from_raw(credentials.uid), Gid::from_raw(credentials.gid));
    // For programs that open /dev/stdout.
    fchown(output, Some(user), Some(group))?;
    let Some(cluster) = credentials.cluster else {
        // The standard library drops the supplementary groups along with the user.
        return command.gid(credentials.gid).uid(credentials.uid).spawn();
    };
    // The standard library knows no groups beside the primary one. On Linux they are a thread's: this one ends here.
    let started = std::thread::spawn(move || {
        set_thread_groups(&[Gid::from_raw(cluster)])?;
        set_thread_res_gid(group, group, group)?;
        set_thread_res_uid(user, user, user)?;
        // A program that another job left in the bucket gives nobody that job's rights.
        set_no_new_privs(true)?;
        command.spawn()
    });
    started.join().map_err(|_| io::Error::other("its thread panicked"))?
}

/// Limits the processes and threads of the job's user, zombies included (`RLIMIT_NPROC`). This process has the limit, too,
/// which the kernel does not apply to root.
fn limit_processes() -> io::Result<()> {
    let most = fs::read_to_string(MOST_PROCESSES)?.trim().parse::<u64>().map_err(io::Error::other)? / PART_OF_PROCESSES;
    let before = getrlimit(Resource::Nproc);
    let limit = before.maximum.map_or(most, |maximum| maximum.min(most));
    Ok(setrlimit(Resource::Nproc, Rlimit { current: Some(limit), maximum: Some(limit) })?)
}

fn ended(status: Option<WaitStatus>) -> Termination {
    let exit_code = status.and_then(WaitStatus::exit_status);
    let signal = status.and_then(WaitStatus::terminating_signal);
    Termination { at: Timestamp::now(), exit_code, signal, problem: None }
}
