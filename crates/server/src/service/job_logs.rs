//! Logs of jobs: files that the jobs write themselves and that are only read here, piece by piece, so that a log of any
//! size takes as much memory as a short one.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::PathBuf,
    time::Duration,
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use http::{HeaderName, HeaderValue, header};
use mlplatform_protocol::{
    headers,
    jobs::{JobLogsRequest, JobRequest, LONGEST_LOG_WAIT_MS},
};
use tokio::{task::spawn_blocking, time::Instant};

use super::{
    job_form::bad,
    job_rows::{self, JobRow},
    jobs,
};
use crate::{Error, Result, app::App};

/// One read, one piece of the answer: large enough that the way to it does not matter.
const PIECE: usize = 256 * 1024;
/// How often it is looked whether more was written.
const LOOK: Duration = Duration::from_millis(100);
/// What an explanation reads of a log.
const END: u64 = 256 * 1024;

/// `spark_job_logs`: the log from an offset or a number of lines from its end, going on while the job writes for as long
/// as was asked.
///
/// # Errors
/// When there never was such a job, the offset lies behind the end, or the store fails.
pub async fn spark_job_logs(app: &App, request: JobLogsRequest) -> Result<Response> {
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
    let job = jobs::last(app, &named).await?;
    // Before the file is looked at: what it holds now is then all that will ever be in it.
    let over = job.is_over();
    let path = job.folder(app).join("log");
    let (offset, tail) = (request.offset, request.tail);
    let from = spawn_blocking(move || begin(path, offset, tail)).await;
    let (file, from) = from.map_err(|_| Error::Fault("the reading of a log panicked"))??;
    let reader = Reader {
        app: app.clone(),
        id: job.id.clone(),
        path: job.folder(app).join("log"),
        file,
        offset: from,
        until: Instant::now() + Duration::from_millis(wait),
        over,
    };
    let pieces = stream::unfold(reader, |mut reader| async move {
        let piece = reader.next().await.transpose()?;
        Some((piece, reader))
    });
    let mut response = Body::from_stream(pieces).into_response();
    let all = response.headers_mut();
    all.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    all.insert(HeaderName::from_static(headers::LOG_OFFSET), HeaderValue::from(from));
    let over = HeaderValue::from_static(if over { "true" } else { "false" });
    all.insert(HeaderName::from_static(headers::LOG_FINAL), over);
    Ok(response)
}

/// Opens the log, if there is one yet, and finds where to begin.
fn begin(path: PathBuf, offset: Option<u64>, tail: Option<u64>) -> Result<(Option<File>, u64)> {
    let failed = |error| Error::File("reading a log", error);
    let file = open(&path).map_err(failed)?;
    let size = file.as_ref().map_or(Ok(0), |file| file.metadata().map(|meta| meta.len())).map_err(failed)?;
    let offset = offset.unwrap_or(0);
    if offset > size {
        return Err(bad(format!("offset: {offset} lies behind the end of the log, which has {size} bytes")));
    }
    let from = match (tail, &file) {
        (Some(lines), Some(file)) => lines_from_end(file, size, lines).map_err(failed)?,
        _ => offset,
    };
    Ok((file, from))
}

fn open(path: &PathBuf) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the last so many lines begin. A line break at the very end begins none.
fn lines_from_end(file: &File, size: u64, lines: u64) -> io::Result<u64> {
    let mut block = vec![0; 64 * 1024];
    let (mut end, mut found) = (size, 0);
    if lines == 0 {
        return Ok(size);
    }
    while end > 0 {
        let length = end.min(block.len() as u64);
        let begin = end - length;
        let block = block.get_mut(..usize::try_from(length).unwrap_or(0)).unwrap_or_default();
        file.read_exact_at(block, begin)?;
        for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let next = begin + index as u64 + 1;
            if next == size {
                continue;
            }
            found += 1;
            if found == lines {
                return Ok(next);
            }
        }
        end = begin;
    }
    Ok(0)
}

struct Reader {
    app: App,
    id: String,
    path: PathBuf,
    file: Option<File>,
    offset: u64,
    until: Instant,
    /// Nothing is written any more.
    over: bool,
}

impl Reader {
    /// The next piece; `None` at the end of what was asked for.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let (last, late) = (self.over, Instant::now() >= self.until);
            let piece = self.read().await?;
            if !piece.is_empty() {
                self.offset += piece.len() as u64;
                return Ok(Some(piece));
            }
            if last || late {
                return Ok(None);
            }
            // Known before the next read: that one then reads the rest.
            let job = match self.app.read().await {
                Ok(mut connection) => job_rows::by_id(&mut connection, &self.id).await,
                Err(error) => Err(error),
            };
            self.over = job.map_err(io::Error::other)?.is_none_or(|job| job.is_over());
            if !self.over {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let (file, path, offset) = (self.file.take(), self.path.clone(), self.offset);
        let read = spawn_blocking(move || {
            let Some(file) = file.map_or_else(|| open(&path), |file| Ok(Some(file)))? else {
                return Ok((None, Vec::new()));
            };
            let mut piece = vec![0; PIECE];
            let length = file.read_at(&mut piece, offset)?;
            piece.truncate(length);
            io::Result::Ok((Some(file), piece))
        });
        let (file, piece) = read.await.map_err(io::Error::other)??;
        self.file = file;
        Ok(piece)
    }
}

/// The end of a log.
pub(crate) struct LogEnd {
    /// Where in the log it begins.
    pub(crate) from: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The end of a log: what comes behind an offset, but not more than so many bytes.
pub(crate) async fn end_of(app: &App, job: &JobRow, behind: u64, most: u64) -> Result<LogEnd> {
    let path = job.folder(app).join("log");
    let read = spawn_blocking(move || {
        let Some(mut file) = open(&path)? else { return Ok(LogEnd { from: 0, bytes: Vec::new() }) };
        let size = file.metadata()?.len();
        let from = file.seek(SeekFrom::Start(behind.max(size.saturating_sub(most)).min(size)))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        io::Result::Ok(LogEnd { from, bytes })
    });
    let end = read.await.map_err(|_| Error::Fault("the reading of a log panicked"))?;
    end.map_err(|error| Error::File("reading a log", error))
}

/// What an explanation reads of a log: the end of the last run's part.
pub(crate) async fn end_of_run(app: &App, job: &JobRow) -> Result<String> {
    let end = end_of(app, job, u64::try_from(job.log_from).unwrap_or_default(), END).await?;
    Ok(String::from_utf8_lossy(&end.bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn tails() {
        let from = |text: &str, lines| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let from = lines_from_end(&file, text.len() as u64, lines).unwrap();
            text[usize::try_from(from).unwrap()..].to_owned()
        };
        assert_eq!(from("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(from("a\nb\nc", 2), "b\nc");
        assert_eq!(from("a\nb\nc\n", 9), "a\nb\nc\n");
        assert_eq!(from("a\nb\n\n", 1), "\n");
        assert_eq!((from("a\n", 0), from("", 3)), (String::new(), String::new()));
        let long = format!("{}\nend\n", "x".repeat(200_000));
        assert_eq!((from(&long, 1), from(&long, 2).len()), ("end\n".to_owned(), long.len()));
    }
}
