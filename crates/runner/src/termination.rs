//! How a run ended: exit code, signal, or what went wrong around it.

use jiff::Timestamp;
use mlplatform_protocol::EventKind;
use serde::{Deserialize, Serialize};

const SIGKILL: i32 = 9;

/// The begin of the problem of a run that was evicted.
pub const EVICTED: &str = "the platform's disk is nearly full";

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Termination {
    /// When, by the system's clock.
    pub at: Timestamp,
    /// What the program returned.
    pub exit_code: Option<i32>,
    /// What ended it instead.
    pub signal: Option<i32>,
    /// Why there is neither: the program could not be started, or nobody saw its end. Beside them: why it was ended.
    pub problem: Option<String>,
}

impl Termination {
    /// One that nobody wrote down.
    #[must_use]
    pub fn problem(problem: &str) -> Self {
        Self { at: Timestamp::now(), exit_code: None, signal: None, problem: Some(problem.to_owned()) }
    }

    /// Whether the program ended as it should.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.exit_code == Some(0) && self.problem.is_none()
    }

    /// Whether the runner ended it to save its disk. Such a run is not repeated.
    #[must_use]
    pub fn is_eviction(&self) -> bool {
        self.problem.as_deref().is_some_and(|problem| problem.starts_with(EVICTED))
    }

    /// Exit code, signal or problem, for people.
    #[must_use]
    pub fn text(&self) -> String {
        if let Some(problem) = &self.problem {
            return problem.clone();
        }
        match (self.exit_code, self.signal) {
            (_, Some(signal)) => {
                let name = match signal {
                    6 => " (SIGABRT)",
                    SIGKILL => " (SIGKILL)",
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

    /// Kind, reason and message of the event about it, given the driver's pod and whether the job was deleted.
    #[must_use]
    pub fn event(&self, pod: &str, deleted: bool) -> (EventKind, &'static str, String) {
        if deleted {
            return (EventKind::Normal, "Killing", format!("Stopped container spark-kubernetes-driver of {pod}"));
        }
        if self.is_success() {
            return (EventKind::Normal, "SparkDriverCompleted", format!("Driver {pod} completed"));
        }
        (EventKind::Warning, "SparkDriverFailed", format!("Driver {pod} failed: {}", self.text()))
    }
}
