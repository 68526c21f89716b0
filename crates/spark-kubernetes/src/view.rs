//! What is seen of an application and of its pods: the fields that the platform reads, and no more is kept.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{ContainerState, Pod},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::core::DynamicObject;
use mlplatform_runner::termination::Termination;
use serde_json::Value;

use crate::names::{DRIVER, DRIVER_CONTAINER, JOB, LOG_FROM, ROLE, RUN, SUBMISSION};

const SIGKILL: i32 = 9;
/// What a shell adds to the number of the signal that ended a program.
const SIGNALLED: i32 = 128;
const LAST_SIGNAL: i32 = 31;

/// A SparkApplication.
#[derive(Clone, Debug)]
pub(crate) struct ApplicationView {
    pub(crate) uid: String,
    pub(crate) job: String,
    pub(crate) run: i64,
    pub(crate) log_from: u64,
    /// The operator's word; empty before it has looked.
    pub(crate) state: String,
    pub(crate) error: Option<String>,
    /// How often it was run.
    pub(crate) attempts: i64,
    /// Names the current attempt.
    pub(crate) submission: Option<String>,
    pub(crate) driver: Option<String>,
    pub(crate) ended_at: Option<Timestamp>,
}

impl ApplicationView {
    /// `None`: it is none of the platform's.
    pub(crate) fn read(object: &DynamicObject) -> Option<Self> {
        let metadata = &object.metadata;
        let note = |key: &str| metadata.annotations.as_ref()?.get(key);
        let status = object.data.get("status").unwrap_or(&Value::Null);
        let text = |path: &str| status.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty());
        Some(Self {
            uid: metadata.uid.clone()?,
            job: metadata.labels.as_ref()?.get(JOB)?.clone(),
            run: note(RUN)?.parse().ok()?,
            log_from: note(LOG_FROM)?.parse().ok()?,
            state: text("/applicationState/state").unwrap_or_default().to_owned(),
            error: text("/applicationState/errorMessage").map(str::to_owned),
            attempts: status.get("executionAttempts").and_then(Value::as_i64).unwrap_or_default(),
            submission: text("/submissionID").map(str::to_owned),
            driver: text("/driverInfo/podName").map(str::to_owned),
            ended_at: text("/terminationTime").and_then(|time| time.parse().ok()),
        })
    }

    /// Whether the operator does nothing more with it.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self.state.as_str(), "COMPLETED" | "FAILED")
    }

    /// Whether its driver has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.is_final() || matches!(self.state.as_str(), "SUCCEEDING" | "FAILING" | "PENDING_RERUN")
    }

    /// How its last attempt ended, as far as the operator tells: used where the pod was not seen.
    pub(crate) fn termination(&self) -> Termination {
        let at = self.ended_at.unwrap_or_else(Timestamp::now);
        if matches!(self.state.as_str(), "COMPLETED" | "SUCCEEDING") {
            return Termination { at, exit_code: Some(0), signal: None, problem: None };
        }
        let error = self.error.clone().unwrap_or_else(|| "the operator does not say why".to_owned());
        match exit_code_of(&error) {
            Some(code) => ended(at, code, reason_of(&error)),
            None => Termination { at, exit_code: None, signal: None, problem: Some(error) },
        }
    }
}

fn exit_code_of(error: &str) -> Option<i32> {
    let (_, rest) = error.split_once("ExitCode: ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn reason_of(error: &str) -> Option<&str> {
    error.split_once("Reason: ")?.1.split(',').next()
}

/// An end by the exit code of a container, where a signal is told as a shell tells it.
fn ended(at: Timestamp, code: i32, reason: Option<&str>) -> Termination {
    let signal = code.checked_sub(SIGNALLED).filter(|signal| (1..=LAST_SIGNAL).contains(signal));
    let problem = (reason == Some("OOMKilled")).then(|| {
        "the driver was killed because it used more memory than it asked for (OOMKilled): ask for more in \
         spec.driver.memory or spec.driver.memoryOverhead"
            .to_owned()
    });
    let signal = if problem.is_some() { Some(SIGKILL) } else { signal };
    Termination { at, exit_code: signal.is_none().then_some(code), signal, problem }
}

/// A pod of a job.
#[derive(Clone, Debug)]
pub(crate) struct PodView {
    pub(crate) uid: String,
    pub(crate) name: String,
    pub(crate) job: String,
    pub(crate) is_driver: bool,
    /// Names the attempt that it belongs to.
    pub(crate) attempt: String,
    /// None of its processes is left.
    pub(crate) is_over: bool,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) end: Option<Termination>,
    /// Why it does not run yet.
    pub(crate) waits_for: Option<String>,
}

impl PodView {
    /// `None`: it is none of the platform's.
    pub(crate) fn read(pod: &Pod) -> Option<Self> {
        let (metadata, status) = (&pod.metadata, pod.status.as_ref());
        let labels = metadata.labels.as_ref()?;
        let uid = metadata.uid.clone()?;
        let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or_default();
        let containers = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
        let driver = containers.iter().find(|container| container.name == DRIVER_CONTAINER);
        let state = driver.and_then(|container| container.state.as_ref());
        let is_over = matches!(phase, "Succeeded" | "Failed");
        let mut end = state.and_then(end_of);
        if is_over && status.and_then(|status| status.reason.as_deref()) == Some("Evicted") {
            let message = status.and_then(|status| status.message.as_deref()).unwrap_or_default();
            let at = end.as_ref().map_or_else(Timestamp::now, |end| end.at);
            let problem = Some(format!("its pod was evicted from its node: {message}"));
            end = Some(Termination { at, exit_code: None, signal: None, problem });
        }
        let started_at = state.and_then(|state| match (&state.running, &state.terminated) {
            (Some(running), _) => running.started_at.as_ref().map(time),
            (_, Some(terminated)) => terminated.started_at.as_ref().map(time),
            _ => None,
        });
        Some(Self {
            name: metadata.name.clone()?,
            job: labels.get(JOB)?.clone(),
            is_driver: labels.get(ROLE).is_some_and(|role| role == DRIVER),
            attempt: labels.get(SUBMISSION).cloned().unwrap_or_else(|| uid.clone()),
            is_over,
            started_at,
            end,
            waits_for: waiting(pod, state),
            uid,
        })
    }
}

fn time(time: &Time) -> Timestamp {
    // Of another version of the crate.
    Timestamp::from_nanosecond(time.0.as_nanosecond()).unwrap_or_default()
}

fn end_of(state: &ContainerState) -> Option<Termination> {
    let terminated = state.terminated.as_ref()?;
    let at = terminated.finished_at.as_ref().map_or_else(Timestamp::now, time);
    let reason = terminated.reason.as_deref();
    if reason == Some("StartError") || reason == Some("ContainerCannotRun") {
        let message = terminated.message.as_deref().unwrap_or_default();
        let problem = Some(format!("its container could not be started: {message}"));
        return Some(Termination { at, exit_code: None, signal: None, problem });
    }
    Some(ended(at, terminated.exit_code, reason))
}

fn waiting(pod: &Pod, state: Option<&ContainerState>) -> Option<String> {
    if let Some(waiting) = state.and_then(|state| state.waiting.as_ref()) {
        let reason = waiting.reason.as_deref().unwrap_or("waiting");
        return Some(match waiting.message.as_deref() {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        });
    }
    let conditions = pod.status.as_ref()?.conditions.as_deref().unwrap_or_default();
    let scheduled =
        conditions.iter().find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    Some(format!(
        "{}: {}",
        scheduled.reason.as_deref().unwrap_or("Unschedulable"),
        scheduled.message.as_deref().unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn view(status: &Value) -> ApplicationView {
        let object = json!({"apiVersion": "sparkoperator.k8s.io/v1beta2", "kind": "SparkApplication",
            "metadata": {"name": "mlp-j", "uid": "u", "labels": {JOB: "j"}, "annotations": {RUN: "2", LOG_FROM: "7"}},
            "spec": {}, "status": status});
        ApplicationView::read(&serde_json::from_value(object).unwrap()).unwrap()
    }

    fn state(state: &str, error: &str) -> Value {
        json!({"applicationState": {"state": state, "errorMessage": error}})
    }

    #[test]
    fn ends_as_the_operator_tells_them() {
        let end = view(&state("FAILED", "driver container failed with ExitCode: 3, Reason: Error")).termination();
        assert_eq!((end.exit_code, end.signal, end.problem), (Some(3), None, None));
        let end =
            view(&state("FAILING", "driver container failed with ExitCode: 137, Reason: OOMKilled")).termination();
        assert_eq!((end.exit_code, end.signal), (None, Some(9)));
        assert!(end.problem.unwrap().contains("spec.driver.memory"));
        let end = view(&state("FAILED", "driver pod not found")).termination();
        assert_eq!(end.problem.as_deref(), Some("driver pod not found"));
        assert!(view(&state("COMPLETED", "")).termination().is_success());
        let empty = view(&Value::Null);
        assert_eq!((empty.run, empty.log_from, empty.state.as_str(), empty.is_final()), (2, 7, "", false));
    }

    #[test]
    fn odd_statuses_are_read_as_far_as_they_go() {
        for odd in [json!("x"), json!({"applicationState": 3, "executionAttempts": "x", "terminationTime": "x"})] {
            assert_eq!(view(&odd).state, "");
        }
        assert_eq!(exit_code_of("ExitCode: 99999999999"), None);
    }

    fn pod(status: Value) -> PodView {
        let object = json!({"metadata": {"name": "p", "uid": "u", "labels": {JOB: "j", ROLE: DRIVER, SUBMISSION: "s"}},
            "status": status});
        PodView::read(&serde_json::from_value(object).unwrap()).unwrap()
    }

    fn container(state: Value) -> Value {
        json!([{"name": DRIVER_CONTAINER, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}])
    }

    #[test]
    fn why_a_pod_waits() {
        let waiting = json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"x\""}});
        let text = pod(json!({"phase": "Pending", "containerStatuses": container(waiting)})).waits_for.unwrap();
        assert_eq!(text, "ImagePullBackOff: Back-off pulling image \"x\"");
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available"});
        let text = pod(json!({"phase": "Pending", "conditions": [condition]})).waits_for.unwrap();
        assert_eq!(text, "Unschedulable: 0/1 nodes are available");
    }

    #[test]
    fn how_a_pod_ended() {
        let terminated = |code: i32, reason: &str| {
            let state =
                json!({"terminated": {"exitCode": code, "reason": reason, "startedAt": "2026-01-02T03:04:05Z"}});
            pod(json!({"phase": "Failed", "containerStatuses": container(state)}))
        };
        let killed = terminated(137, "Error");
        assert_eq!(killed.started_at, Some("2026-01-02T03:04:05Z".parse().unwrap()));
        assert_eq!(killed.end.unwrap().signal, Some(9));
        assert_eq!(terminated(200, "Error").end.unwrap().exit_code, Some(200));
        assert!(terminated(137, "OOMKilled").end.unwrap().text().contains("OOMKilled"));
        assert!(terminated(128, "StartError").end.unwrap().text().contains("could not be started"));
        let evicted = pod(json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}));
        assert!(evicted.is_over && evicted.end.unwrap().text().ends_with("low on memory"));
    }
}
