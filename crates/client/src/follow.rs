//! Followed logs. [`LogStream`] returns each byte once and in order, across broken connections and restarts of the platform;
//! [`Lines`] splits them into lines; [`Client::save_spark_job_logs`] writes them to a file.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    sync::Arc,
    time::Duration,
};

use mlplatform_protocol::{
    ErrorCode,
    jobs::{JobLogsRequest, JobRequest, LONGEST_LOG_WAIT_MS},
    routes::SparkJobLogs,
};
use reqwest::Response;
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    client::Client,
    deadline::Deadline,
    error::{Error, Kind},
    jobs::job,
    outage::Outage,
    transport::Head,
};

/// A longer line is split.
pub const LONGEST_LINE: usize = 1024 * 1024;
/// The pause after an empty answer that came at once although the request asked to wait.
const PAUSE: Duration = Duration::from_millis(100);
/// How many bytes at the end of an existing file are compared with the log.
const COMPARED: u64 = 64 * 1024;

/// The bytes of a log, from its beginning or its last lines on.
pub struct LogStream {
    client: Arc<Client>,
    job: JobRequest,
    tail: Option<u64>,
    /// Whether to continue until the job has ended.
    follow: bool,
    deadline: Option<Deadline>,
    /// The offset of the next byte; `None`: not known before the first answer.
    at: Option<u64>,
    open: Option<Open>,
    outage: Option<Outage>,
    /// Whether there was an answer: only then are outages retried.
    is_answered: bool,
    is_over: bool,
}

/// A pending answer.
struct Open {
    response: Response,
    head: Head,
    since: Instant,
    brought: bool,
}

impl LogStream {
    /// The log of one job. `timeout` is for the whole stream.
    ///
    /// # Errors
    /// When a name is invalid.
    pub fn new(
        client: Arc<Client>,
        cluster: &str,
        job_name: &str,
        tail: Option<u64>,
        follow: bool,
        timeout: Option<Duration>,
    ) -> Result<Self, Error> {
        Ok(Self {
            client,
            job: job(cluster, job_name)?,
            tail,
            follow,
            deadline: timeout.map(Deadline::after),
            at: None,
            open: None,
            outage: None,
            is_answered: false,
            is_over: false,
        })
    }

    /// The next bytes; `None`: the log has ended, or, without `follow`, all existing bytes were read. Cancel-safe: a dropped
    /// call ends the request, and the next call continues at the same offset.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let (client, deadline) = (Arc::clone(&self.client), self.deadline);
        let next = client.unless_stopped(self.read());
        match deadline {
            None => next.await,
            Some(deadline) => {
                let late = |_| Err(deadline.passed("following a log"));
                timeout_at(deadline.at(), next).await.unwrap_or_else(late)
            }
        }
    }

    /// Cancels the pending request.
    pub fn cancel_request(&mut self) {
        self.open = None;
    }

    async fn read(&mut self) -> Result<Option<Vec<u8>>, Error> {
        while !self.is_over {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => match self.request().await {
                    Ok(open) => open,
                    Err(error) => {
                        self.retry_later(error).await?;
                        continue;
                    }
                },
            };
            match open.response.chunk().await {
                Ok(Some(bytes)) => {
                    self.outage = None;
                    self.at = Some(self.at.unwrap_or_default().saturating_add(bytes.len() as u64));
                    open.brought = true;
                    self.open = Some(open);
                    return Ok(Some(bytes.into()));
                }
                Ok(None) => {
                    let gap = open.head.gap.is_some_and(|gap| gap > open.head.offset && Some(gap) == self.at);
                    if !gap && (open.head.last || !self.follow) {
                        self.is_over = true;
                    } else if !gap && !open.brought && open.since.elapsed() < PAUSE {
                        sleep(PAUSE).await;
                    }
                }
                Err(problem) => self.retry_later(self.client.lost(problem)).await?,
            }
        }
        Ok(None)
    }

    async fn request(&mut self) -> Result<Open, Error> {
        let JobRequest { cluster_id, job_name } = self.job.clone();
        let request = JobLogsRequest {
            cluster_id,
            job_name,
            offset: self.at,
            tail: self.tail.filter(|_| self.at.is_none()),
            wait_ms: self.follow.then_some(LONGEST_LOG_WAIT_MS),
        };
        let deadline = self.deadline.unwrap_or_else(|| self.client.deadline(None));
        let since = Instant::now();
        let (response, head) = self.client.open::<SparkJobLogs>(&request, self.at, deadline).await?;
        (self.at, self.is_answered) = (Some(head.offset), true);
        Ok(Open { response, head, since, brought: false })
    }

    /// Waits before a retry, or returns a permanent error.
    async fn retry_later(&mut self, error: Error) -> Result<(), Error> {
        let pause = self.outage.get_or_insert_default().pause(&error);
        match pause.filter(|_| self.is_answered) {
            Some(pause) => sleep(pause).await,
            None => return Err(error),
        }
        Ok(())
    }
}

/// Splits bytes into lines, which keep their line ending.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Where the next line begins, and how far its end was searched for.
    from: usize,
    searched: usize,
    is_over: bool,
}

impl Lines {
    /// Adds bytes; `None`: nothing follows.
    pub fn push(&mut self, bytes: Option<Vec<u8>>) {
        let Some(bytes) = bytes else {
            self.is_over = true;
            return;
        };
        self.bytes.drain(..self.from);
        (self.searched, self.from) = (self.searched.saturating_sub(self.from), 0);
        self.bytes.extend_from_slice(&bytes);
    }

    /// The next line, if it is complete.
    #[allow(clippy::should_implement_trait, reason = "an iterator could not lend")]
    pub fn next(&mut self) -> Option<&[u8]> {
        let rest = self.bytes.get(self.searched..).unwrap_or_default();
        let end = match rest.iter().position(|byte| *byte == b'\n') {
            Some(at) => self.searched.saturating_add(at).saturating_add(1),
            None => {
                self.searched = self.bytes.len();
                let length = self.bytes.len().saturating_sub(self.from);
                if length > LONGEST_LINE {
                    self.boundary()
                } else if self.is_over && length > 0 {
                    self.bytes.len()
                } else {
                    return None;
                }
            }
        };
        let line = self.bytes.get(self.from..end);
        (self.from, self.searched) = (end, end);
        line
    }

    /// Where to split a long line: between two characters.
    fn boundary(&self) -> usize {
        let end = self.bytes.len();
        let continues = |at: usize| self.bytes.get(at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
        let begins = |at: usize| self.bytes.get(at).is_some_and(|byte| *byte >= 0b1100_0000);
        let begin = (end.saturating_sub(4)..end).rev().find(|at| !continues(*at)).filter(|at| begins(*at));
        begin.filter(|begin| *begin > self.from).unwrap_or(end)
    }

    /// Whether all lines were returned.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over && self.from >= self.bytes.len()
    }
}

impl Client {
    /// Appends a log to a file that holds the first part of it, or nothing; returns the size of the file. The inner error is
    /// the file's. `on_written` is called with the size after each write.
    ///
    /// # Errors
    /// See [`crate::Kind`]. [`Kind::Argument`]: the content of the file is not the beginning of the log.
    pub async fn save_spark_job_logs(
        self: Arc<Self>,
        cluster: &str,
        job_name: &str,
        file: File,
        follow: bool,
        timeout: Option<Duration>,
        on_written: impl Fn(u64) + Send,
    ) -> Result<io::Result<u64>, Error> {
        let mut stream = LogStream::new(self, cluster, job_name, None, follow, timeout)?;
        let (mut file, size, known) = match on_disk(move || end_of(file)).await {
            Ok(read) => read,
            Err(problem) => return Ok(Err(problem)),
        };
        let begin = size.saturating_sub(known.len() as u64);
        stream.at = Some(begin);
        let (mut written, mut known) = (size, known.as_slice());
        loop {
            let next = stream.next().await;
            let is_behind = |error: &Error| matches!(error.kind(), Kind::Refused(body) if body.status == ErrorCode::BadRequest.status());
            let bytes = match next {
                Err(error) if !known.is_empty() && is_behind(&error) => return Err(content_differs()),
                next => next?,
            };
            let Some(bytes) = bytes else {
                return if known.is_empty() { Ok(Ok(written)) } else { Err(content_differs()) };
            };
            let (same, new) = bytes.split_at(bytes.len().min(known.len()));
            let expected;
            (expected, known) = known.split_at(same.len());
            if same != expected {
                return Err(content_differs());
            }
            if new.is_empty() {
                continue;
            }
            let new = new.to_vec();
            written = written.saturating_add(new.len() as u64);
            file = match on_disk(move || file.write_all(&new).map(|()| file)).await {
                Ok(file) => file,
                Err(problem) => return Ok(Err(problem)),
            };
            on_written(written);
        }
    }
}

fn content_differs() -> Error {
    Error::argument(
        "path",
        "the content of the file is not the beginning of this log (a copy of a log from which the platform has dropped \
         bytes cannot be continued): remove the file, or name another",
    )
}

/// The size of a file and the end of its content; positions it for appending.
fn end_of(mut file: File) -> io::Result<(File, u64, Vec<u8>)> {
    let size = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(size.saturating_sub(COMPARED)))?;
    let mut end = Vec::new();
    (&file).take(COMPARED).read_to_end(&mut end)?;
    Ok((file, size, end))
}

async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Lines::default();
        let mut all = Vec::new();
        for piece in pieces.iter().map(|piece| Some(piece.to_vec())).chain([None]) {
            lines.push(piece);
            while let Some(line) = lines.next() {
                all.push(line.to_vec());
            }
        }
        assert!(lines.is_over());
        all
    }

    #[test]
    fn lines_keep_their_ends() {
        assert_eq!(cut(&[b"a\r\nb", b"b\n\n", b"c"]), [&b"a\r\n"[..], b"bb\n", b"\n", b"c"]);
        assert!(cut(&[]).is_empty() && cut(&[b""]).is_empty());
    }

    #[test]
    fn a_long_line_is_split_between_characters() {
        let text = "й".repeat(LONGEST_LINE);
        let (first, second) = text.as_bytes().split_at(LONGEST_LINE + 1);
        let lines = cut(&[first, second]);
        assert!(lines.len() > 1 && lines.iter().all(|line| std::str::from_utf8(line).is_ok()));
        assert_eq!(lines.concat(), text.as_bytes());
    }

    proptest! {
        #[test]
        fn each_byte_is_returned_once(pieces in proptest::collection::vec("[ab\r\n]{0,9}", 0..9)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(String::as_bytes).collect();
            let lines = cut(&pieces);
            let whole = pieces.concat();
            prop_assert_eq!(lines.concat(), whole.clone());
            let expected: Vec<Vec<u8>> = whole.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            prop_assert_eq!(lines, expected);
        }
    }
}
