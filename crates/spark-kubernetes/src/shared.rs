//! What the parts of the runner share: the API, what is seen of the cluster, what is kept on disk.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod, Secret};
use kube::{Api, Client, api::ListParams, core::DynamicObject};
use mlplatform_runner::{
    runner::{RunnerError, RunnerEvent},
    termination::Termination,
};
use tokio::{sync::Notify, task::spawn_blocking};

use crate::{
    application,
    errors::{ask, ask_for},
    log_keeper::LogKeeper,
    names,
    records::{JobFolder, Record},
    settings::KubernetesConfig,
    view::{ApplicationView, PodView},
};

/// What is seen of a job.
#[derive(Debug, Default)]
pub(crate) struct JobView {
    pub(crate) application: Option<ApplicationView>,
    /// By uid.
    pub(crate) pods: HashMap<String, PodView>,
    /// The last driver that was seen to have ended: the operator deletes its pod before it runs it again.
    pub(crate) last_driver: Option<PodView>,
    pub(crate) events: VecDeque<RunnerEvent>,
    /// Its run is being ended: that its application is gone, is no loss.
    pub(crate) is_stopping: bool,
}

impl JobView {
    /// The driver of an attempt.
    pub(crate) fn driver(&self, attempt: Option<&str>) -> Option<&PodView> {
        let of_attempt = |pod: &&PodView| pod.is_driver && attempt.is_none_or(|attempt| pod.attempt == attempt);
        self.pods.values().find(of_attempt).or_else(|| self.last_driver.as_ref().filter(of_attempt))
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: KubernetesConfig,
    pub(crate) namespace: String,
    pub(crate) applications: Api<DynamicObject>,
    pub(crate) pods: Api<Pod>,
    pub(crate) secrets: Api<Secret>,
    pub(crate) config_maps: Api<ConfigMap>,
    pub(crate) events: Api<Event>,
    pub(crate) logs: LogKeeper,
    pub(crate) changed: Arc<Notify>,
    /// Pods or logs have changed, for all who wait for an end.
    pub(crate) ended: Notify,
    /// Programs that are being removed.
    pub(crate) removed_programs: Mutex<HashSet<String>>,
    jobs: Mutex<HashMap<String, JobView>>,
    /// One at a time changes the records of runs, and cuts logs.
    disk: Mutex<()>,
}

impl Shared {
    pub(crate) async fn new(config: KubernetesConfig) -> Result<Self, RunnerError> {
        let (client, namespace) = config.connect().await?;
        let changed = Arc::new(Notify::new());
        let pods: Api<Pod> = namespaced(&client, &namespace);
        let logs = LogKeeper::new(pods.clone(), config.folder.clone(), config.longest_log, Arc::clone(&changed));
        Ok(Self {
            applications: Api::namespaced_with(client.clone(), &namespace, &application::kind()),
            pods,
            secrets: namespaced(&client, &namespace),
            config_maps: namespaced(&client, &namespace),
            events: namespaced(&client, &namespace),
            logs,
            changed,
            ended: Notify::new(),
            removed_programs: Mutex::default(),
            jobs: Mutex::default(),
            disk: Mutex::default(),
            namespace,
            config,
        })
    }

    pub(crate) fn jobs(&self) -> MutexGuard<'_, HashMap<String, JobView>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn folder(&self, job: &str) -> JobFolder {
        JobFolder::new(&self.config.folder, job)
    }

    pub(crate) fn saw_application(&self, object: &DynamicObject) -> Option<ApplicationView> {
        let seen = ApplicationView::read(object)?;
        self.jobs().entry(seen.job.clone()).or_default().application = Some(seen.clone());
        self.changed.notify_one();
        Some(seen)
    }

    pub(crate) fn saw_pod(&self, pod: &Pod, is_gone: bool) {
        let Some(seen) = PodView::read(pod) else { return };
        self.logs.saw(&seen, is_gone);
        let mut jobs = self.jobs();
        let job = jobs.entry(seen.job.clone()).or_default();
        if seen.is_driver && (seen.end.is_some() || is_gone) {
            // What is known of an end stays, whatever is seen of the same pod after it.
            let known = job.last_driver.as_ref().is_some_and(|known| known.uid == seen.uid && known.end.is_some());
            if !known {
                job.last_driver = Some(seen.clone());
            }
        }
        if is_gone {
            job.pods.remove(&seen.uid);
        } else {
            job.pods.insert(seen.uid.clone(), seen);
        }
        drop(jobs);
        self.changed.notify_one();
        self.ended.notify_waiters();
    }

    /// The application of a job, as it is now.
    pub(crate) async fn find_application(&self, job: &str) -> Result<Option<ApplicationView>, RunnerError> {
        let name = names::application(job);
        let found = ask_for("reading a SparkApplication", self.applications.get(&name)).await?;
        let Some(found) = found else {
            if let Some(seen) = self.jobs().get_mut(job) {
                seen.application = None;
            }
            return Ok(None);
        };
        match ApplicationView::read(&found).filter(|seen| seen.job == job) {
            Some(_) => Ok(self.saw_application(&found)),
            None => Err(RunnerError::Job(format!(
                "there is a SparkApplication '{name}' in the namespace '{}' that the platform did not make: delete it",
                self.namespace
            ))),
        }
    }

    /// The pods of a job, as they are now.
    pub(crate) async fn find_pods(&self, job: &str) -> Result<Vec<PodView>, RunnerError> {
        let params = ListParams::default().labels(&names::of_job(&self.config.platform, job));
        let found = ask("listing a job's pods", self.pods.list(&params)).await?;
        for pod in &found {
            self.saw_pod(pod, false);
        }
        Ok(found.iter().filter_map(PodView::read).collect())
    }

    /// Works with the files of a job on a thread that may wait for the disk.
    pub(crate) async fn on_disk<T: Send + 'static>(
        self: &Arc<Self>,
        action: &'static str,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T, RunnerError> {
        let shared = Arc::clone(self);
        let done = spawn_blocking(move || {
            let _turn = shared.disk.lock().unwrap_or_else(PoisonError::into_inner);
            work(&shared)
        });
        done.await.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(RunnerError::transient(action))
    }

    pub(crate) async fn record(self: &Arc<Self>, job: &str, run: i64) -> Result<Option<Record>, RunnerError> {
        let job = job.to_owned();
        self.on_disk("reading what is known of a run", move |shared| shared.folder(&job).record(run)).await
    }

    /// Remembers how a run ended.
    pub(crate) async fn note_end(
        self: &Arc<Self>,
        application: &ApplicationView,
        started_at: Option<jiff::Timestamp>,
        end: &Termination,
    ) -> Result<(), RunnerError> {
        let (seen, end) = (application.clone(), end.clone());
        self.on_disk("noting the end of a run", move |shared| {
            shared.folder(&seen.job).note(seen.run, |record| {
                record.log_from = seen.log_from;
                record.started_at = started_at;
                record.attempts = Some(seen.attempts);
                record.end.get_or_insert(end);
            })
        })
        .await
    }
}

fn namespaced<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    Api::namespaced(client.clone(), namespace)
}
