//! What of Spark the whole server shares: the settings, the installation once it was found, and the bell that wakes the
//! supervisor.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::Notify;

use super::{
    installation::{Installation, SparkConfig, beside_this_program},
    job_user::JobUser,
};

/// Shared by requests and the supervisor.
#[derive(Debug, Default)]
pub(crate) struct Gateway {
    config: OnceLock<(SparkConfig, String)>,
    /// Only one that was found is kept: what is missing may be installed while the server runs.
    found: Mutex<Option<Arc<Installation>>>,
    bell: Notify,
    user: OnceLock<JobUser>,
    /// Something was thrown away.
    pub(crate) trash: Notify,
}

impl Gateway {
    /// Said once, at the start: the settings, and the address of the platform.
    pub(crate) fn configure(&self, mut config: SparkConfig, url: String) {
        // Now: when this program is replaced by a newer one, the system does not say any more where it was.
        config.python = config.python.or_else(beside_this_program);
        let _ = self.config.set((config, url));
    }

    pub(crate) fn config(&self) -> SparkConfig {
        self.config.get().map(|(config, _)| config.clone()).unwrap_or_default()
    }

    /// Said once, at the start: whom jobs run as, if they have a user of their own.
    pub(crate) fn run_jobs_as(&self, user: JobUser) {
        let _ = self.user.set(user);
    }

    pub(crate) fn job_user(&self) -> Option<&JobUser> {
        self.user.get()
    }

    /// Where people find a job's page.
    pub(crate) fn ui_url(&self, cluster: &str, job: &str) -> String {
        let url = self.config.get().map(|(_, url)| url.as_str()).unwrap_or_default();
        format!("{url}/clusters/{cluster}/{job}/jobs/")
    }

    /// Spark, Java and Python; blocks while a Python is asked for its packages.
    pub(crate) fn installation(&self) -> Result<Arc<Installation>, String> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = found.as_ref() {
            return Ok(Arc::clone(found));
        }
        let installation = Arc::new(Installation::find(&self.config(), self.job_user())?);
        Ok(Arc::clone(found.insert(installation)))
    }

    /// There is something to do.
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }
}
