//! The conformance suite of runners, on real processes of this machine: a program in Spark's place runs what it is given as
//! a shell script.
//!
//! The parent of a run is a program whose command `run-job` is the runner's; here that is this test itself, so it has a
//! `main` of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    collections::{HashMap, HashSet},
    env, fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::BoxFuture;
use mlplatform_runner::{
    conformance::{CASES, Fixture},
    ids::{ChooseGroup, IdStore},
    runner::RunId,
};
use mlplatform_spark_local::{Folders, JobsAs, LocalRunner, SparkConfig};
use tokio::time::timeout;

/// Runs the main program by `sh`: what stands before it are Spark's own arguments.
const STAND_IN: &str = "#!/bin/sh\nshift 2\nexec sh \"$@\"\n";
/// Far longer than a case takes.
const LATE: Duration = Duration::from_secs(120);

/// Ids that are kept as long as the runner.
#[derive(Debug, Default)]
struct MemoryIds {
    users: Mutex<HashMap<String, u32>>,
    groups: Mutex<HashMap<String, u32>>,
}

fn done<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, io::Result<T>> {
    Box::pin(std::future::ready(Ok(value)))
}

impl IdStore for MemoryIds {
    fn user_of<'a>(&'a self, job: &'a str) -> BoxFuture<'a, io::Result<Option<u32>>> {
        done(self.users.lock().unwrap().get(job).copied())
    }

    fn set_user<'a>(&'a self, job: &'a str, id: Option<u32>) -> BoxFuture<'a, io::Result<()>> {
        let mut users = self.users.lock().unwrap();
        users.remove(job);
        users.extend(id.map(|id| (job.to_owned(), id)));
        done(())
    }

    fn group_of<'a>(&'a self, cluster: &'a str) -> BoxFuture<'a, io::Result<Option<u32>>> {
        done(self.groups.lock().unwrap().get(cluster).copied())
    }

    fn claim_group<'a>(&'a self, cluster: &'a str, choose: ChooseGroup) -> BoxFuture<'a, io::Result<Option<u32>>> {
        let mut groups = self.groups.lock().unwrap();
        let allocated = self.users.lock().unwrap().values().chain(groups.values()).copied().collect();
        let chosen = choose(groups.get(cluster).copied(), &allocated);
        groups.extend(chosen.map(|group| (cluster.to_owned(), group)));
        done(chosen)
    }

    fn allocated(&self) -> BoxFuture<'_, io::Result<HashSet<u32>>> {
        let groups = self.groups.lock().unwrap();
        done(self.users.lock().unwrap().values().chain(groups.values()).copied().collect())
    }

    fn held_by_finished(&self) -> BoxFuture<'_, io::Result<Vec<(RunId, u32)>>> {
        done(Vec::new())
    }
}

fn runner(folder: &Path) -> LocalRunner {
    let program = folder.join("stand-in");
    fs::write(&program, STAND_IN).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let config = SparkConfig {
        jobs: JobsAs::Myself,
        submit: Some(program),
        runner: Some(env::current_exe().unwrap()),
        ..SparkConfig::default()
    };
    LocalRunner::new(Folders::new(folder), config, None, Arc::new(MemoryIds::default()))
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let [_, command, folder] = arguments.as_slice()
        && command == "run-job"
    {
        mlplatform_spark_local::run_job(Path::new(folder)).unwrap();
        return;
    }
    // As `cargo test` is asked for tests by a part of their name.
    let wanted = arguments.get(1).filter(|argument| !argument.starts_with('-'));
    let (runtime, mut out) = (tokio::runtime::Runtime::new().unwrap(), io::stdout());
    for (name, case) in CASES.iter().filter(|(name, _)| wanted.is_none_or(|wanted| name.contains(wanted))) {
        let folder = tempfile::tempdir().unwrap();
        let runner = Arc::new(runner(folder.path()));
        writeln!(out, "test {name} ...").unwrap();
        runtime.block_on(async { timeout(LATE, case(Fixture::new(runner).await)).await }).expect(name);
    }
    writeln!(out, "ok").unwrap();
}
