//! `mlplatform-server run-job`: the parent of one run of a job, a process of its own.
//!
//! It leads a session, starts the program, waits for it, ends whatever the program leaves behind and writes down how it
//! ended. The server may be killed, stopped or replaced meanwhile: neither the program nor this notices. What to start
//! comes over standard input, because secrets are among it, and they touch no disk. Standard output is the run's lock.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{self, Read},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use jiff::Timestamp;
use rustix::process::{getpid, set_child_subreaper, setsid};
use serde::{Deserialize, Serialize};

use super::{
    processes::{self, Family, MARK},
    run::{End, RunFolder},
};

/// What a program leaves behind has served its purpose: it is asked once, and shortly.
const PATIENCE_WITH_REMAINS: Duration = Duration::from_millis(500);
/// How often it is looked whether the data directory is still there.
const WATCH: Duration = Duration::from_secs(2);

/// What to start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// All of it: nothing is inherited.
    pub(crate) environment: BTreeMap<String, String>,
    /// Where it runs.
    pub(crate) folder: PathBuf,
    /// What it prints is added to this file.
    pub(crate) log: PathBuf,
    /// The value of [`MARK`].
    pub(crate) mark: String,
    /// User and group to run as.
    pub(crate) user: Option<(u32, u32)>,
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
    let run = RunFolder::at(folder);
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text)?;
    // Cut short when the server was killed while it wrote: then nothing begins.
    let launch: Launch = serde_json::from_str(&text)?;
    drop(text);
    run.write_began()?;
    let family = Family { mark: launch.mark.clone(), session: Some(std::process::id()) };
    let end = match start(&launch).and_then(|mut child| {
        watch(folder, &family);
        child.wait().inspect(|_| processes::end_group(child.id()))
    }) {
        Ok(status) => ended(status),
        Err(error) => End::problem(&format!("'{}' cannot be started: {error}", launch.program.display())),
    };
    family.end(PATIENCE_WITH_REMAINS);
    run.write_end(&end)
}

fn start(launch: &Launch) -> io::Result<std::process::Child> {
    let log = OpenOptions::new().append(true).open(&launch.log)?;
    let mut command = Command::new(&launch.program);
    command.args(&launch.arguments).env_clear().envs(&launch.environment).env(MARK, &launch.mark);
    command.current_dir(&launch.folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // A group of its own, in our session.
    command.process_group(0);
    if let Some((user, group)) = launch.user {
        // The standard library drops the supplementary groups along with the user.
        command.gid(group).uid(user);
    }
    command.spawn()
}

fn ended(status: ExitStatus) -> End {
    End { at: Timestamp::now(), exit_code: status.code(), signal: status.signal(), problem: None }
}

/// A platform in a temporary folder is removed with it, and then nobody is left who could end a job.
fn watch(folder: &Path, family: &Family) {
    let (folder, family) = (folder.to_owned(), family.clone());
    let watcher = std::thread::Builder::new().name("watch".to_owned());
    let _ = watcher.spawn(move || {
        while folder.exists() {
            std::thread::sleep(WATCH);
        }
        family.end(PATIENCE_WITH_REMAINS);
    });
}
