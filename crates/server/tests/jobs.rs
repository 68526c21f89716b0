//! Jobs, with a program in Spark's place that runs what it is given as a shell script: what is tested here is who starts
//! when, what is said of it, and what is left behind. The real Spark is tested from Python.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use common::{Answer, Ask, Platform};
use mlplatform_protocol::routes::{
    DescribeSparkJob, GetClusterInfo, GetClusters, SetClusterSuspendTime, SparkDeleteJob, SparkEvents, SparkJobExplain,
    SparkJobInfo, SparkJobLogs, SparkJobsList, SparkSubmitJob,
};
use mlplatform_server::server::Config;
use mlplatform_spark_local::{JobsAs, SparkConfig};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A platform with one cluster, and somebody who may submit jobs.
struct Jobs {
    platform: Platform,
    session: String,
    admin: String,
    cluster: String,
}

/// Runs the main program by `sh`: what stands before it are Spark's own arguments.
const STAND_IN: &str = "#!/bin/sh\nshift 2\nexec sh \"$@\"\n";

fn config(folder: &Path) -> Config {
    let program = folder.join("stand-in");
    if !program.exists() {
        fs::write(&program, STAND_IN).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let runner = Some(env!("CARGO_BIN_EXE_mlplatform-server").into());
    let spark = SparkConfig { jobs: JobsAs::Myself, submit: Some(program), runner, ..SparkConfig::default() };
    Config { spark, ..Config::new(folder) }
}

impl Jobs {
    async fn start() -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap())).await
    }

    async fn start_in(folder: Arc<TempDir>) -> Self {
        let config = config(folder.path());
        let platform = Platform::start_as(folder, config).await;
        let admin = platform.admin_session().await;
        let list = platform.ask::<GetClusters>(json!({})).session(&admin).send().await;
        let cluster = list.body["items"][0]["id"].as_str().unwrap().to_owned();
        let names = platform.rows("SELECT name FROM tokens WHERE name = 'anna'").await;
        let session = if names.is_empty() {
            platform.session(&platform.token(&admin, "anna", json!({})).await).await
        } else {
            admin.clone()
        };
        Self { platform, session, admin, cluster }
    }

    fn manifest(&self, name: &str, more: Value) -> Value {
        let mut manifest = json!({
            "apiVersion": "sparkoperator.k8s.io/v1beta2", "kind": "SparkApplication", "metadata": {"name": name},
            "spec": {"type": "Python", "sparkVersion": "4.3.0", "driver": {"memory": "512m"}, "executor": {"instances": 1, "memory": "512m"}},
        });
        manifest["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        manifest
    }

    fn submit(&self, name: &str, script: &str, more: Value) -> Ask {
        self.submit_as(&self.manifest(name, more), script)
    }

    fn submit_as(&self, manifest: &Value, script: &str) -> Ask {
        let sha256: String = Sha256::digest(script).iter().map(|byte| format!("{byte:02x}")).collect();
        let pycode = json!({"name": "job.py", "sha256": sha256, "content": STANDARD.encode(script)});
        let request = json!({"cluster_id": self.cluster, "manifest": manifest, "pycode": pycode});
        self.platform.ask::<SparkSubmitJob>(request).session(&self.session)
    }

    async fn submitted(&self, name: &str, script: &str, more: Value) {
        let answer = self.submit(name, script, more).send().await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.body["status"], "SUBMITTED");
    }

    async fn info(&self, name: &str) -> Answer {
        let request = json!({"cluster_id": self.cluster, "job_name": name});
        self.platform.ask::<SparkJobInfo>(request).session(&self.session).send().await
    }

    async fn state(&self, name: &str) -> String {
        self.info(name).await.text("status")
    }

    async fn until(&self, name: &str, states: &[&str]) -> String {
        let began = Instant::now();
        loop {
            let state = self.state(name).await;
            if states.contains(&state.as_str()) {
                return state;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{name} is {state}, not {states:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ended(&self, name: &str) -> String {
        self.until(name, &["COMPLETED", "FAILED"]).await
    }

    async fn log_with(&self, name: &str, more: Value) -> (u16, String) {
        let mut request = json!({"cluster_id": self.cluster, "job_name": name});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let response = self.platform.ask::<SparkJobLogs>(request).session(&self.session).response().await;
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn log(&self, name: &str) -> String {
        self.log_with(name, json!({})).await.1
    }

    async fn events(&self, name: &str) -> Vec<String> {
        let request = json!({"cluster_id": self.cluster, "limit": 1000});
        let list = self.platform.ask::<SparkEvents>(request).session(&self.session).send().await;
        let of = list.body["items"].as_array().unwrap().iter().filter(|event| event["job_name"] == name);
        of.map(|event| event["reason"].as_str().unwrap().to_owned()).collect()
    }

    async fn explain(&self, name: &str) -> Answer {
        let request = json!({"cluster_id": self.cluster, "job_name": name});
        self.platform.ask::<SparkJobExplain>(request).session(&self.session).send().await
    }

    async fn delete(&self, name: &str) -> Answer {
        let request = json!({"cluster_id": self.cluster, "job_name": name});
        self.platform.ask::<SparkDeleteJob>(request).session(&self.session).send().await
    }
}

/// Processes whose command line holds the text.
fn processes(text: &str) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(text)
    })
    .collect()
}

#[tokio::test]
async fn a_job_runs_and_its_whole_story_is_told() {
    let jobs = Jobs::start().await;
    jobs.submitted(
        "pi-1",
        "echo Pi is roughly 3.14; echo warned >&2; echo \"args: $@\"",
        json!({"arguments": ["10", "a b"]}),
    )
    .await;
    let info = jobs.info("pi-1").await;
    assert_eq!(info.status, 200, "asking is never too early: {info:?}");
    assert_eq!(jobs.ended("pi-1").await, "COMPLETED");
    assert_eq!(jobs.log("pi-1").await, "Pi is roughly 3.14\nwarned\nargs: 10 a b\n");
    let info = jobs.info("pi-1").await.body;
    let fields = ["pod_status", "pod_status_reason", "pod_state", "pod_state_reason", "pod_state_reason_message"];
    let expected = json!(["Succeeded", null, "V1ContainerStateTerminated", "Completed", null]);
    assert_eq!(json!(fields.map(|field| info[field].clone())), expected);
    assert!(info["ui_url"].as_str().unwrap().ends_with("/pi-1/jobs/"));
    let events = jobs.events("pi-1").await;
    assert_eq!(events, ["SparkApplicationAdded", "Scheduled", "Started", "SparkDriverCompleted"]);
    let request = json!({"cluster_id": jobs.cluster, "job_name": "pi-1"});
    let told = jobs.platform.ask::<DescribeSparkJob>(request).session(&jobs.session).send().await.body;
    let keys: Vec<_> = told.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["apiVersion", "events", "kind", "metadata", "spec", "status"]);
    assert_eq!(told["status"]["applicationState"]["state"], "COMPLETED");
    let main = told["spec"]["mainApplicationFile"].as_str().unwrap();
    assert!(main.starts_with("s3a://spark-local/.spark-jobs/") && main.ends_with("/job.py"), "{main}");
    let list =
        jobs.platform.ask::<SparkJobsList>(json!({"cluster_id": jobs.cluster})).session(&jobs.session).send().await;
    assert_eq!(list.body["items"].as_array().unwrap().len(), 1);
    // What it worked in is gone, its log is there.
    let id = told["metadata"]["uid"].as_str().unwrap();
    let folder = jobs.platform.folder.path().join("jobs").join(id);
    assert!(folder.join("log").exists());
    assert_eq!(jobs.explain("pi-1").await.body["cause"], "completed");
}

#[tokio::test]
async fn jobs_wait_in_their_order_and_are_told_why() {
    let jobs = Jobs::start().await;
    // Four of eight cores each.
    let size = json!({"executor": {"instances": 3, "memory": "512m"}});
    let gate = jobs.platform.folder.path().join("gate");
    let script = format!("while [ ! -e {} ]; do sleep 0.02; done; date +%s%N", gate.display());
    let big = json!({"executor": {"instances": 40}});
    jobs.submitted("too-big", "exit 0", big).await;
    for name in ["a", "b", "c", "d", "e"] {
        jobs.submitted(name, &script, size.clone()).await;
    }
    for name in ["a", "b"] {
        jobs.until(name, &["RUNNING"]).await;
    }
    while jobs.events("e").await.last().map(String::as_str) != Some("FailedScheduling") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(jobs.state("c").await, "SUBMITTED");
    let info = jobs.info("c").await.body;
    assert_eq!((&info["pod_status"], &info["pod_status_reason"]), (&json!("Pending"), &json!("Unschedulable")));
    assert_eq!(jobs.explain("c").await.body["cause"], "no-capacity");
    let told = jobs.explain("too-big").await.body;
    assert_eq!(told["cause"], "too-large");
    assert!(told["evidence"][0].as_str().unwrap().contains("asks for 41 cores"), "{told}");
    fs::write(gate, "").unwrap();
    let mut ends = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        assert_eq!(jobs.ended(name).await, "COMPLETED");
        ends.push(jobs.platform.rows(&format!("SELECT started_at FROM jobs WHERE name = '{name}'")).await);
    }
    assert!(ends.is_sorted(), "{ends:?}");
    assert_eq!(jobs.state("too-big").await, "SUBMITTED");
    assert_eq!(jobs.events("c").await.iter().filter(|reason| *reason == "FailedScheduling").count(), 1);
}

#[tokio::test]
async fn a_submit_that_is_repeated_runs_once() {
    let jobs = Jobs::start().await;
    let script = "echo once";
    let first = jobs.submit("once", script, json!({})).key("k", 1).send().await;
    let second = jobs.submit("once", script, json!({})).key("k", 2).send().await;
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.body["created_at"], second.body["created_at"]);
    assert_eq!(jobs.ended("once").await, "COMPLETED");
    let third = jobs.submit("once", script, json!({})).key("k", 3).send().await;
    assert_eq!((third.status, third.body["status"].as_str()), (201, Some("COMPLETED")));
    let other = jobs.submit("other", script, json!({})).key("k", 4).send().await;
    assert_eq!(other.status, 409);
    let namesake = jobs.submit("once", script, json!({})).key("k2", 1).send().await;
    assert_eq!(namesake.status, 409);
    assert!(namesake.field().contains("a job named 'once' exists"));
    assert_eq!(jobs.log("once").await, "once\n");
    let left = fs::read_dir(jobs.platform.folder.path().join("uploads")).unwrap().count();
    assert_eq!(left, 1, "the programs of refused submits are removed");
}

#[tokio::test]
async fn deleting_ends_every_process_and_keeps_the_log() {
    let jobs = Jobs::start().await;
    let seconds = format!("600.{}", std::process::id());
    let script = format!("echo here; setsid sleep {seconds} & trap '' TERM; sleep {seconds} & wait; sleep {seconds}");
    jobs.submitted("long", &script, json!({})).await;
    while processes(&format!("sleep {seconds}")).len() < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let deleted = jobs.delete("long").await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    assert_eq!(processes(&format!("sleep {seconds}")), Vec::<u32>::new());
    assert_eq!(jobs.info("long").await.status, 404);
    assert_eq!(jobs.log("long").await, "here\n");
    assert_eq!(jobs.explain("long").await.body["cause"], "deleted");
    jobs.submitted("long", "echo again", json!({})).await;
    assert_eq!(jobs.ended("long").await, "COMPLETED");
    assert_eq!(jobs.log("long").await, "again\n");
    assert_eq!(jobs.delete("nobody").await.status, 404);
}

#[tokio::test]
async fn a_failing_job_is_repeated_as_often_as_its_policy_says() {
    let jobs = Jobs::start().await;
    let policy = json!({"restartPolicy": {"type": "OnFailure", "onFailureRetries": 2, "onFailureRetryInterval": 1}});
    jobs.submitted("again", "echo run; exit 3", policy).await;
    jobs.until("again", &["FAILING"]).await;
    assert_eq!(jobs.ended("again").await, "FAILED");
    assert_eq!(jobs.log("again").await, "run\nrun\nrun\n");
    let events = jobs.events("again").await;
    assert_eq!(events.iter().filter(|reason| *reason == "SparkDriverFailed").count(), 3);
    assert_eq!(events.iter().filter(|reason| *reason == "SparkApplicationPendingRerun").count(), 2);
    let told = jobs.explain("again").await.body;
    assert_eq!(told["cause"], "exit-code");
    assert!(told["sentence"].as_str().unwrap().contains("exit code 3"), "{told}");
    // Left to itself, one that is always run again never ends.
    jobs.submitted("always", "echo run", json!({"restartPolicy": {"type": "Always"}})).await;
    while jobs.log("always").await.lines().count() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(jobs.delete("always").await.status, 204);
}

#[tokio::test]
async fn a_job_whose_parent_is_killed_has_failed_and_leaves_nothing() {
    let jobs = Jobs::start().await;
    let seconds = format!("601.{}", std::process::id());
    jobs.submitted("orphan", &format!("echo begun; sleep {seconds}"), json!({})).await;
    while processes(&format!("sleep {seconds}")).is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let id = jobs.platform.rows("SELECT id FROM jobs WHERE name = 'orphan'").await.remove(0);
    let parent = processes(&format!("jobs/{id}/run-1"));
    let parent = parent.into_iter().find(|pid| {
        fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().windows(8).any(|part| part == b"run-job\0")
    });
    assert!(Command::new("kill").args(["-9", &parent.unwrap().to_string()]).status().unwrap().success());
    assert_eq!(jobs.ended("orphan").await, "FAILED");
    assert_eq!(processes(&format!("sleep {seconds}")), Vec::<u32>::new());
    let told = jobs.explain("orphan").await.body;
    assert_eq!(told["cause"], "parent-killed", "{told}");
    assert_eq!(jobs.log("orphan").await, "begun\n");
}

#[tokio::test]
async fn a_log_is_read_from_anywhere_while_it_grows() {
    let jobs = Jobs::start().await;
    let gate = jobs.platform.folder.path().join("gate");
    let script = format!("printf 'one\\ntwo\\n'; while [ ! -e {} ]; do sleep 0.02; done; echo three", gate.display());
    jobs.submitted("talk", &script, json!({})).await;
    while jobs.log("talk").await.len() < 8 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(jobs.log_with("talk", json!({"offset": 4})).await, (200, "two\n".to_owned()));
    assert_eq!(jobs.log_with("talk", json!({"tail": 1})).await, (200, "two\n".to_owned()));
    assert_eq!(jobs.log_with("talk", json!({"offset": 9})).await.0, 400);
    assert_eq!(jobs.log_with("talk", json!({"offset": 1, "tail": 1})).await.0, 400);
    assert_eq!(jobs.log_with("talk", json!({"wait_ms": 60_000})).await.0, 400);
    let waited = async { jobs.log_with("talk", json!({"offset": 8, "wait_ms": 20_000})).await };
    let opened = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        fs::write(&gate, "").unwrap();
    };
    let (rest, ()) = tokio::join!(waited, opened);
    assert_eq!(rest, (200, "three\n".to_owned()));
}

#[tokio::test]
async fn what_cannot_run_is_refused_with_its_reason() {
    let jobs = Jobs::start().await;
    for (more, text) in [
        (json!({"mainApplicationFile": "s3a://other/a.py"}), "in the bucket 'other'"),
        (
            json!({"mainApplicationFile": "local:///none.py"}),
            "'local:///none.py' does not exist on the cluster's machine",
        ),
        (json!({"mainApplicationFile": "job.py"}), "pycode_file_path"),
        (json!({}), "spec.mainApplicationFile: missing; it is required; pass the program's file as pycode_file_path"),
    ] {
        let request = json!({"cluster_id": jobs.cluster, "manifest": jobs.manifest("bad", more)});
        let answer = jobs.platform.ask::<SparkSubmitJob>(request).session(&jobs.session).send().await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.field().contains(text), "{}", answer.field());
        let told = jobs.explain("bad").await.body;
        assert_eq!((&told["cause"], &told["status"]), (&json!("refused"), &json!("REFUSED")));
        assert!(told["sentence"].as_str().unwrap().contains(text), "{told}");
    }
    for (name, more, text) in [
        ("Bad_Name", json!({}), "metadata.name: 'Bad_Name'; it must have at most 63"),
        ("bad", json!({"driver": {"memory": "1.5g"}}), "spec.driver.memory: '1.5g'; it must be a whole number"),
        (
            "bad",
            json!({"sparkConf": {"spark.master": "yarn"}, "mode": "x"}),
            "breaks 2 rules: spec.mode: 'x'; it must be",
        ),
        ("bad", json!({"deps": {"jars": ["s3a://spark-local/none.jar"]}}), "spec.deps.jars: "),
        ("bad", json!({"driver": {"envFrom": [{"secretRef": {"name": "none"}}]}}), "the Secret 'none' does not exist"),
    ] {
        let answer = jobs.submit(name, "exit 0", more).send().await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.field().contains(text), "{}", answer.field());
    }
    let mut request = json!({"cluster_id": "none", "manifest": {}});
    let answer = jobs.platform.ask::<SparkSubmitJob>(request.clone()).session(&jobs.session).send().await;
    assert_eq!(answer.status, 404);
    request["cluster_id"] = json!(jobs.cluster);
    let answer = jobs.platform.ask::<SparkSubmitJob>(request).session(&jobs.session).send().await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn a_setting_that_the_operator_passes_over_is_told_and_keeps_nobody_from_running() {
    let jobs = Jobs::start().await;
    jobs.submitted("over", "exit 0", json!({"sparkConf": {"spark.driver.memory": "4g"}})).await;
    assert_eq!(jobs.ended("over").await, "COMPLETED");
    assert_eq!(jobs.events("over").await[..2], ["SparkApplicationAdded", "SettingIgnored"]);
}

#[tokio::test]
async fn an_explanation_shows_no_folder_of_the_platform() {
    let jobs = Jobs::start().await;
    let raised = r#"  File \"$0\", line 1, in <module>\nFileNotFoundError: [Errno 2] No such file or directory: '$PWD/a/in.csv'"#;
    let script = format!("printf \"Traceback (most recent call last):\n{raised}\n\"; exit 1");
    jobs.submitted("lost", &script, json!({})).await;
    jobs.ended("lost").await;
    let told = jobs.explain("lost").await.body;
    assert_eq!(told["sentence"], "The program reads 'a/in.csv', which does not exist.");
    assert_eq!(told["evidence"][0], "File \"job.py\", line 1, in <module>");
    assert!(!told.to_string().contains(jobs.platform.folder.path().to_str().unwrap()), "{told}");
}

#[tokio::test]
async fn jobs_keep_their_cluster_awake_and_wake_it() {
    let jobs = Jobs::start().await;
    let minutes = json!({"cluster_id": jobs.cluster, "minutes": 10});
    jobs.platform.ask::<SetClusterSuspendTime>(minutes).session(&jobs.admin).send().await;
    let status = async || {
        let request = json!({"cluster_id": jobs.cluster});
        // Sessions are minutes long, and the clock moves by hours.
        let session = jobs.platform.admin_session().await;
        jobs.platform.ask::<GetClusterInfo>(request).session(&session).send().await.text("status")
    };
    let gate = jobs.platform.folder.path().join("gate");
    let script = format!("while [ ! -e {} ]; do sleep 0.02; done", gate.display());
    jobs.submitted("long", &script, json!({})).await;
    jobs.until("long", &["RUNNING"]).await;
    jobs.platform.clock.advance(Duration::from_secs(3600));
    assert_eq!(status().await, "RUNNING", "a job runs");
    fs::write(&gate, "").unwrap();
    let admin = jobs.platform.admin_session().await;
    let jobs = Jobs { session: admin.clone(), admin, ..jobs };
    jobs.ended("long").await;
    jobs.platform.clock.advance(Duration::from_secs(9 * 60));
    assert_eq!(jobs.platform.rows("SELECT phase FROM clusters").await, ["start"]);
    jobs.platform.clock.advance(Duration::from_secs(2 * 60));
    let admin = jobs.platform.admin_session().await;
    let jobs = Jobs { session: admin.clone(), admin, ..jobs };
    let request = json!({"cluster_id": jobs.cluster});
    let cluster = jobs.platform.ask::<GetClusterInfo>(request.clone()).session(&jobs.session).send().await;
    assert_eq!(cluster.text("status"), "FREEZING", "{cluster:?}");
    jobs.platform.clock.advance(Duration::from_secs(2));
    let cluster = jobs.platform.ask::<GetClusterInfo>(request).session(&jobs.session).send().await;
    assert_eq!(cluster.text("status"), "SHUTOFF");
    jobs.submitted("waker", "echo awake", json!({})).await;
    assert_eq!(jobs.ended("waker").await, "COMPLETED");
    assert!(jobs.events("waker").await.contains(&"TriggeredScaleUp".to_owned()));
}

#[tokio::test]
async fn a_time_to_live_ends_with_the_job_deleted() {
    let jobs = Jobs::start().await;
    jobs.submitted("brief", "echo x", json!({"timeToLiveSeconds": 60})).await;
    jobs.ended("brief").await;
    jobs.platform.clock.advance(Duration::from_secs(61));
    let began = Instant::now();
    while jobs.info("brief").await.status != 404 {
        assert!(began.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(jobs.log("brief").await, "x\n");
}

#[tokio::test]
async fn jobs_outlive_the_server_and_are_found_again() {
    let mut jobs = Jobs::start().await;
    let gate = jobs.platform.folder.path().join("gate");
    let script = format!("echo begun; while [ ! -e {} ]; do sleep 0.02; done; echo over; exit 4", gate.display());
    jobs.submitted("steady", &script, json!({})).await;
    jobs.until("steady", &["RUNNING"]).await;
    jobs.platform.stop().await;
    let folder = Arc::clone(&jobs.platform.folder);
    let jobs = Jobs::start_in(folder).await;
    assert_eq!(jobs.state("steady").await, "RUNNING");
    fs::write(gate, "").unwrap();
    assert_eq!(jobs.ended("steady").await, "FAILED");
    assert_eq!(jobs.log("steady").await, "begun\nover\n");
    let events = jobs.events("steady").await;
    assert_eq!(events, ["SparkApplicationAdded", "Scheduled", "Started", "SparkDriverFailed"]);
}
