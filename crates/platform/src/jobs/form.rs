//! The outside view of a job: how a request is read, and what is shown.

use base64::{Engine, engine::general_purpose::STANDARD};
use mlplatform_protocol::{
    ErrorCode, JobDetail, JobEvent, JobInfo, JobState, Timestamp,
    jobs::{LARGEST_MANIFEST, LARGEST_PYCODE, Pycode, SubmitJobRequest},
    manifest::{Manifest, Problem},
    yaml::Node,
};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::row::JobRow;
use crate::{
    app::App,
    clock::timestamp,
    error::{Error, Result},
    secret::{Digest, digest_of},
};

/// Of a name that was refused, and is remembered: a job's may be as long as a label of Kubernetes.
const LONGEST_NAME: usize = 100;

pub(crate) fn bad(text: impl Into<String>) -> Error {
    Error::refused(ErrorCode::BadRequest, text)
}

/// What was submitted, taken apart.
pub(crate) struct Submitted {
    /// Of all of it: whether another submit is the same.
    pub(crate) digest: Digest,
    pub(crate) manifest: Value,
    /// The program that came along, if it is what was sent.
    pub(crate) program: Result<Option<Program>>,
}

/// A program that came along.
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
}

/// Of megabytes, this takes long.
pub(crate) fn read(request: SubmitJobRequest) -> Result<Submitted> {
    let digest = digest_of(&request).map_err(|_| Error::Fault("a request cannot be written"))?;
    let SubmitJobRequest { manifest, pycode: sent, .. } = request;
    let program = sent.map(|sent| Ok(Program { content: pycode(&sent)?, name: sent.name }));
    Ok(Submitted { digest, manifest, program: program.transpose() })
}

/// The contract's rules, the same that `Manifest.validate()` tells before anything is sent; gives what the operator would
/// pass over. What matters for running it is checked by [`Plan`](mlplatform_runner::plan::Plan) and
/// the runner.
pub(crate) fn check(manifest: &Value) -> Result<Vec<Problem>> {
    let size = manifest.to_string().len();
    if size > LARGEST_MANIFEST {
        let text = format!(
            "manifest: it has {size} bytes as JSON, and at most {LARGEST_MANIFEST} are taken: put data into a file of the cluster's bucket, and name that"
        );
        return Err(Error::refused(ErrorCode::PayloadTooLarge, text));
    }
    let node = Node::from_json(manifest).ok_or_else(|| bad("manifest: it is nested too deeply"))?;
    let problems = Manifest::from_node(node).map_err(|problem| bad(format!("manifest: {problem}")))?.validate();
    let (harmless, broken): (Vec<_>, Vec<_>) = problems.into_iter().partition(|problem| problem.is_harmless);
    let texts: Vec<String> = broken.iter().map(Problem::to_string).collect();
    match texts.as_slice() {
        [] => Ok(harmless),
        [only] => Err(bad(only)),
        _ => Err(bad(format!("the manifest breaks {} rules: {}", texts.len(), texts.join(" | ")))),
    }
}

/// Spark knows a program's language by the end of its name alone; what it does not know, it takes for a jar.
pub(crate) fn check_program(manifest: &Value) -> Result<()> {
    let text = |key: &str| manifest.pointer(key).and_then(Value::as_str).unwrap_or_default();
    let file = text("/spec/mainApplicationFile").split('#').next().unwrap_or_default();
    let name = file.rsplit('/').next().unwrap_or_default();
    let (language, ending) = match text("/spec/type") {
        "Python" => ("Python", ".py"),
        "R" if !name.ends_with(".r") => ("R", ".R"),
        _ => return Ok(()),
    };
    if file.is_empty() || name.ends_with(ending) {
        return Ok(());
    }
    let (stem, extension) = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).unwrap_or((name, ""));
    let remedy = match extension {
        "ipynb" => format!(
            "make a script of the notebook with 'jupyter nbconvert --to script {name}', take out what only a notebook knows \
             (lines with % or !), and submit {stem}{ending}"
        ),
        _ if stem.is_empty() => format!("name the program's file, such as job{ending}"),
        "jar" | "java" | "scala" | "r" | "R" | "py" => {
            format!("set spec.type to its language, or name a {ending} file")
        }
        _ => format!("rename it to {stem}{ending}"),
    };
    Err(bad(format!(
        "spec.mainApplicationFile: '{name}' is no name of a program in {language}, which for Spark ends in {ending}: {remedy}"
    )))
}

/// Whether somebody may ask what became of a job of that name, valid or not.
pub(crate) fn can_be_asked_for(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.chars().count())
}

/// A program that came along: its bytes, once they are what was sent.
pub(crate) fn pycode(pycode: &Pycode) -> Result<Vec<u8>> {
    let name = &pycode.name;
    let plain = |c: char| !c.is_control() && !matches!(c, '/' | '\\' | ',' | '#');
    if name.is_empty() || name.len() > 200 || name.starts_with('.') || !name.chars().all(plain) {
        return Err(bad(format!("pycode.name: '{name}' is no name of a file: give it without folders, ',' and '#'")));
    }
    let content = STANDARD.decode(&pycode.content).map_err(|_| bad("pycode.content: it is not base64"))?;
    if content.len() > LARGEST_PYCODE {
        return Err(Error::refused(
            ErrorCode::PayloadTooLarge,
            format!(
                "'{name}' has {} bytes, and at most {LARGEST_PYCODE} travel with a job: put it into the cluster's bucket, and name it as manifest.main_app_file",
                content.len()
            ),
        ));
    }
    let digest: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    if digest != pycode.sha256.to_ascii_lowercase() {
        return Err(bad(format!(
            "'{name}' was changed on its way: its SHA-256 is not the one it was sent with: send it again"
        )));
    }
    Ok(content)
}

/// What a list shows.
pub(crate) fn info(app: &App, job: &JobRow) -> JobInfo {
    JobInfo {
        job_name: job.name.clone(),
        status: job.state(),
        created_at: timestamp(job.created_at),
        ui_url: app.jobs().ui_url(&job.cluster_id, &job.name),
    }
}

/// A job and its driver's pod. While there is none, that is the answer: asking is never too early.
pub(crate) fn detail(app: &App, job: &JobRow) -> JobDetail {
    let now = app.clock().now().as_microsecond();
    let running = job.alive && job.is(JobState::Running);
    let ended = job.end().filter(|_| !job.alive && job.runs > 0);
    let (status, reason, state) = match (&ended, running) {
        (_, true) => (Some("Running"), None, Some("V1ContainerStateRunning")),
        (Some(end), _) if end.is_success() => (Some("Succeeded"), None, Some("V1ContainerStateTerminated")),
        (Some(_), _) => (Some("Failed"), None, Some("V1ContainerStateTerminated")),
        (None, _) if job.is(JobState::Failed) || job.is(JobState::SubmissionFailed) => (None, None, None),
        (None, _) => (Some("Pending"), job.waits_for.as_ref().map(|_| "Unschedulable"), None),
    };
    let state_reason = ended.as_ref().map(|end| match end {
        end if end.is_success() => "Completed",
        end if end.signal == Some(9) => "OOMKilled",
        _ => "Error",
    });
    // A container that SIGKILL ended is what Kubernetes calls out of memory; here nobody but the system's own guard
    // sends it unasked.
    let message = job.end().filter(|end| !end.is_success() && !job.alive).map(|end| end.text());
    let text = |text: Option<&str>| text.map(str::to_owned);
    #[allow(clippy::cast_precision_loss, reason = "an age in microseconds is exact for 285 years")]
    let age = now.saturating_sub(job.created_at).max(0) as f64 / 1e6;
    JobDetail {
        info: info(app, job),
        pod_status: text(status),
        pod_status_reason: text(reason),
        pod_state: text(state),
        pod_state_reason: text(state_reason),
        pod_state_reason_message: message,
        age,
    }
}

/// The SparkApplication as the operator would show it.
pub(crate) fn description(job: &JobRow, cluster: &str, events: &[JobEvent]) -> Result<Value> {
    let broken = |_| Error::Fault("a stored manifest is no JSON");
    let manifest: Map<String, Value> = serde_json::from_str(&job.manifest).map_err(broken)?;
    let time = |at: i64| Value::String(rfc3339(timestamp(at)));
    let mut metadata = manifest.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    metadata.entry("namespace").or_insert_with(|| json!("default"));
    metadata.insert("creationTimestamp".to_owned(), time(job.created_at));
    metadata.insert("uid".to_owned(), json!(job.id));
    let error = job.end().filter(|end| !end.is_success() && !job.alive).map(|end| end.text());
    let state = job.state().name().to_owned();
    let state = error.map_or_else(|| json!({"state": state}), |error| json!({"state": state, "errorMessage": error}));
    let status = json!({
        "applicationState": state,
        "driverInfo": {"podName": job.pod()},
        "executionAttempts": job.runs,
        "submissionAttempts": job.failed_starts + i64::from(job.runs > 0),
        "clusterName": cluster,
        "lastSubmissionAttemptTime": job.started_at.map(time),
        "terminationTime": job.ended_at.filter(|_| !job.alive).map(time),
    });
    let events: Vec<Value> = events.iter().map(event).collect();
    Ok(json!({
        "apiVersion": manifest.get("apiVersion"),
        "events": events,
        "kind": manifest.get("kind"),
        "metadata": metadata,
        "spec": manifest.get("spec"),
        "status": status,
    }))
}

fn event(event: &JobEvent) -> Value {
    json!({
        "message": event.message,
        "object": format!("Pod/{}", event.pod),
        "reason": event.reason,
        "time": rfc3339(event.at),
        "type": event.kind.name(),
    })
}

fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_no_place_for_data() {
        let with = |bytes: usize| check(&json!({"spec": {"arguments": ["x".repeat(bytes)]}})).unwrap_err();
        assert!(matches!(with(LARGEST_MANIFEST), Error::Refused { code: ErrorCode::PayloadTooLarge, .. }));
        let text = with(LARGEST_MANIFEST).to_string();
        assert!(
            text.contains("has 262171 bytes as JSON, and at most 262144 are taken: put data into a file"),
            "{text}"
        );
        assert!(matches!(with(LARGEST_MANIFEST - 100), Error::Refused { code: ErrorCode::BadRequest, .. }));
    }

    #[test]
    fn what_spark_would_take_for_a_jar() {
        let check =
            |kind: &str, main: &str| check_program(&json!({"spec": {"type": kind, "mainApplicationFile": main}}));
        for (kind, main) in [
            ("Python", "s3a://b/job.py"),
            ("Python", "local:///a b/job.v2.py#x"),
            ("Python", ""),
            ("R", "local:///job.R"),
            ("R", "local:///job.r"),
            ("Java", "local:///opt/spark/jars"),
            ("Scala", "s3a://b/app.jar"),
        ] {
            assert!(check(kind, main).is_ok(), "{main}");
        }
        for (kind, main, remedy) in [
            ("Python", "s3a://b/eda.ipynb", "'jupyter nbconvert --to script eda.ipynb'"),
            ("Python", "s3a://b/job.txt", ": rename it to job.py"),
            ("Python", "s3a://b/job", ": rename it to job.py"),
            ("Python", "s3a://b/JOB.PY", "which for Spark ends in .py: rename it to JOB.py"),
            ("Python", "s3a://b/.py.swp", ": rename it to .py.py"),
            ("Python", "s3a://b/", "name the program's file, such as job.py"),
            ("Python", "s3a://b/app.jar", "set spec.type to its language"),
            ("R", "s3a://b/job.py", "set spec.type to its language"),
        ] {
            let problem = check(kind, main).unwrap_err().to_string();
            assert!(problem.contains(remedy), "{problem}");
        }
    }

    #[test]
    fn programs_arrive_whole_or_not_at_all() {
        let sent = |name: &str, content: &[u8], sha256: Option<&str>| {
            let digest: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
            let sha256 = sha256.map_or(digest, str::to_owned);
            pycode(&Pycode { name: name.to_owned(), sha256, content: STANDARD.encode(content) })
        };
        assert_eq!(sent("a b.py", b"print(1)\xff", None).unwrap(), b"print(1)\xff");
        assert!(sent("a.py", b"x", Some("00")).unwrap_err().to_string().contains("changed on its way"));
        for name in ["", "a/b.py", "..", ".py", "a,b.py", "a\n.py"] {
            assert!(sent(name, b"x", None).is_err(), "{name}");
        }
        let large = vec![0; LARGEST_PYCODE + 1];
        assert!(sent("a.py", &large, None).unwrap_err().to_string().contains("at most 10485760 travel"));
    }
}
