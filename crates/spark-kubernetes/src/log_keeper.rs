//! Keeps the logs of drivers: each is followed while it runs, because the operator deletes a driver's pod before it runs it
//! again, and with it what it printed.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{AsyncReadExt, StreamExt, stream::FuturesUnordered};
use k8s_openapi::{api::core::v1::Pod, jiff::SignedDuration};
use kube::{Api, Error, api::LogParams};
use mlplatform_runner::{
    disk_space::Thresholds,
    log::{LogLimit, LogQuota, LogWriter},
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::spawn_blocking,
    time::{sleep, timeout},
};

use crate::{
    errors::is_gone,
    log_lines::{LogLines, Position},
    names::DRIVER_CONTAINER,
    records::{self, JobFolder},
    view::PodView,
};

const PIECE: usize = 64 * 1024;
/// How much earlier a log is asked for: `kube` rounds the time to a second, up as well as down, and a node's clock may be set
/// back.
const CLOCK: SignedDuration = SignedDuration::from_secs(30);
/// How often the position is written down: what was kept since is compared again after a crash.
const SAVE: Duration = Duration::from_secs(1);
/// Between two attempts to read.
const AGAIN: Duration = Duration::from_millis(500);
/// How long the log of a driver that has ended is asked for …
const PATIENCE: Duration = Duration::from_secs(60);
/// … and how long its stream may go on when its pod is gone.
const GONE: Duration = Duration::from_secs(5);
/// Attempts whose logs are known to be complete.
const ATTEMPTS: usize = 32;

/// What is known of the pod whose log is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PodState {
    Runs,
    Over,
    Gone,
}

#[derive(Debug)]
enum Log {
    Follows(watch::Sender<PodState>),
    Complete,
}

/// How far the log of a job is kept, as its file has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Progress {
    attempt: String,
    position: Position,
    /// The attempts whose logs are complete.
    complete: Vec<String>,
}

/// By job and attempt.
type Logs = HashMap<(String, String), Log>;

/// Follows the logs of all drivers of a cluster.
#[derive(Debug)]
pub(crate) struct LogKeeper {
    pods: Api<Pod>,
    root: PathBuf,
    limit: LogLimit,
    logs: Mutex<Logs>,
    /// The attempts of one job write one file, one after the other.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    changed: Arc<Notify>,
    found: mpsc::UnboundedSender<Found>,
    to_follow: tokio::sync::Mutex<mpsc::UnboundedReceiver<Found>>,
}

/// A driver whose log is to be followed.
#[derive(Debug)]
struct Found {
    job: String,
    attempt: String,
    pod: String,
    state: watch::Receiver<PodState>,
}

impl LogKeeper {
    pub(crate) fn new(pods: Api<Pod>, root: PathBuf, limit: LogLimit, changed: Arc<Notify>) -> Self {
        // As many as there are drivers.
        let (found, to_follow) = mpsc::unbounded_channel();
        let to_follow = tokio::sync::Mutex::new(to_follow);
        Self { pods, root, limit, logs: Mutex::default(), turns: Mutex::default(), changed, found, to_follow }
    }

    /// Follows the logs of the drivers that are seen. When it is dropped nobody writes logs any more, so that another server
    /// may.
    pub(crate) async fn work(&self) {
        let mut to_follow = self.to_follow.lock().await;
        let mut following = FuturesUnordered::new();
        // Those that were followed before are seen again.
        while to_follow.try_recv().is_ok() {}
        self.logs().retain(|_, log| matches!(log, Log::Complete));
        loop {
            tokio::select! {
                Some(found) = to_follow.recv() => following.push(self.follow(found)),
                Some(()) = following.next() => {}
            }
        }
    }

    fn logs(&self) -> std::sync::MutexGuard<'_, Logs> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A driver was seen; `is_gone`: its pod was deleted.
    pub(crate) fn saw(&self, pod: &PodView, is_gone: bool) {
        if !pod.is_driver || (pod.started_at.is_none() && !pod.is_over && !is_gone) {
            return;
        }
        let state = match (is_gone, pod.is_over || pod.end.is_some()) {
            (true, _) => PodState::Gone,
            (false, true) => PodState::Over,
            (false, false) => PodState::Runs,
        };
        let key = (pod.job.clone(), pod.attempt.clone());
        let mut logs = self.logs();
        match logs.get(&key) {
            Some(Log::Follows(known)) => {
                known.send_if_modified(|known| {
                    let is_news = *known != state && *known != PodState::Gone;
                    if is_news {
                        *known = state;
                    }
                    is_news
                });
            }
            Some(Log::Complete) => {}
            None => {
                let (sender, receiver) = watch::channel(state);
                logs.insert(key, Log::Follows(sender));
                let (job, attempt) = (pod.job.clone(), pod.attempt.clone());
                // The other end is a field of this.
                let _ = self.found.send(Found { job, attempt, pod: pod.name.clone(), state: receiver });
            }
        }
    }

    /// Whether all is kept that an attempt has printed, as far as it can be had; `None`: nothing is known of it.
    pub(crate) async fn is_complete(&self, job: &str, attempt: &str) -> io::Result<Option<bool>> {
        match self.logs().get(&(job.to_owned(), attempt.to_owned())) {
            Some(Log::Complete) => return Ok(Some(true)),
            Some(Log::Follows(_)) => return Ok(Some(false)),
            None => {}
        }
        let path = JobFolder::new(&self.root, job).position();
        let progress = blocking(move || records::read::<Progress>(&path)).await?.unwrap_or_default();
        Ok(progress.complete.iter().any(|known| known == attempt).then_some(true))
    }

    /// There is nothing to be had of an attempt: its pod was gone before it was seen.
    pub(crate) fn give_up(&self, job: &str, attempt: &str) {
        self.logs().entry((job.to_owned(), attempt.to_owned())).or_insert(Log::Complete);
        self.changed.notify_one();
    }

    /// Nobody asks for a job's runs any more.
    pub(crate) fn forget(&self, job: &str) {
        self.logs().retain(|(known, _), log| known != job || matches!(log, Log::Follows(_)));
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).remove(job);
    }

    async fn follow(&self, found: Found) {
        let Found { job, attempt, pod, state } = found;
        let turn =
            Arc::clone(self.turns.lock().unwrap_or_else(PoisonError::into_inner).entry(job.clone()).or_default());
        let _turn = turn.lock().await;
        if let Err(error) = self.keep(&job, &attempt, &pod, state).await {
            tracing::error!("the log of {pod} cannot be kept: {error}");
        }
        self.logs().insert((job, attempt), Log::Complete);
        self.changed.notify_one();
    }

    /// Returns when the log is complete, or what is missing cannot be had.
    async fn keep(&self, job: &str, attempt: &str, pod: &str, mut state: watch::Receiver<PodState>) -> io::Result<()> {
        let folder = JobFolder::new(&self.root, job);
        let quota = LogQuota { limit: self.limit.0, free: Thresholds::at(&self.root).logs };
        let mut kept = blocking({
            let (folder, attempt) = (folder, attempt.to_owned());
            move || KeptLog::open(&folder, &attempt, quota)
        })
        .await?;
        let mut patience: Option<Instant> = None;
        loop {
            let before = *state.borrow_and_update();
            if before != PodState::Runs && patience.is_none() {
                patience = Some(Instant::now());
            }
            let is_late = patience.is_some_and(|since| since.elapsed() > PATIENCE);
            let (returned, read) = self.read(pod, kept, &mut state).await?;
            kept = returned;
            match read {
                // It was asked for when nothing more could come.
                Ok(()) if before != PodState::Runs => break,
                Err(error) if is_gone(&error) => break,
                Ok(()) => {
                    let _ = timeout(AGAIN, state.changed()).await;
                }
                Err(error) if is_late || before == PodState::Gone => {
                    tracing::warn!("the end of the log of {pod} is missing: {error}");
                    break;
                }
                Err(error) => {
                    tracing::debug!("the log of {pod} is read again: {error}");
                    sleep(AGAIN).await;
                }
            }
        }
        blocking(move || kept.complete()).await
    }

    /// Reads a stream to its end.
    async fn read(
        &self,
        pod: &str,
        mut kept: KeptLog,
        state: &mut watch::Receiver<PodState>,
    ) -> io::Result<(KeptLog, Result<(), Error>)> {
        let position = kept.progress.position.clone();
        let params = LogParams {
            container: Some(DRIVER_CONTAINER.to_owned()),
            follow: true,
            timestamps: true,
            since_time: position.time.and_then(|time| time.checked_sub(CLOCK).ok()),
            ..LogParams::default()
        };
        let mut stream = match self.pods.log_stream(pod, &params).await {
            Ok(stream) => Box::pin(stream),
            Err(error) => return Ok((kept, Err(error))),
        };
        let mut lines = LogLines::new(position, kept.writer.end());
        let mut piece = vec![0; PIECE];
        loop {
            let read = tokio::select! {
                read = stream.read(&mut piece) => read,
                () = gone(state) => Err(io::ErrorKind::TimedOut.into()),
            };
            let length = match read {
                Ok(0) => return Ok((kept, Ok(()))),
                Ok(length) => length,
                Err(error) => return Ok((kept, Err(Error::ReadEvents(error)))),
            };
            let bytes = lines.take(piece.get(..length).unwrap_or_default());
            kept.progress.position = lines.position().clone();
            kept = blocking(move || {
                kept.add(&bytes)?;
                Ok(kept)
            })
            .await?;
            self.changed.notify_one();
        }
    }
}

/// Resolves some time after the pod is gone.
async fn gone(state: &mut watch::Receiver<PodState>) {
    if state.wait_for(|state| *state == PodState::Gone).await.is_err() {
        std::future::pending::<()>().await;
    }
    sleep(GONE).await;
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// The file of a log, and how far it is written.
struct KeptLog {
    writer: LogWriter,
    folder: JobFolder,
    progress: Progress,
    saved: Instant,
}

impl KeptLog {
    fn open(folder: &JobFolder, attempt: &str, quota: LogQuota) -> io::Result<Self> {
        folder.create()?;
        let writer = LogWriter::open(&folder.log(), quota)?;
        let mut progress: Progress = records::read(&folder.position())?.unwrap_or_default();
        if progress.attempt != attempt {
            let position = Position { bytes: writer.end(), ..Position::default() };
            progress = Progress { attempt: attempt.to_owned(), position, complete: progress.complete };
            records::write(&folder.position(), &progress)?;
        }
        Ok(Self { writer, folder: folder.clone(), progress, saved: Instant::now() })
    }

    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write(bytes);
        if self.saved.elapsed() >= SAVE {
            self.save()?;
        }
        Ok(())
    }

    fn save(&mut self) -> io::Result<()> {
        self.writer.flush_gaps();
        self.saved = Instant::now();
        records::write(&self.folder.position(), &self.progress)
    }

    fn complete(mut self) -> io::Result<()> {
        self.progress.complete.push(self.progress.attempt.clone());
        let excess = self.progress.complete.len().saturating_sub(ATTEMPTS);
        self.progress.complete.drain(..excess);
        self.save()
    }
}
