//! Logs of jobs, read piece by piece, so that a log of any size takes as much memory as a short one.
//!
//! Where bytes were dropped, an answer ends, and says so ([`LogAnswer::gap`]): whoever asks for what follows
//! gets a line in their place, which ends where they end, so that every offset is right. A page of the console has the
//! whole log in one answer.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::stream::{self, BoxStream};
use mlplatform_protocol::jobs::{JobLogsRequest, JobRequest, LONGEST_LOG_WAIT_MS};
use tokio::{
    sync::{Semaphore, watch},
    task::spawn_blocking,
    time::Instant,
};

use super::{
    job_form::bad,
    job_rows::{self, JobRow},
    jobs,
};
use crate::{
    app::App,
    error::{Error, Result},
    spark::{JobLog, Piece},
};

/// One read, one piece of the answer: large enough that the way to it does not matter.
const PIECE: usize = 256 * 1024;
/// How often it is looked whether more was written.
const LOOK: Duration = Duration::from_millis(50);
/// How far back from its end the lines of a tail are searched: half of what a client holds.
const FARTHEST: u64 = 256 * 1024 * 1024;
/// One step of that search: what is stopped is stopped after it.
const STEP: u64 = 1024 * 1024;
/// So many search at once: it is work for a processor and a disk.
static SEARCHES: Semaphore = Semaphore::const_new(2);
/// What an explanation reads of a log.
const END: u64 = 256 * 1024;

/// A part of a log, sent while it is read.
pub struct LogAnswer {
    /// Where in the log its first byte is.
    pub from: u64,
    /// Where bytes were dropped, if they were: it ends there.
    pub gap: Option<u64>,
    /// How many bytes were dropped between what was asked for and where it begins, if any were.
    pub dropped: Option<u64>,
    /// Nothing follows.
    pub is_final: bool,
    /// The bytes.
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

/// The whole log as it is, with a line where bytes were dropped.
///
/// # Errors
/// When there never was such a job, or the store fails.
pub async fn whole(app: &App, job: JobRequest) -> Result<LogAnswer> {
    let JobRequest { cluster_id, job_name } = job;
    answer(app, JobLogsRequest { cluster_id, job_name, offset: None, tail: None, wait_ms: None }, true).await
}

async fn answer(app: &App, request: JobLogsRequest, whole: bool) -> Result<LogAnswer> {
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
    // Whatever changes the job after this was looked at rings it.
    let commits = app.commits();
    let job = jobs::last(app, &named).await?;
    // Before the file is looked at: what it holds now is then all that will ever be in it.
    let over = job.is_over();
    let path = job.log(app);
    let (log, from) = begin(&path, request.offset, request.tail).await?;
    let gap = match log.clone().filter(|_| !whole) {
        Some(log) => of_log(move || Ok(log.gaps()?.into_iter().find(|gap| gap.from > from))).await?,
        None => None,
    };
    let reader = Reader {
        app: app.clone(),
        id: job.id.clone(),
        path,
        log,
        offset: from,
        until: Instant::now() + Duration::from_millis(wait),
        over,
        commits,
        whole,
        silent: request.tail == Some(0),
    };
    let pieces = stream::unfold(reader, |mut reader| async move {
        let piece = reader.next().await.transpose()?;
        Some((piece, reader))
    });
    Ok(LogAnswer {
        from,
        gap: gap.as_ref().map(|gap| gap.from),
        dropped: request.offset.map(|asked| from.saturating_sub(asked)).filter(|dropped| *dropped > 0),
        is_final: over && gap.is_none(),
        body: Box::pin(pieces),
    })
}

/// Something that reads a log, on a thread that may wait for the disk.
async fn of_log<T: Send + 'static>(read: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
    let done = spawn_blocking(read).await.map_err(|_| Error::Fault("the reading of a log panicked"))?;
    done.map_err(|error| Error::File("reading a log", error))
}

async fn open(path: &Path) -> Result<Option<Arc<JobLog>>> {
    let path = path.to_owned();
    of_log(move || Ok(JobLog::open(&path)?.map(Arc::new))).await
}

/// Opens the log, if there is one yet, and finds where to begin.
async fn begin(path: &Path, offset: Option<u64>, tail: Option<u64>) -> Result<(Option<Arc<JobLog>>, u64)> {
    let Some(log) = open(path).await? else {
        return match offset {
            Some(1..) => Err(behind(offset, 0)),
            _ => Ok((None, 0)),
        };
    };
    let shared = Arc::clone(&log);
    let size = of_log(move || shared.size()).await?;
    let offset = offset.unwrap_or(0);
    if offset > size {
        return Err(behind(Some(offset), size));
    }
    let from = match tail {
        Some(lines) => lines_from_end(&log, size, lines).await?,
        None => {
            let shared = Arc::clone(&log);
            // In a gap, where its line begins.
            of_log(move || Ok(shared.read(offset, 1)?.from)).await?
        }
    };
    Ok((Some(log), from))
}

fn behind(offset: Option<u64>, size: u64) -> Error {
    let offset = offset.unwrap_or_default();
    bad(format!("offset: {offset} lies behind the end of the log, which has {size} bytes"))
}

/// Where the last so many lines begin: behind the last gap, and not farther from the end than [`FARTHEST`]. A line break
/// at the very end begins none. Each step is awaited: a server that stops waits for one of them at most.
async fn lines_from_end(log: &Arc<JobLog>, size: u64, lines: u64) -> Result<u64> {
    if lines == 0 {
        return Ok(size);
    }
    let _permit = SEARCHES.acquire().await.map_err(|_| Error::Fault("a semaphore was closed"))?;
    let floor = size.saturating_sub(FARTHEST);
    let (mut end, mut found, mut first) = (size, 0, None);
    while end > floor {
        let (log, from) = (Arc::clone(log), end.saturating_sub(STEP).max(floor));
        let step = of_log(move || step_back(&log, from, end, size)).await?;
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
fn step_back(log: &JobLog, from: u64, to: u64, size: u64) -> io::Result<Step> {
    let (mut at, mut step) = (from, Step { begins: Vec::new(), gap: None });
    while at < to {
        let Piece { from, bytes, .. } = log.read(at, usize::try_from(to - at).unwrap_or(PIECE))?;
        if bytes.is_empty() {
            break;
        }
        if from > at || log.is_line_of_gap(from)? {
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
    path: PathBuf,
    log: Option<Arc<JobLog>>,
    offset: u64,
    until: Instant,
    /// Nothing is written any more.
    over: bool,
    commits: watch::Receiver<()>,
    /// Goes on behind gaps.
    whole: bool,
    /// Sends nothing, and ends when the job does.
    silent: bool,
}

impl Reader {
    /// The next piece; `None` at the end of what was asked for.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let (last, late) = (self.over, Instant::now() >= self.until || self.app.is_stopping());
            let piece = if self.silent { None } else { self.read().await.map_err(io::Error::other)? };
            // A gap that still grows is told when the time is over.
            if let Some(piece) = piece.filter(|piece| !piece.bytes.is_empty() && (!piece.grows || last || late)) {
                if piece.from > self.offset && !self.whole {
                    return Ok(None);
                }
                self.offset = piece.from.saturating_add(piece.bytes.len() as u64);
                return Ok(Some(piece.bytes));
            }
            if last || late {
                return Ok(None);
            }
            if self.commits.has_changed().unwrap_or(true) {
                self.commits.mark_unchanged();
                // Known before the next read: that one then reads the rest.
                let job = match self.app.read().await {
                    Ok(mut connection) => job_rows::by_id(&mut connection, &self.id).await,
                    Err(error) => Err(error),
                };
                self.over = job.map_err(io::Error::other)?.is_none_or(|job| job.is_over());
            }
            if !self.over {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    async fn read(&mut self) -> Result<Option<Piece>> {
        if self.log.is_none() {
            self.log = open(&self.path).await?;
        }
        let Some(log) = self.log.clone() else { return Ok(None) };
        let offset = self.offset;
        of_log(move || log.read(offset, PIECE)).await.map(Some)
    }
}

/// The end of a log.
pub struct LogEnd {
    /// Where in the log it begins.
    pub from: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The end of a log: what comes behind an offset, but not more than so many bytes, and a line for each gap in it.
pub(crate) async fn end_of(app: &App, job: &JobRow, behind: u64, most: u64) -> Result<LogEnd> {
    let Some(log) = open(&job.log(app)).await? else { return Ok(LogEnd { from: 0, bytes: Vec::new() }) };
    of_log(move || {
        let size = log.size()?;
        let mut at = behind.max(size.saturating_sub(most)).min(size);
        let (mut from, mut bytes) = (None, Vec::new());
        while at < size {
            let piece = log.read(at, usize::try_from(size - at).unwrap_or(PIECE).min(PIECE))?;
            if piece.bytes.is_empty() {
                break;
            }
            from.get_or_insert(piece.from);
            at = piece.from.saturating_add(piece.bytes.len() as u64);
            bytes.extend(piece.bytes);
        }
        Ok(LogEnd { from: from.unwrap_or(size), bytes })
    })
    .await
}

/// What an explanation reads of a log: the end of the last run's part.
pub(crate) async fn end_of_run(app: &App, job: &JobRow) -> Result<String> {
    let end = end_of(app, job, u64::try_from(job.log_from).unwrap_or_default(), END).await?;
    Ok(String::from_utf8_lossy(&end.bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    async fn tail(path: &Path, lines: u64) -> u64 {
        let log = open(path).await.unwrap().unwrap();
        let size = log.size().unwrap();
        lines_from_end(&log, size, lines).await.unwrap()
    }

    #[tokio::test]
    async fn tails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let from = async |text: &str, lines| {
            fs::write(&path, text).unwrap();
            text[usize::try_from(tail(&path, lines).await).unwrap()..].to_owned()
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
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let size = 15 << 40;
        fs::File::create(&path).unwrap().set_len(size).unwrap();
        assert_eq!(tail(&path, 1).await, size - FARTHEST);
    }

    #[tokio::test]
    async fn a_tail_begins_behind_a_gap() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let text = format!("head\n{}\ntail\nend\n", "x".repeat(3_000_000));
        fs::write(&path, &text).unwrap();
        fs::write(folder.path().join("log.gaps"), r#"[{"from": 5, "to": 3000006, "why": "disk"}]"#).unwrap();
        assert_eq!((tail(&path, 1).await, tail(&path, 2).await), (3_000_011, 3_000_006));
        let line = "[… 3000001 bytes of this log were dropped here: the platform's disk was nearly full …]\n";
        for lines in [3, 9] {
            assert_eq!(tail(&path, lines).await, 3_000_006 - line.len() as u64);
        }
    }
}
