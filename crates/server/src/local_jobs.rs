//! Wiring of the runners: jobs run as processes of this machine, below the data directory, or on Kubernetes.

use std::{path::PathBuf, sync::Arc};

use mlplatform_platform::{
    jobs::{ids::JobIds, runners::Runners, runtime::Jobs},
    readiness::System,
};
use mlplatform_spark_local::{Folders, JobUsers, LocalRunner, SparkConfig, disk_space};
use mlplatform_store::Store;

use crate::{data_dir::DataDir, kubernetes::make_runner};

/// `users`: whom jobs run as, if not as this user. `url`: where people find the platform.
pub(crate) fn local_jobs(
    dir: &DataDir,
    store: &Store,
    config: SparkConfig,
    users: Option<JobUsers>,
    url: String,
) -> Jobs {
    let ids = Arc::new(JobIds::new(store.clone()));
    let make = make_runner(dir, config.longest_log, config.longest_cluster_logs);
    let local = Arc::new(LocalRunner::new(Folders::new(dir.path()), config, users, ids));
    Jobs::new(Arc::new(Runners::new(local, store.clone(), make)), url)
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
    local_jobs(dir, store, SparkConfig::default(), None, String::new())
}
