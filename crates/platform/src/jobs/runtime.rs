//! What requests and the supervisor share about jobs: the runner, where it is, and who looks after them.

use std::sync::Arc;

use mlplatform_protocol::ErrorCode;
use mlplatform_runner::{
    elsewhere::Elsewhere,
    runner::{Runner, RunnerError},
};

use super::placement::{Placement, Role, RoleCell};
use crate::error::Error;

/// The part of the shared state that is about jobs.
#[derive(Debug)]
pub struct Jobs {
    runner: Arc<dyn Runner>,
    url: String,
    placement: Placement,
    role: RoleCell,
}

impl Jobs {
    /// `url`: where people find the platform.
    #[must_use]
    pub fn new(runner: Arc<dyn Runner>, url: String, placement: Placement) -> Self {
        Self { runner, url, placement, role: RoleCell::default() }
    }

    /// Of a server that runs no jobs, beside one that does.
    #[must_use]
    pub fn elsewhere(url: String) -> Self {
        Self::new(Arc::new(Elsewhere), url, Placement::Nowhere)
    }

    /// What runs jobs.
    #[must_use]
    pub fn runner(&self) -> &Arc<dyn Runner> {
        &self.runner
    }

    /// Where jobs run.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Whether this server looks after the jobs.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role.get()
    }

    pub(super) fn set_role(&self, role: Role) {
        self.role.set(role);
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
            error @ RunnerError::Elsewhere => Self::refused(ErrorCode::Conflict, error.to_string()),
            RunnerError::Exhausted { message, .. } => Self::refused(ErrorCode::ServiceUnavailable, message),
            // A store's own error comes back as it was.
            RunnerError::Transient { action, source } => {
                source.downcast::<Self>().unwrap_or_else(|source| Self::File(action, source))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlplatform_store::Failure;
    use std::io;

    #[test]
    fn a_failure_of_the_runner_keeps_its_cause() {
        let failed = |source| Error::from(RunnerError::Transient { action: "reading a log", source });
        assert!(matches!(
            failed(io::ErrorKind::StorageFull.into()),
            Error::File("reading a log", error) if error.kind() == io::ErrorKind::StorageFull
        ));
        let of_store = failed(io::Error::other(Error::Store(Failure::NotFound)));
        assert!(matches!(of_store, Error::Store(Failure::NotFound)), "{of_store:?}");
    }

    #[test]
    fn a_refusal_of_the_runner_is_the_caller_s_to_mend() {
        for (error, code) in [
            (RunnerError::Job("no such file".to_owned()), ErrorCode::BadRequest),
            (RunnerError::Unavailable("no Spark".to_owned()), ErrorCode::Conflict),
        ] {
            let text = error.to_string();
            let Error::Refused { code: refused, field, .. } = Error::from(error) else { panic!("{text}") };
            assert!(refused == code && field.ends_with(&text), "{field}");
        }
    }
}
