//! What only a runner on Kubernetes does, on the cluster that `KUBECONFIG` names (see `conformance.rs`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    env,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::{ConfigMap, Pod, ResourceQuota, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use mlplatform_runner::{
    log::LogLimit,
    plan::Plan,
    runner::{ClusterRef, JobRef, Run, RunId, RunState, RunStatus, Runner, RunnerError},
    termination::Termination,
    values::Values,
};
use mlplatform_spark_kubernetes::{KubernetesConfig, KubernetesRunner};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

const LATE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);

/// A platform's runner, with its own data directory and label.
struct Platform {
    folder: TempDir,
    name: String,
    runner: KubernetesRunner,
    work: JoinHandle<()>,
    client: Client,
}

struct Job {
    run: RunId,
    cluster: ClusterRef,
    manifest: Value,
    plan: Plan,
}

impl Platform {
    /// `None`: no cluster is named.
    async fn begin() -> Option<Self> {
        env::var_os("KUBECONFIG")?;
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::tempdir().unwrap();
        let (runner, work) = start(&folder, &name).await;
        Some(Self { folder, name, runner, work, client: Client::try_default().await.unwrap() })
    }

    /// As a server that was killed, and started again.
    async fn restart(&mut self) {
        self.work.abort();
        let _ = (&mut self.work).await;
        (self.runner, self.work) = start(&self.folder, &self.name).await;
    }

    fn cluster(&self) -> ClusterRef {
        let name = || self.name.clone();
        ClusterRef { id: name(), name: name(), bucket: name(), kubernetes: None }
    }

    async fn job(&self, name: &str, program: &str, mut spec: Value) -> Job {
        let cluster = self.cluster();
        let id = JobRef { id: format!("{}-{name}", self.name), cluster: cluster.id.clone(), name: name.to_owned() };
        let address = self.runner.upload(&cluster, &id.id, "job.py", program.as_bytes().to_vec()).await.unwrap();
        spec["type"] = "Python".into();
        spec["mainApplicationFile"] = address.into();
        let manifest = json!({"metadata": {"name": name}, "spec": spec});
        let plan = Plan::read(&manifest).unwrap();
        Job { run: RunId { job: id, number: 1 }, cluster, manifest, plan }
    }

    async fn try_start(&self, job: &Job, values: &Values) -> Result<(), RunnerError> {
        let run = Run { cluster: &job.cluster, id: &job.run, plan: &job.plan, manifest: &job.manifest };
        self.runner.check(run, values).await?;
        self.runner.prepare(run, values).await?.start().await
    }

    async fn start(&self, name: &str, program: &str, spec: Value) -> Job {
        let job = self.job(name, program, spec).await;
        self.try_start(&job, &Values::default()).await.unwrap();
        job
    }

    async fn until<T>(&self, job: &Job, wanted: impl Fn(&RunStatus) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            let status = self.runner.status(std::slice::from_ref(&job.run)).await.unwrap().remove(0);
            if let Some(found) = wanted(&status) {
                return found;
            }
            assert!(began.elapsed() < LATE, "{status:?}");
            let _ = timeout(LOOK, self.runner.changed()).await;
        }
    }

    async fn ended(&self, job: &Job) -> (Termination, Option<i64>) {
        self.until(job, |status| match &status.state {
            RunState::Ended(end) => Some((end.clone(), status.attempts)),
            _ => None,
        })
        .await
    }

    async fn running(&self, job: &Job) {
        self.until(job, |status| (status.state == RunState::Running).then_some(())).await;
    }

    async fn log(&self, job: &Job) -> String {
        let chunk = self.runner.log(&job.run.job, 0, 1 << 20).await.unwrap();
        String::from_utf8(chunk.map(|chunk| chunk.bytes).unwrap_or_default()).unwrap()
    }

    async fn printed(&self, job: &Job, text: &str) {
        let began = Instant::now();
        while !self.log(job).await.contains(text) {
            assert!(began.elapsed() < LATE, "'{text}' is not printed");
            sleep(LOOK).await;
        }
    }

    fn labelled(&self) -> ListParams {
        ListParams::default().labels(&format!("mlplatform.io/platform={}", self.name))
    }

    fn applications(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("sparkoperator.k8s.io", "v1beta2", "SparkApplication");
        Api::default_namespaced_with(self.client.clone(), &ApiResource::from_gvk(&kind))
    }

    async fn secrets(&self) -> Vec<Secret> {
        Api::default_namespaced(self.client.clone()).list(&self.labelled()).await.unwrap().items
    }

    /// Applications, pods, secrets and config maps.
    async fn left(&self) -> usize {
        let pods: Api<Pod> = Api::default_namespaced(self.client.clone());
        let maps: Api<ConfigMap> = Api::default_namespaced(self.client.clone());
        self.applications().list(&self.labelled()).await.unwrap().items.len()
            + pods.list(&self.labelled()).await.unwrap().items.len()
            + maps.list(&self.labelled()).await.unwrap().items.len()
            + self.secrets().await.len()
    }

    async fn nothing_is_left(&self) {
        let began = Instant::now();
        while self.left().await > 0 {
            assert!(began.elapsed() < LATE, "{} objects are left", self.left().await);
            sleep(LOOK).await;
        }
    }
}

async fn start(folder: &TempDir, name: &str) -> (KubernetesRunner, JoinHandle<()>) {
    let image = env::var("MLP_KUBERNETES_IMAGE").unwrap_or_else(|_| "none".to_owned());
    let runner = KubernetesRunner::new(KubernetesConfig {
        kubeconfig: None,
        context: None,
        namespace: None,
        platform: name.to_owned(),
        service_account: None,
        images: [("4.0.0".to_owned(), image)].into(),
        folder: folder.path().to_owned(),
        longest_log: LogLimit::JOB,
        longest_cluster_logs: LogLimit::CLUSTER,
    })
    .await
    .unwrap();
    let worker = runner.clone();
    (runner, tokio::spawn(async move { worker.work().await }))
}

/// One after the other: a quota holds for the others as well.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

macro_rules! on_kubernetes {
    ($($name:ident),* $(,)?) => {
        mod on_kubernetes {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let _turn = super::TURN.lock().await;
                    if let Some(platform) = super::Platform::begin().await {
                        super::$name(platform).await;
                    }
                }
            )*
        }
    };
}

on_kubernetes!(
    the_operator_repeats_a_run_and_each_attempt_is_in_the_log,
    secrets_are_there_for_the_run_and_for_no_other_job,
    a_job_leaves_nothing,
    an_application_that_is_deleted_by_others_is_lost,
    a_server_that_is_started_again_goes_on,
    what_the_operator_cannot_submit_says_why,
    a_quota_refuses_the_job_and_not_the_platform,
    what_a_user_may_not_set_is_refused,
    a_program_that_is_too_long_is_refused,
);

async fn the_operator_repeats_a_run_and_each_attempt_is_in_the_log(on: Platform) {
    let policy = json!({"type": "OnFailure", "onFailureRetries": 2, "onFailureRetryInterval": 1});
    let job = on.start("again", "echo one\necho two\nexit 7", json!({"restartPolicy": policy})).await;
    on.until(&job, |status| {
        matches!(&status.state, RunState::Restarting(end) if end.exit_code == Some(7)).then_some(())
    })
    .await;
    let (end, attempts) = on.ended(&job).await;
    assert_eq!((end.exit_code, attempts), (Some(7), Some(3)));
    assert_eq!(on.log(&job).await, "one\ntwo\n".repeat(3));
    let described = on.runner.describe(&job.run.job).await.unwrap().unwrap();
    assert_eq!(described.pointer("/status/applicationState/state"), Some(&json!("FAILED")));
    on.runner.clean_up(&job.run.job, true).await.unwrap();
    on.nothing_is_left().await;
}

async fn secrets_are_there_for_the_run_and_for_no_other_job(on: Platform) {
    let variable = |secret: &str| json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}]);
    let spec = json!({"driver": {"env": variable("mine")}});
    let job = on.job("secret", "echo \"got $A\"\nsleep 600", spec).await;
    let mut values = Values::default();
    let data = [("k".to_owned(), b"v-4711".to_vec().into())];
    job.plan.objects().into_iter().for_each(|object| values.insert(object.clone(), Some(data.clone().into())));
    on.try_start(&job, &values).await.unwrap();
    on.printed(&job, "got v-4711").await;
    let secrets = on.secrets().await;
    assert_eq!(secrets.len(), 1);
    let name = secrets[0].metadata.name.clone().unwrap();
    // Another job names it as it is called in the cluster: that is a secret of the platform, which does not exist.
    let thief = on.job("thief", "echo \"got $A\"", json!({"driver": {"env": variable(&name)}})).await;
    let mut none = Values::default();
    thief.plan.objects().into_iter().for_each(|object| none.insert(object.clone(), None));
    let refused = on.try_start(&thief, &none).await;
    assert!(matches!(&refused, Err(RunnerError::Job(text)) if text.contains(&name)), "{refused:?}");
    // In a field that the platform does not read, it is refused as well.
    for spec in [
        json!({"driver": {"secrets": [{"name": name, "path": "/s", "secretType": "Generic"}]}}),
        json!({"monitoring": {"prometheus": {"secretKeyRef": {"name": name, "key": "k"}}}}),
    ] {
        let thief = on.job("thief", "exit 0", spec).await;
        let mut none = Values::default();
        thief.plan.objects().into_iter().for_each(|object| none.insert(object.clone(), None));
        assert!(matches!(on.try_start(&thief, &none).await, Err(RunnerError::Job(_))));
    }
    on.runner.clean_up(&thief.run.job, true).await.unwrap();
    on.runner.stop(&job.run, Duration::ZERO).await.unwrap();
    on.runner.clean_up(&job.run.job, false).await.unwrap();
    assert_eq!(on.secrets().await.len(), 0, "a job that is over needs none");
    on.runner.clean_up(&job.run.job, true).await.unwrap();
    on.nothing_is_left().await;
}

async fn a_job_leaves_nothing(on: Platform) {
    let waiting = on.job("waiting", "exit 0", json!({})).await;
    let running = on.start("running", "echo here\nsleep 600", json!({})).await;
    let over = on.start("over", "exit 0", json!({})).await;
    on.printed(&running, "here").await;
    on.ended(&over).await;
    assert!(on.left().await >= 5);
    on.runner.stop(&running.run, Duration::from_secs(5)).await.unwrap();
    for job in [&waiting, &running, &over] {
        on.runner.clean_up(&job.run.job, true).await.unwrap();
    }
    on.nothing_is_left().await;
    assert_eq!(on.log(&running).await, "here\n");
}

async fn an_application_that_is_deleted_by_others_is_lost(on: Platform) {
    let job = on.start("deleted", "sleep 600", json!({})).await;
    on.running(&job).await;
    let name = format!("mlp-{}", job.run.job.id);
    on.applications().delete(&name, &DeleteParams::default()).await.unwrap();
    let why = on
        .until(&job, |status| match &status.state {
            RunState::Lost(why) => Some(why.clone()),
            _ => None,
        })
        .await;
    assert!(why.contains(&name), "{why}");
    on.runner.clean_up(&job.run.job, true).await.unwrap();
    on.nothing_is_left().await;
}

async fn a_server_that_is_started_again_goes_on(mut on: Platform) {
    let lines: String = (0..20).map(|line| format!("echo line {line}\nsleep 0.2\n")).collect();
    let job = on.start("goes-on", &lines, json!({})).await;
    for line in [3, 9, 15] {
        on.printed(&job, &format!("line {line}\n")).await;
        on.restart().await;
    }
    assert!(on.ended(&job).await.0.is_success());
    let expected: String = (0..20).map(|line| format!("line {line}\n")).collect();
    assert_eq!(on.log(&job).await, expected);
    on.restart().await;
    assert!(on.ended(&job).await.0.is_success(), "also from its records");
    on.runner.clean_up(&job.run.job, true).await.unwrap();
    on.nothing_is_left().await;
}

async fn what_the_operator_cannot_submit_says_why(on: Platform) {
    // More than a name of the cluster can have: its pod is refused, its application is not.
    let job = on.start("refused", "exit 0", json!({"driver": {"env": [{"name": "not=a=name", "value": "x"}]}})).await;
    let (end, _) = on.ended(&job).await;
    let text = end.text();
    assert!(!end.is_success() && text.contains("could not submit it") && text.contains("not=a=name"), "{text}");
    on.runner.clean_up(&job.run.job, true).await.unwrap();
    on.nothing_is_left().await;
}

async fn a_quota_refuses_the_job_and_not_the_platform(on: Platform) {
    let quotas: Api<ResourceQuota> = Api::default_namespaced(on.client.clone());
    let name = format!("{}-quota", on.name);
    // Of an object that only this test makes any of.
    let quota = json!({"metadata": {"name": name}, "spec": {"hard": {"count/secrets": "0"}}});
    let quota = quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    let counted = async {
        while quotas.get(&name).await.unwrap().status.and_then(|status| status.used).is_none_or(|used| used.is_empty())
        {
            sleep(LOOK).await;
        }
    };
    timeout(LATE, counted).await.unwrap();
    let env = json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]);
    let job = on.job("quota", "exit 0", json!({"driver": {"env": env}})).await;
    let mut values = Values::default();
    let data = [("k".to_owned(), b"v".to_vec().into())];
    job.plan.objects().into_iter().for_each(|object| values.insert(object.clone(), Some(data.clone().into())));
    let refused = on.try_start(&job, &values).await;
    quotas.delete(&quota.metadata.name.unwrap(), &DeleteParams::default()).await.unwrap();
    assert!(matches!(&refused, Err(RunnerError::Job(text)) if text.contains("exceeded quota")), "{refused:?}");
    on.runner.clean_up(&job.run.job, true).await.unwrap();
    on.nothing_is_left().await;
}

async fn what_a_user_may_not_set_is_refused(on: Platform) {
    for (spec, field) in [
        (json!({"driver": {"serviceAccount": "admin"}}), "spec.driver.serviceAccount"),
        (json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}), "spec.volumes"),
        (json!({"executor": {"securityContext": {"privileged": true}}}), "spec.executor.securityContext"),
        (
            json!({"sparkConf": {"spark.kubernetes.namespace": "kube-system"}}),
            "spec.sparkConf.spark.kubernetes.namespace",
        ),
    ] {
        let job = on.job("refused", "exit 0", spec).await;
        let refused = on.try_start(&job, &Values::default()).await;
        assert!(matches!(&refused, Err(RunnerError::Job(text)) if text.starts_with(field)), "{refused:?}");
        assert_eq!(on.applications().list(&on.labelled()).await.unwrap().items.len(), 0);
        on.runner.clean_up(&job.run.job, true).await.unwrap();
    }
    on.nothing_is_left().await;
}

async fn a_program_that_is_too_long_is_refused(on: Platform) {
    let cluster = on.cluster();
    let id = format!("{}-long", on.name);
    let refused = on.runner.upload(&cluster, &id, "job.py", vec![b'#'; (1 << 20) + 1]).await;
    assert!(matches!(&refused, Err(RunnerError::Job(text)) if text.contains("1048577")), "{refused:?}");
    on.nothing_is_left().await;
}
