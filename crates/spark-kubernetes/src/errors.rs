//! What the API's refusals mean for a job.

use std::{future::Future, io, time::Duration};

use kube::Error;
use mlplatform_runner::runner::RunnerError;
use tokio::time::timeout;

/// Until the API has answered a request.
const ANSWER: Duration = Duration::from_secs(30);

/// Waits for an answer of the API, but not for ever.
pub(crate) async fn ask<T>(
    action: &'static str,
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, RunnerError> {
    match timeout(ANSWER, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(meaning(action, error)),
        Err(_) => Err(RunnerError::transient(action)(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the API server has not answered within {} s", ANSWER.as_secs()),
        ))),
    }
}

/// The same for something that may be gone: `None`.
pub(crate) async fn ask_for<T>(
    action: &'static str,
    request: impl Future<Output = Result<T, Error>>,
) -> Result<Option<T>, RunnerError> {
    let found = async {
        match request.await {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    };
    ask(action, found).await
}

/// An object is not there. A kind that is not there is another thing.
pub(crate) fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 404 && !is_missing_kind(&status.message))
}

fn is_missing_kind(message: &str) -> bool {
    message.contains("could not find the requested resource") || message.contains("page not found")
}

fn meaning(action: &'static str, error: Error) -> RunnerError {
    let Error::Api(status) = &error else {
        return RunnerError::transient(action)(io::Error::other(error));
    };
    let message = status.message.trim();
    match status.code {
        404 if is_missing_kind(message) => RunnerError::Unavailable(
            "Kubernetes does not know SparkApplications of sparkoperator.k8s.io/v1beta2: install the Spark operator with \
             its custom resource definitions"
                .to_owned(),
        ),
        401 => RunnerError::Unavailable(format!(
            "Kubernetes does not accept the platform's credentials ({message}): renew them in the cluster's kubeconfig"
        )),
        403 if is_of_admission(message) => RunnerError::Job(format!("Kubernetes has refused it: {message}")),
        403 => RunnerError::Unavailable(format!(
            "the platform lacks a permission in Kubernetes: {message}: grant it in a Role of the namespace"
        )),
        400 | 413 | 422 => RunnerError::Job(format!("Kubernetes has refused it: {message}")),
        500 if message.contains("failed calling webhook") => {
            RunnerError::transient(action)(io::Error::other(format!("an admission webhook does not answer: {message}")))
        }
        _ => RunnerError::transient(action)(io::Error::other(error)),
    }
}

/// A quota, a webhook or a policy has refused the object itself.
fn is_of_admission(message: &str) -> bool {
    ["exceeded quota", "denied the request", "violates PodSecurity", "ValidatingAdmissionPolicy"]
        .iter()
        .any(|part| message.contains(part))
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn of(code: u16, message: &str) -> RunnerError {
        meaning("testing", Error::Api(Box::new(Status::failure(message, "Test").with_code(code))))
    }

    #[test]
    fn refusals_are_told_apart() {
        let job = |error: &RunnerError| matches!(error, RunnerError::Job(_));
        let unavailable = |error: &RunnerError| matches!(error, RunnerError::Unavailable(_));
        let transient = |error: &RunnerError| matches!(error, RunnerError::Transient { .. });
        assert!(unavailable(&of(404, "the server could not find the requested resource")));
        assert!(transient(&of(404, "sparkapplications \"a\" not found")));
        assert!(unavailable(&of(403, "secrets is forbidden: User \"u\" cannot create resource")));
        assert!(job(&of(403, "pods \"a\" is forbidden: exceeded quota: q")));
        assert!(job(&of(400, "admission webhook \"w\" denied the request: no")));
        assert!(job(&of(403, "admission webhook \"w\" denied the request: no")));
        assert!(job(&of(422, "spec.type: Unsupported value")));
        assert!(unavailable(&of(401, "Unauthorized")));
        assert!(transient(&of(500, "Internal error: failed calling webhook \"w\"")));
        assert!(transient(&of(503, "the server is currently unable to handle the request")));
    }
}
