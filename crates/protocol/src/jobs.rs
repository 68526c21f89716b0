//! Messages for Spark jobs, defined by this project.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::open::Open;

/// The largest program that travels with a job: far more than anybody writes, little enough to be held in memory.
pub const LARGEST_PYCODE: usize = 10 * 1024 * 1024;
/// The largest manifest, in bytes of JSON: as much as Kubernetes allows the annotations of an object, and a hundred times
/// what the examples of Spark's operator have.
pub const LARGEST_MANIFEST: usize = 256 * 1024;
/// The longest wait that one request for a log or for changes may ask for: below what proxies allow a silent connection.
pub const LONGEST_LOG_WAIT_MS: u64 = 20_000;

/// What a job is doing, in the words of the Spark operator. Only [`is_final`](Self::is_final) ones last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobState {
    /// Accepted; it waits for capacity.
    Submitted,
    /// Its program runs.
    Running,
    /// Its program ended well.
    Completed,
    /// It ended badly, for good.
    Failed,
    /// Its program ended badly, and will be run again.
    Failing,
    /// It could not be started, and that will be tried again.
    SubmissionFailed,
    /// Its next run waits for capacity.
    PendingRerun,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Submitted,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Failing,
        Self::SubmissionFailed,
        Self::PendingRerun,
    ];

    /// As it stands on the wire and in the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Submitted => "SUBMITTED",
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Failing => "FAILING",
            Self::SubmissionFailed => "SUBMISSION_FAILED",
            Self::PendingRerun => "PENDING_RERUN",
        }
    }

    /// The state of that [`name`](Self::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether nothing follows it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

impl Open<JobState> {
    /// As it stands on the wire, known or not.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Known(state) => state.name(),
            Self::Unknown(text) => text,
        }
    }
}

/// `spark_submit_job`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SubmitJobRequest {
    /// As the list of clusters gives it.
    pub cluster_id: String,
    /// A SparkApplication; at most [`LARGEST_MANIFEST`] bytes.
    pub manifest: Value,
    /// The main program, when it comes along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pycode: Option<Pycode>,
}

/// A file that travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Pycode {
    /// Its name, without folders.
    pub name: String,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Its bytes in base64; at most [`LARGEST_PYCODE`] of them.
    pub content: String,
}

/// A job by its name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    /// As the list of clusters gives it.
    pub cluster_id: String,
    /// `metadata.name` of its manifest.
    pub job_name: String,
}

/// Jobs or events of a cluster, page by page.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OfClusterRequest {
    /// As the list of clusters gives it.
    pub cluster_id: String,
    /// See [`crate::PageRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = crate::page::MAX_LIMIT)))]
    pub limit: Option<u32>,
    /// See [`crate::PageRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// `spark_job_logs`. The answer is the log itself, its bytes as the program wrote them, with
/// [`LOG_OFFSET`](crate::headers::LOG_OFFSET) and [`LOG_FINAL`](crate::headers::LOG_FINAL). Of a log that is longer than the
/// platform keeps, the middle is missing: see [`LOG_GAP`](crate::headers::LOG_GAP).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JobLogsRequest {
    /// As the list of clusters gives it.
    pub cluster_id: String,
    /// `metadata.name` of its manifest.
    pub job_name: String,
    /// The first byte that is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Only so many lines at the end of what is there; instead of an offset. None: with `wait_ms`, the end of the job is
    /// waited for, and nothing is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<u64>,
    /// Milliseconds, at most [`LONGEST_LOG_WAIT_MS`], for which the answer goes on with what is written meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

/// What a list shows of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct JobInfo {
    /// Unique among the jobs of a cluster.
    pub job_name: String,
    /// What it is doing.
    pub status: Open<JobState>,
    /// When it was submitted.
    #[cfg_attr(feature = "openapi", schemars(with = "crate::json_schema::DateTime"))]
    pub created_at: Timestamp,
    /// A page of the platform with its state and its log.
    pub ui_url: String,
}

/// A job and its driver's pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct JobDetail {
    /// What a list shows.
    #[serde(flatten)]
    pub info: JobInfo,
    /// `Pending`, `Running`, `Succeeded`, `Failed`; `None`: there is no pod yet.
    pub pod_status: Option<String>,
    /// `Unschedulable` while it waits for capacity.
    pub pod_status_reason: Option<String>,
    /// `V1ContainerStateRunning`, `V1ContainerStateTerminated`.
    pub pod_state: Option<String>,
    /// `Completed`, `Error`, `OOMKilled`.
    pub pod_state_reason: Option<String>,
    /// More, where there is more to say.
    pub pod_state_reason_message: Option<String>,
    /// Seconds since it was submitted.
    pub age: f64,
}

/// `wait_for_spark_job`: what changed among the jobs of a cluster. One request waits for all of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JobChangesRequest {
    /// As the list of clusters gives it.
    pub cluster_id: String,
    /// The `version` of the answer before. Left out, the answer comes at once and holds no jobs: from its version on,
    /// nothing is missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Milliseconds, at most [`LONGEST_LOG_WAIT_MS`], for which a change is waited for. The answer begins at once, and its
    /// content follows with the first change, or when the time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

/// The jobs of a cluster to which something happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct JobChanges {
    /// What the next request is to name as its `since`.
    pub version: u64,
    /// As they are now, in the order of what happened last. Very many come in several answers.
    pub jobs: Vec<JobChange>,
}

/// A job to which something happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct JobChange {
    /// What a list shows.
    #[serde(flatten)]
    pub info: JobInfo,
    /// It was deleted.
    pub deleted: bool,
}

/// Whether an event is a bad sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum EventKind {
    /// No.
    Normal,
    /// Yes.
    Warning,
}

impl Open<EventKind> {
    /// As it stands on the wire, known or not.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Known(EventKind::Normal) => "NORMAL",
            Self::Known(EventKind::Warning) => "WARNING",
            Self::Unknown(text) => text,
        }
    }
}

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct JobEvent {
    /// When.
    #[cfg_attr(feature = "openapi", schemars(with = "crate::json_schema::DateTime"))]
    pub at: Timestamp,
    /// The job's.
    pub job_name: String,
    /// The driver's pod.
    pub pod: String,
    /// A sign of what.
    pub kind: Open<EventKind>,
    /// One word of Kubernetes' or the operator's: `Scheduled`, `FailedScheduling` …
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Why a job is where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Explanation {
    /// The job.
    pub job_name: String,
    /// What it is doing.
    pub status: Open<JobState>,
    /// One word for programs: `missing-module`, `out-of-memory` …
    pub cause: String,
    /// One sentence.
    pub sentence: String,
    /// What it follows from: lines of the log, events, the exit code.
    pub evidence: Vec<String>,
    /// What to do.
    pub remedy: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_name_of_a_state_is_what_the_wire_says() {
        for state in JobState::ALL {
            assert_eq!(json!(state), json!(state.name()));
            assert_eq!(JobState::from_name(state.name()), Some(state));
        }
        let last: Vec<_> = JobState::ALL.into_iter().filter(|state| state.is_final()).collect();
        assert_eq!(last, [JobState::Completed, JobState::Failed]);
    }

    #[test]
    fn a_newer_platform_may_know_more_states() {
        let info = json!({"job_name": "a", "status": "SUSPENDED", "created_at": "2026-01-01T00:00:00Z", "ui_url": ""});
        let info: JobInfo = serde_json::from_value(info).unwrap();
        assert_eq!(info.status.name(), "SUSPENDED");
    }
}
