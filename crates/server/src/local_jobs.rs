//! Wiring of the runners: jobs run as processes of this machine, below the data directory, or on Kubernetes.

use std::{path::PathBuf, sync::Arc};

use mlplatform_platform::{
    jobs::{ids::JobIds, placement::Placement, runners::Runners, runtime::Jobs},
    readiness::System,
};
use mlplatform_spark_local::{Folders, JobUsers, JobsAs, LocalRunner, SparkConfig, disk_space};
use mlplatform_store::Store;

use crate::{data_dir::DataDir, kubernetes::make_runner, start::StartError};

/// `users`: whom jobs run as, if not as this user. `url`: where people find the platform.
///
/// # Errors
/// When the data directory cannot be written.
pub(crate) fn local_jobs(
    dir: &DataDir,
    store: &Store,
    config: SparkConfig,
    users: Option<JobUsers>,
    url: String,
) -> Result<Jobs, StartError> {
    if !store.is_postgres() {
        return Ok(Jobs::new(local_runner(dir, store, config, users), url, Placement::Nowhere));
    }
    if config.jobs == JobsAs::Off {
        return Ok(Jobs::elsewhere(url));
    }
    let id = dir.id()?;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let holder = format!("{host}:{}:{id}", dir.path().display());
    Ok(Jobs::new(local_runner(dir, store, config, users), url, Placement::Here { holder, id }))
}

fn local_runner(dir: &DataDir, store: &Store, config: SparkConfig, users: Option<JobUsers>) -> Arc<Runners> {
    let ids = Arc::new(JobIds::new(store.clone()));
    let make = make_runner(dir, config.longest_log, config.longest_cluster_logs);
    let local = Arc::new(LocalRunner::new(Folders::new(dir.path()), config, users, ids));
    Arc::new(Runners::new(local, store.clone(), make))
}

/// The disk of the data directory.
pub(crate) struct LocalSystem(PathBuf);

impl LocalSystem {
    pub(crate) fn new(dir: &DataDir) -> Arc<Self> {
        Arc::new(Self(dir.path().to_owned()))
    }
}

impl System for LocalSystem {
    fn free(&self) -> Option<u64> {
        disk_space::free(&self.0)
    }

    fn size(&self) -> Option<u64> {
        disk_space::size(&self.0)
    }

    fn is_low(&self) -> bool {
        self.free().is_some_and(|free| free < disk_space::low_mark(&self.0))
    }
}

/// For a command beside the server: no job runs.
pub(crate) fn no_jobs(dir: &DataDir, store: &Store) -> Jobs {
    if store.is_postgres() {
        return Jobs::elsewhere(String::new());
    }
    Jobs::new(local_runner(dir, store, SparkConfig::default(), None), String::new(), Placement::Nowhere)
}
