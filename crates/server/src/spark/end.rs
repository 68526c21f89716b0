//! What is said of a run's end.

use mlplatform_protocol::EventKind;

use super::run::End;
use crate::service::job_rows::JobRow;

const KILL: i32 = 9;

/// Kind, reason and text of the event.
pub(crate) fn message_of(job: &JobRow, end: &End) -> (EventKind, &'static str, String) {
    let pod = job.pod();
    if job.deleted_at.is_some() {
        return (EventKind::Normal, "Killing", format!("Stopped container spark-kubernetes-driver of {pod}"));
    }
    if end.is_success() {
        return (EventKind::Normal, "SparkDriverCompleted", format!("Driver {pod} completed"));
    }
    (EventKind::Warning, "SparkDriverFailed", format!("Driver {pod} failed: {}", text(end)))
}

/// Exit code, signal or problem.
pub(crate) fn text(end: &End) -> String {
    if let Some(problem) = &end.problem {
        return problem.clone();
    }
    match (end.exit_code, end.signal) {
        (_, Some(signal)) => {
            let name = match signal {
                6 => " (SIGABRT)",
                KILL => " (SIGKILL)",
                11 => " (SIGSEGV)",
                15 => " (SIGTERM)",
                _ => "",
            };
            format!("it was ended by signal {signal}{name}")
        }
        (Some(code), None) => format!("exit code {code}"),
        (None, None) => "its end is unknown".to_owned(),
    }
}
