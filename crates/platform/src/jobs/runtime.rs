//! What requests and the supervisor share about jobs: the runner, and a notification that there is something to do.

use std::sync::Arc;

use mlplatform_protocol::ErrorCode;
use mlplatform_runner::runner::{Runner, RunnerError};
use tokio::sync::Notify;

use crate::error::Error;

/// The part of the shared state that is about jobs.
#[derive(Debug)]
pub struct Jobs {
    runner: Arc<dyn Runner>,
    url: String,
    wake: Notify,
}

impl Jobs {
    /// `url`: where people find the platform.
    #[must_use]
    pub fn new(runner: Arc<dyn Runner>, url: String) -> Self {
        Self { runner, url, wake: Notify::new() }
    }

    /// What runs jobs.
    #[must_use]
    pub fn runner(&self) -> &Arc<dyn Runner> {
        &self.runner
    }

    /// Tells the supervisor that there is something to do.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Resolves when there is something to do.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Where people find a job's page.
    pub fn ui_url(&self, cluster: &str, job: &str) -> String {
        format!("{}/clusters/{cluster}/{job}/jobs/", self.url)
    }
}

/// The refusal or failure that a caller sees.
impl From<RunnerError> for Error {
    fn from(error: RunnerError) -> Self {
        match error {
            RunnerError::Job(problem) => Self::refused(ErrorCode::BadRequest, problem),
            RunnerError::Unavailable(problem) => {
                Self::refused(ErrorCode::Conflict, format!("this platform cannot run Spark jobs: {problem}"))
            }
            RunnerError::Exhausted { message, .. } => Self::refused(ErrorCode::ServiceUnavailable, message),
            // A store's own error comes back as it was.
            RunnerError::Transient { action, source } => {
                source.downcast::<Self>().unwrap_or_else(|source| Self::File(action, source))
            }
        }
    }
}
