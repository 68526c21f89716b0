//! Wiring of the local runner: jobs run as processes of this machine, below the data directory.

use std::sync::Arc;

use mlplatform_platform::jobs::{ids::JobIds, runtime::Jobs};
use mlplatform_spark_local::{Folders, JobUsers, LocalRunner, SparkConfig};
use mlplatform_store::Store;

use crate::data_dir::DataDir;

/// `users`: whom jobs run as, if not as this user. `url`: where people find the platform.
pub(crate) fn local_jobs(
    dir: &DataDir,
    store: &Store,
    config: SparkConfig,
    users: Option<JobUsers>,
    url: String,
) -> Jobs {
    let ids = Arc::new(JobIds::new(store.clone()));
    Jobs::new(Arc::new(LocalRunner::new(Folders::new(dir.path()), config, users, ids)), url)
}

/// For a command beside the server: no job runs.
pub(crate) fn no_jobs(dir: &DataDir, store: &Store) -> Jobs {
    local_jobs(dir, store, SparkConfig::default(), None, String::new())
}
