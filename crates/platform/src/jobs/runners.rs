//! The runner of all clusters: each cluster's calls go to the runner of its kind, this machine's or that of a cluster of
//! Kubernetes.

use std::{
    collections::{HashMap, HashSet},
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{
    StreamExt,
    future::{BoxFuture, join_all, select_all},
    stream::FuturesUnordered,
};
use mlplatform_protocol::clusters::NodeUsage;
use mlplatform_runner::{
    runner::{
        Answer, ClusterRef, JobRef, KnownJobs, LogChunk, PreparedRun, Run, RunId, RunState, RunStatus, Runner,
        RunnerError, RunnerEvent,
    },
    values::Values,
};
use mlplatform_store::{Store, query};
use serde_json::Value;
use tokio::{sync::Notify, time::timeout};

use crate::error::Result;

/// What a cluster elsewhere may take to tell the states of its runs, before the others go on without it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the runner of a cluster of Kubernetes, of the cluster's id and its settings.
pub type MakeRunner = Box<dyn Fn(&str, &str) -> BoxFuture<'static, Result<Arc<dyn Runner>, RunnerError>> + Send + Sync>;

/// Clusters on this machine, and those elsewhere.
pub struct Runners {
    local: Arc<dyn Runner>,
    make: MakeRunner,
    store: Store,
    /// By the cluster's id; `None`: it is this machine.
    known: Mutex<HashMap<String, Option<Arc<dyn Runner>>>>,
    unreachable: Mutex<HashSet<String>>,
    /// There is one more, whose work is to begin …
    to_work: Notify,
    /// … and whose changes count.
    to_watch: Notify,
}

impl fmt::Debug for Runners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runners").field("local", &self.local).field("known", &self.known).finish_non_exhaustive()
    }
}

impl Runners {
    /// Which cluster is of which kind, the store says.
    #[must_use]
    pub fn new(local: Arc<dyn Runner>, store: Store, make: MakeRunner) -> Self {
        Self {
            local,
            make,
            store,
            known: Mutex::default(),
            unreachable: Mutex::default(),
            to_work: Notify::new(),
            to_watch: Notify::new(),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Option<Arc<dyn Runner>>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cached(&self, cluster: &str) -> Option<Arc<dyn Runner>> {
        self.known().get(cluster).map(|known| known.clone().unwrap_or_else(|| Arc::clone(&self.local)))
    }

    /// Those elsewhere.
    fn others(&self) -> Vec<(String, Arc<dyn Runner>)> {
        self.known().iter().filter_map(|(id, runner)| Some((id.clone(), runner.clone()?))).collect()
    }

    async fn with_settings(&self, cluster: &str, settings: Option<&str>) -> Result<Arc<dyn Runner>, RunnerError> {
        if let Some(runner) = self.cached(cluster) {
            return Ok(runner);
        }
        let made = match settings {
            Some(settings) => Some((self.make)(cluster, settings).await?),
            None => None,
        };
        // Another may have made one meanwhile: there is only one.
        let runner = self.known().entry(cluster.to_owned()).or_insert(made).clone();
        self.to_work.notify_one();
        self.to_watch.notify_one();
        Ok(runner.unwrap_or_else(|| Arc::clone(&self.local)))
    }

    async fn of(&self, cluster: &ClusterRef) -> Result<Arc<dyn Runner>, RunnerError> {
        self.with_settings(&cluster.id, cluster.kubernetes.as_deref()).await
    }

    async fn of_job(&self, cluster: &str) -> Result<Arc<dyn Runner>, RunnerError> {
        if let Some(runner) = self.cached(cluster) {
            return Ok(runner);
        }
        let settings = self.settings(cluster).await.map_err(unreadable)?;
        self.with_settings(cluster, settings.as_deref()).await
    }

    async fn settings(&self, cluster: &str) -> Result<Option<String>> {
        let found: Option<Option<String>> = query("SELECT kubernetes FROM clusters WHERE id = $1")
            .bind(cluster)
            .optional_scalar(&mut self.store.read().await?)
            .await?;
        Ok(found.flatten())
    }

    async fn elsewhere(&self) -> Result<Vec<(String, String)>> {
        let found = query("SELECT id, kubernetes FROM clusters WHERE kubernetes IS NOT NULL AND gone_at IS NULL")
            .all(&mut self.store.read().await?)
            .await?;
        Ok(found)
    }

    /// The states of runs of one cluster. A cluster elsewhere that cannot be asked keeps nobody waiting.
    async fn of_cluster(&self, cluster: &str, runs: &[RunId]) -> Result<Vec<RunStatus>, RunnerError> {
        let asked = async { self.of_job(cluster).await?.status(runs).await };
        if self.known().get(cluster).is_some_and(Option::is_none) {
            return asked.await;
        }
        let answer = timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
            let error = io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
            Err(RunnerError::transient("asking a cluster on Kubernetes")(error))
        });
        let mut unreachable = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(found) => {
                if unreachable.remove(cluster) {
                    tracing::info!("the cluster {cluster} can be asked again");
                }
                Ok(found)
            }
            Err(error) => {
                let causes = crate::error::causes(&error);
                if unreachable.insert(cluster.to_owned()) {
                    tracing::warn!("the cluster {cluster} cannot be asked about its jobs: {error}: {causes:?}");
                }
                let why = format!("its cluster cannot be asked: {error}");
                let unknown = RunStatus { state: RunState::Pending(Some(why)), started_at: None, attempts: None };
                Ok(vec![unknown; runs.len()])
            }
        }
    }
}

fn unreadable(error: crate::error::Error) -> RunnerError {
    RunnerError::transient("reading which kind a cluster is")(io::Error::other(error))
}

async fn work(runner: Arc<dyn Runner>) {
    runner.work().await;
}

async fn changed(runner: Arc<dyn Runner>) {
    runner.changed().await;
}

impl Runner for Runners {
    fn restarts_jobs(&self, cluster: &str) -> bool {
        self.cached(cluster).unwrap_or_else(|| Arc::clone(&self.local)).restarts_jobs(cluster)
    }

    fn work(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut working = FuturesUnordered::from_iter([work(Arc::clone(&self.local))]);
            let mut begun = HashSet::new();
            loop {
                for (id, runner) in self.others() {
                    if begun.insert(id) {
                        working.push(work(runner));
                    }
                }
                tokio::select! {
                    () = self.to_work.notified() => {}
                    Some(()) = working.next() => {}
                }
            }
        })
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let others = self.others().into_iter().map(|(_, runner)| runner);
            let all = others.chain([Arc::clone(&self.local)]).map(|runner| Box::pin(changed(runner)));
            tokio::select! {
                _ = select_all(all) => {}
                () = self.to_watch.notified() => {}
            }
        })
    }

    fn ensure<'a>(&'a self, cluster: &'a ClusterRef) -> Answer<'a, ()> {
        Box::pin(async move { self.of(cluster).await?.ensure(cluster).await })
    }

    fn nodes<'a>(&'a self, cluster: &'a ClusterRef) -> Answer<'a, Vec<NodeUsage>> {
        Box::pin(async move { self.of(cluster).await?.nodes(cluster).await })
    }

    fn remove<'a>(&'a self, cluster: &'a ClusterRef) -> Answer<'a, ()> {
        Box::pin(async move { self.of(cluster).await?.remove(cluster).await })
    }

    /// A cluster elsewhere that cannot be reached does not keep a server from starting.
    fn reconcile(&self, known: KnownJobs) -> Answer<'_, ()> {
        Box::pin(async move {
            let elsewhere = self.elsewhere().await.map_err(unreadable)?;
            let known = &known;
            let others = elsewhere.iter().map(|(cluster, settings)| async move {
                let done = async { self.with_settings(cluster, Some(settings)).await?.reconcile(known.clone()).await };
                if let Err(error) = done.await {
                    let causes = crate::error::causes(&error);
                    tracing::warn!("the cluster {cluster} is not cleaned up at this start: {error}: {causes:?}");
                }
            });
            let (local, _) = tokio::join!(self.local.reconcile(known.clone()), join_all(others));
            local
        })
    }

    fn upload<'a>(
        &'a self,
        cluster: &'a ClusterRef,
        job: &'a str,
        name: &'a str,
        content: Vec<u8>,
    ) -> Answer<'a, String> {
        Box::pin(async move { self.of(cluster).await?.upload(cluster, job, name, content).await })
    }

    fn remove_upload(&self, cluster: &ClusterRef, job: &str) {
        // Of a cluster that was never used here, nothing was stored.
        if let Some(runner) = self.cached(&cluster.id) {
            runner.remove_upload(cluster, job);
        }
    }

    fn check<'a>(&'a self, run: Run<'a>, values: &'a Values) -> Answer<'a, Vec<String>> {
        Box::pin(async move { self.of(run.cluster).await?.check(run, values).await })
    }

    fn ready<'a>(&'a self, cluster: &'a ClusterRef) -> Answer<'a, ()> {
        Box::pin(async move { self.of(cluster).await?.ready(cluster).await })
    }

    fn prepare<'a>(&'a self, run: Run<'a>, values: &'a Values) -> Answer<'a, PreparedRun<'a>> {
        Box::pin(async move {
            if run.cluster.kubernetes.is_none() {
                return self.local.prepare(run, values).await;
            }
            let runner = self.of(run.cluster).await?;
            let log_from = runner.prepare(run, values).await?.log_from;
            // What was prepared cannot outlive the reference to its runner; it may be prepared again, which costs a look.
            let start = async move { runner.prepare(run, values).await?.start().await };
            Ok(PreparedRun::new(log_from, Box::pin(start)))
        })
    }

    fn status<'a>(&'a self, runs: &'a [RunId]) -> Answer<'a, Vec<RunStatus>> {
        Box::pin(async move {
            let mut clusters: HashMap<&str, Vec<usize>> = HashMap::new();
            for (index, run) in runs.iter().enumerate() {
                clusters.entry(&run.job.cluster).or_default().push(index);
            }
            let asked = clusters.into_iter().map(|(cluster, indices)| async move {
                let of_cluster: Vec<RunId> = indices.iter().filter_map(|index| runs.get(*index).cloned()).collect();
                let found = self.of_cluster(cluster, &of_cluster).await?;
                Ok::<_, RunnerError>(indices.into_iter().zip(found).collect::<Vec<_>>())
            });
            let mut all = Vec::with_capacity(runs.len());
            for found in join_all(asked).await {
                all.extend(found?);
            }
            all.sort_by_key(|(index, _)| *index);
            Ok(all.into_iter().map(|(_, status)| status).collect())
        })
    }

    fn stop<'a>(&'a self, run: &'a RunId, grace: Duration) -> Answer<'a, ()> {
        Box::pin(async move { self.of_job(&run.job.cluster).await?.stop(run, grace).await })
    }

    fn forget<'a>(&'a self, run: &'a RunId) -> Answer<'a, ()> {
        Box::pin(async move { self.of_job(&run.job.cluster).await?.forget(run).await })
    }

    fn clean_up<'a>(&'a self, job: &'a JobRef, deleted: bool) -> Answer<'a, ()> {
        Box::pin(async move { self.of_job(&job.cluster).await?.clean_up(job, deleted).await })
    }

    fn log<'a>(&'a self, job: &'a JobRef, offset: u64, most: usize) -> Answer<'a, Option<LogChunk>> {
        Box::pin(async move { self.of_job(&job.cluster).await?.log(job, offset, most).await })
    }

    fn limit_logs(&self, jobs: Vec<(JobRef, bool)>) -> Answer<'_, Vec<(JobRef, RunnerEvent)>> {
        Box::pin(async move {
            let Some(cluster) = jobs.first().map(|(job, _)| job.cluster.clone()) else { return Ok(Vec::new()) };
            self.of_job(&cluster).await?.limit_logs(jobs).await
        })
    }

    fn events<'a>(&'a self, job: &'a JobRef, after: Option<&'a str>) -> Answer<'a, Vec<RunnerEvent>> {
        Box::pin(async move { self.of_job(&job.cluster).await?.events(job, after).await })
    }

    fn describe<'a>(&'a self, job: &'a JobRef) -> Answer<'a, Option<Value>> {
        Box::pin(async move { self.of_job(&job.cluster).await?.describe(job).await })
    }

    fn with_user_paths(&self, job: &JobRef, text: String) -> String {
        self.cached(&job.cluster).unwrap_or_else(|| Arc::clone(&self.local)).with_user_paths(job, text)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use mlplatform_runner::{
        conformance::{CASES, Fixture},
        memory::MemoryRunner,
    };

    use super::*;
    use crate::store;

    async fn runners(local: MemoryRunner, make: MakeRunner) -> (Runners, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let store = store::open(&folder.path().join("db")).await.unwrap();
        (Runners::new(Arc::new(local), store, make), folder)
    }

    fn cluster(id: &str, kubernetes: Option<&str>) -> ClusterRef {
        let kubernetes = kubernetes.map(str::to_owned);
        ClusterRef { id: id.to_owned(), name: id.to_owned(), bucket: id.to_owned(), kubernetes }
    }

    #[tokio::test]
    async fn conforms() {
        for (name, case) in CASES {
            let make: MakeRunner = Box::new(|_, _| Box::pin(async { panic!("all clusters are here") }));
            let (runners, _folder) = runners(MemoryRunner::default(), make).await;
            let fixture = Fixture::new(Arc::new(runners)).await;
            timeout(Duration::from_secs(60), case(fixture)).await.unwrap_or_else(|_| panic!("{name} does not end"));
        }
    }

    #[tokio::test]
    async fn a_cluster_has_one_runner_of_its_kind() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let make: MakeRunner = Box::new(move |cluster, settings| {
            assert_eq!((cluster, settings), ("there", "{}"));
            count.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Ok(Arc::new(MemoryRunner::that_repeats(1)) as Arc<dyn Runner>) })
        });
        let (runners, _folder) = runners(MemoryRunner::default(), make).await;
        for _ in 0..3 {
            runners.ensure(&cluster("here", None)).await.unwrap();
            runners.ensure(&cluster("there", Some("{}"))).await.unwrap();
        }
        assert_eq!(made.load(Ordering::Relaxed), 1);
        let repeats = ["here", "there", "unknown"].map(|cluster| runners.restarts_jobs(cluster));
        assert_eq!(repeats, [false, true, false]);
        // Its job's program is there, and not here.
        let address = runners.upload(&cluster("there", Some("{}")), "j", "job.py", b"exit 0".to_vec()).await.unwrap();
        assert_eq!(address, "memory://there/j/job.py");
    }

    #[tokio::test]
    async fn a_cluster_that_cannot_be_asked_keeps_nobody_waiting() {
        let make: MakeRunner =
            Box::new(|_, _| Box::pin(async { Err(RunnerError::Unavailable("no credentials".to_owned())) }));
        let (runners, _folder) = runners(MemoryRunner::default(), make).await;
        let refused = runners.ensure(&cluster("there", Some("{}"))).await;
        assert!(matches!(refused, Err(RunnerError::Unavailable(_))), "{refused:?}");
        let job = |cluster: &str| JobRef { id: "j".to_owned(), cluster: cluster.to_owned(), name: "j".to_owned() };
        let insert = "INSERT INTO clusters (id, name, phase, phase_since, max_cores, max_memory, bucket, registry_id, info, \
                      last_active_at, created_at, kubernetes) VALUES ($1, $1, 'start', 0, 1, 1, $1, $1, '{}', 0, 0, $2)";
        let mut tx = runners.store.begin(mlplatform_store::Mode::Exclusive).await.unwrap();
        query(insert).bind("there").bind("{}").execute(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        let runs = ["there", "here", "there"].map(|cluster| RunId { job: job(cluster), number: 1 });
        let found = runners.status(&runs).await.unwrap();
        for index in [0, 2] {
            let RunState::Pending(Some(why)) = &found[index].state else { panic!("{found:?}") };
            assert!(why.contains("no credentials"), "{why}");
        }
        assert_eq!(found[1].state, RunState::NotStarted);
        // A server starts all the same.
        runners.reconcile(KnownJobs::default()).await.unwrap();
    }
}
