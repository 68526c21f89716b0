//! Logs of jobs, read piece by piece, so that a log of any size takes as much memory as a short one.
//!
//! Where bytes were dropped, an answer ends, and says so: whoever asks for what follows gets a line in their place, which
//! ends where they end, so that every offset is right. A page of the console has the whole log in one answer.

use std::{io, time::Duration};

use futures_util::stream::{self, BoxStream, StreamExt};
use mlplatform_protocol::jobs::{JobLogsRequest, JobRequest, LONGEST_LOG_WAIT_MS};
use mlplatform_runner::runner::{JobRef, LogChunk, Runner};
use mlplatform_store::Subscription;
use tokio::{sync::Semaphore, time::Instant};

use super::{
    form::bad,
    lookup,
    row::{self, JobRow},
};
use crate::{
    app::App,
    error::{Error, Result},
};

/// One read, one piece of the answer: large enough that the way to it does not matter.
const PIECE: usize = 256 * 1024;
/// How often a log is read again for more.
const LOOK: Duration = Duration::from_millis(50);
/// How far back from its end the lines of a tail are searched: half of what a client holds.
const FARTHEST: u64 = 256 * 1024 * 1024;
/// One step of that search: what is stopped is stopped after it.
const STEP: u64 = 1024 * 1024;
/// So many search at once: it is work for a processor and a disk.
static SEARCHES: Semaphore = Semaphore::const_new(2);
/// What an explanation reads of a log.
const END: u64 = 256 * 1024;

/// An answer with a part of a log.
pub struct LogAnswer {
    /// Where it begins.
    pub from: u64,
    /// Where it ends because bytes were dropped from there on.
    pub gap: Option<u64>,
    /// How many bytes were dropped from the offset that was asked for.
    pub dropped: Option<u64>,
    /// Nothing comes after it.
    pub is_final: bool,
    /// The bytes, as they are read.
    pub body: BoxStream<'static, io::Result<Vec<u8>>>,
}

/// `spark_job_logs`: the log from an offset or a number of lines from its end, going on while the job writes for as long
/// as was asked. No lines at all (`tail=0`) means that the end of the job is waited for, and nothing is sent.
///
/// # Errors
/// When there never was such a job, the offset lies behind the end, or the store fails.
pub async fn spark_job_logs(app: &App, request: JobLogsRequest) -> Result<LogAnswer> {
    answer(app, request, false).await
}

/// The log from its begin as it is, with a line where bytes were dropped.
///
/// # Errors
/// When there never was such a job, or the store fails.
pub async fn full_log(app: &App, job: JobRequest) -> Result<LogAnswer> {
    let JobRequest { cluster_id, job_name } = job;
    answer(app, JobLogsRequest { cluster_id, job_name, offset: None, tail: None, wait_ms: None }, true).await
}

/// `through_gaps`: it does not end where bytes were dropped.
async fn answer(app: &App, request: JobLogsRequest, through_gaps: bool) -> Result<LogAnswer> {
    let wait = request.wait_ms.unwrap_or(0);
    if wait > LONGEST_LOG_WAIT_MS {
        return Err(bad(format!(
            "wait_ms: {wait} is longer than {LONGEST_LOG_WAIT_MS}: ask again from where it ended"
        )));
    }
    if request.tail.is_some() && request.offset.is_some() {
        return Err(bad("tail, offset: give one of them"));
    }
    let named = JobRequest { cluster_id: request.cluster_id, job_name: request.job_name };
    // Whatever changes the job after this was looked at notifies it.
    let changes = app.store().subscribe(row::TOPIC);
    let job = lookup::last(app, &named).await?;
    // Before the log is looked at: what it holds now is then all that will ever be in it.
    let over = job.is_over();
    let (id, job) = (job.id.clone(), job.job_ref());
    let runner = app.jobs().runner().as_ref();
    let from = begin(runner, &job, request.offset, request.tail).await?;
    let gap = match from {
        Some(from) if !through_gaps => runner.log(&job, from, 0).await?.and_then(|chunk| chunk.next_gap),
        _ => None,
    };
    let from = from.unwrap_or(0);
    let reader = Reader {
        app: app.clone(),
        id,
        job,
        offset: from,
        until: Instant::now() + Duration::from_millis(wait),
        over,
        changes,
        through_gaps,
        silent: request.tail == Some(0),
    };
    let pieces = stream::unfold(reader, |mut reader| async move {
        let piece = reader.next().await.transpose()?;
        Some((piece, reader))
    });
    let dropped = request.offset.map(|asked| from.saturating_sub(asked)).filter(|dropped| *dropped > 0);
    Ok(LogAnswer { from, gap, dropped, is_final: over && gap.is_none(), body: pieces.boxed() })
}

/// Where to begin; `None`: there is no log yet.
async fn begin(runner: &dyn Runner, job: &JobRef, offset: Option<u64>, tail: Option<u64>) -> Result<Option<u64>> {
    let asked = offset.unwrap_or(0);
    let Some(chunk) = runner.log(job, asked, 1).await? else {
        return if asked > 0 { Err(behind(asked, 0)) } else { Ok(None) };
    };
    if asked > chunk.size {
        return Err(behind(asked, chunk.size));
    }
    Ok(Some(match tail {
        Some(lines) => lines_from_end(runner, job, chunk.size, lines).await?,
        // In a gap, where its line begins.
        None => chunk.from,
    }))
}

fn behind(offset: u64, size: u64) -> Error {
    bad(format!("offset: {offset} lies behind the end of the log, which has {size} bytes"))
}

/// Where the last so many lines begin: behind the last gap, and not farther from the end than [`FARTHEST`]. A line break
/// at the very end begins none. Each step is awaited: a server that stops waits for one of them at most.
async fn lines_from_end(runner: &dyn Runner, job: &JobRef, size: u64, lines: u64) -> Result<u64> {
    if lines == 0 {
        return Ok(size);
    }
    let _permit = SEARCHES.acquire().await.map_err(|_| Error::Fault("a semaphore was closed"))?;
    let floor = size.saturating_sub(FARTHEST);
    let (mut end, mut found, mut first) = (size, 0, None);
    while end > floor {
        let from = end.saturating_sub(STEP).max(floor);
        let step = search_step(runner, job, from, end, size).await?;
        for next in step.begins.into_iter().rev() {
            found += 1;
            if found == lines {
                return Ok(next);
            }
            first = Some(next);
        }
        if let Some(gap) = step.gap {
            return Ok(gap);
        }
        end = from;
    }
    // So far from the end that a line is cut there.
    Ok(if floor == 0 { 0 } else { first.unwrap_or(floor) })
}

struct Step {
    /// Where lines begin, in their order.
    begins: Vec<u64>,
    /// Where the line begins that stands for a gap.
    gap: Option<u64>,
}

/// Reads from one place to another, or from the gap on that lies between them.
async fn search_step(runner: &dyn Runner, job: &JobRef, from: u64, to: u64, size: u64) -> Result<Step> {
    let (mut at, mut step) = (from, Step { begins: Vec::new(), gap: None });
    while at < to {
        let chunk = runner.log(job, at, usize::try_from(to - at).unwrap_or(PIECE)).await?;
        let Some(LogChunk { from, bytes, is_gap, .. }) = chunk.filter(|chunk| !chunk.bytes.is_empty()) else { break };
        if is_gap {
            step = Step { begins: Vec::new(), gap: Some(from) };
        }
        at = from.saturating_add(bytes.len() as u64);
        let breaks = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        step.begins.extend(breaks.map(|(index, _)| from.saturating_add(index as u64 + 1)).filter(|next| *next < size));
    }
    Ok(step)
}

struct Reader {
    app: App,
    id: String,
    job: JobRef,
    offset: u64,
    until: Instant,
    /// Nothing is written any more.
    over: bool,
    changes: Subscription,
    /// Goes on behind gaps.
    through_gaps: bool,
    /// Sends nothing, and ends when the job does.
    silent: bool,
}

impl Reader {
    /// The next piece; `None` at the end of what was asked for.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let (last, late) = (self.over, Instant::now() >= self.until || self.app.is_stopping());
            let piece = if self.silent { None } else { self.read().await.map_err(io::Error::other)? };
            // A gap that still grows is sent when the time is over.
            if let Some(piece) = piece.filter(|piece| !piece.bytes.is_empty() && (!piece.grows || last || late)) {
                if piece.from > self.offset && !self.through_gaps {
                    return Ok(None);
                }
                self.offset = piece.from.saturating_add(piece.bytes.len() as u64);
                return Ok(Some(piece.bytes));
            }
            if last || late {
                return Ok(None);
            }
            if self.changes.has_changed() {
                // Known before the next read: that one then reads the rest.
                let job = match self.app.read().await {
                    Ok(mut connection) => row::by_id(&mut connection, &self.id).await,
                    Err(error) => Err(error),
                };
                self.over = job.map_err(io::Error::other)?.is_none_or(|job| job.is_over());
            }
            if !self.over {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    async fn read(&mut self) -> Result<Option<LogChunk>> {
        Ok(self.app.jobs().runner().log(&self.job, self.offset, PIECE).await?)
    }
}

/// The end of a log.
pub struct LogEnd {
    /// Where in the log it begins.
    pub from: u64,
    /// What stands there.
    pub bytes: Vec<u8>,
}

/// The end of a log: what comes behind an offset, but not more than so many bytes, and a line for each gap in it.
pub(crate) async fn end_of(app: &App, job: &JobRef, behind: u64, most: u64) -> Result<LogEnd> {
    let runner = app.jobs().runner();
    let size = runner.log(job, 0, 0).await?.map_or(0, |chunk| chunk.size);
    let mut at = behind.max(size.saturating_sub(most)).min(size);
    let (mut from, mut bytes) = (None, Vec::new());
    while at < size {
        let length = usize::try_from(size - at).unwrap_or(PIECE).min(PIECE);
        let chunk = runner.log(job, at, length).await?;
        let Some(piece) = chunk.filter(|chunk| !chunk.bytes.is_empty()) else { break };
        from.get_or_insert(piece.from);
        at = piece.from.saturating_add(piece.bytes.len() as u64);
        bytes.extend(piece.bytes);
    }
    Ok(LogEnd { from: from.unwrap_or(size), bytes })
}

/// What an explanation reads of a log: the end of the last run's part.
pub(crate) async fn end_of_run(app: &App, job: &JobRow) -> Result<String> {
    let end = end_of(app, &job.job_ref(), u64::try_from(job.log_from).unwrap_or_default(), END).await?;
    Ok(String::from_utf8_lossy(&end.bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{jobs::ids::JobIds, store};
    use mlplatform_spark_local::{Folders, LocalRunner, SparkConfig};
    use std::{
        fs,
        path::{Path, PathBuf},
        sync::Arc,
    };
    use tempfile::TempDir;

    /// A log of this machine.
    struct Log {
        runner: LocalRunner,
        job: JobRef,
        path: PathBuf,
        _folder: TempDir,
    }

    impl Log {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let ids = Arc::new(JobIds::new(store::open(&folder.path().join("db")).await.unwrap()));
            let runner = LocalRunner::new(Folders::new(folder.path()), SparkConfig::default(), None, ids);
            let job = JobRef { id: "j".to_owned(), cluster: "c".to_owned(), name: "job".to_owned() };
            let path = folder.path().join("jobs/j/log");
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            Self { runner, job, path, _folder: folder }
        }

        fn path(&self) -> &Path {
            &self.path
        }

        async fn tail(&self, lines: u64) -> u64 {
            begin(&self.runner, &self.job, None, Some(lines)).await.unwrap().unwrap()
        }
    }

    #[tokio::test]
    async fn tails() {
        let log = Log::new().await;
        let from = async |text: &str, lines| {
            fs::write(log.path(), text).unwrap();
            text[usize::try_from(log.tail(lines).await).unwrap()..].to_owned()
        };
        assert_eq!(from("a\nb\nc\n", 2).await, "b\nc\n");
        assert_eq!(from("a\nb\nc", 2).await, "b\nc");
        assert_eq!(from("a\nb\nc\n", 9).await, "a\nb\nc\n");
        assert_eq!(from("a\nb\n\n", 1).await, "\n");
        assert_eq!((from("a\n", 0).await, from("", 3).await), (String::new(), String::new()));
        let long = format!("{}\nend\n", "x".repeat(3_000_000));
        assert_eq!((from(&long, 1).await, from(&long, 2).await.len()), ("end\n".to_owned(), long.len()));
    }

    /// One that an older version has written, or somebody who may.
    #[tokio::test]
    async fn a_tail_is_not_searched_through_a_log_without_end() {
        let log = Log::new().await;
        let size = 15 << 40;
        fs::File::create(log.path()).unwrap().set_len(size).unwrap();
        assert_eq!(log.tail(1).await, size - FARTHEST);
    }

    #[tokio::test]
    async fn a_tail_begins_behind_a_gap() {
        let log = Log::new().await;
        let text = format!("head\n{}\ntail\nend\n", "x".repeat(3_000_000));
        fs::write(log.path(), &text).unwrap();
        fs::write(log.path().with_extension("gaps"), r#"[{"from": 5, "to": 3000006, "why": "disk"}]"#).unwrap();
        assert_eq!((log.tail(1).await, log.tail(2).await), (3_000_011, 3_000_006));
        let line = "[… 3000001 bytes of this log were dropped here: the platform's disk was nearly full …]\n";
        for lines in [3, 9] {
            assert_eq!(log.tail(lines).await, 3_000_006 - line.len() as u64);
        }
    }
}
