//! A log as it comes: [`LogStream`] gives its bytes once and in order, whatever becomes of connections and of the
//! platform; [`Lines`] cuts them into lines; [`Client::save_spark_job_logs`] writes them to a file.

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

/// A line that is longer is given in pieces.
pub const LONGEST_LINE: usize = 1024 * 1024;
/// Who answers at once, and with nothing, although it was asked to wait is not asked again at once.
const PAUSE: Duration = Duration::from_millis(100);
/// How much of a file that is there already is compared with the log.
const COMPARED: u64 = 64 * 1024;

/// The bytes of a log, from its begin or its last lines on.
pub struct LogStream {
    client: Arc<Client>,
    job: JobRequest,
    tail: Option<u64>,
    /// Goes on until the job has ended.
    follow: bool,
    deadline: Option<Deadline>,
    /// The next byte; `None`: not known before the first answer.
    at: Option<u64>,
    open: Option<Open>,
    outage: Option<Outage>,
    /// Something was answered: from now on an outage is borne.
    is_answered: bool,
    is_over: bool,
}

/// An answer that is being read.
struct Open {
    response: Response,
    head: Head,
    since: Instant,
    brought: bool,
}

impl LogStream {
    /// Of one job. `timeout` is for all of it.
    ///
    /// # Errors
    /// When the names are none.
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

    /// The next bytes; `None`: the log has ended, or, if it is not followed, what there is of it. May be dropped at any
    /// moment: the request ends, and the next call goes on where this one was.
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

    /// Gives up the request that is under way.
    pub fn rest(&mut self) {
        self.open = None;
    }

    async fn read(&mut self) -> Result<Option<Vec<u8>>, Error> {
        while !self.is_over {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => match self.ask().await {
                    Ok(open) => open,
                    Err(error) => {
                        self.bear(error).await?;
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
                Err(problem) => self.bear(self.client.lost(problem)).await?,
            }
        }
        Ok(None)
    }

    async fn ask(&mut self) -> Result<Open, Error> {
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

    /// Waits until it may be tried again; or it is no use.
    async fn bear(&mut self, error: Error) -> Result<(), Error> {
        let pause = self.outage.get_or_insert_default().pause(&error);
        match pause.filter(|_| self.is_answered) {
            Some(pause) => sleep(pause).await,
            None => return Err(error),
        }
        Ok(())
    }
}

/// Bytes, cut into lines. A line has its end with it, if it has one.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Where the next line begins, and up to where its end was looked for.
    from: usize,
    searched: usize,
    is_over: bool,
}

impl Lines {
    /// Adds what has come; `None`: nothing follows.
    pub fn push(&mut self, bytes: Option<Vec<u8>>) {
        let Some(bytes) = bytes else {
            self.is_over = true;
            return;
        };
        self.bytes.drain(..self.from);
        (self.searched, self.from) = (self.searched.saturating_sub(self.from), 0);
        self.bytes.extend_from_slice(&bytes);
    }

    /// The next line, if all of it is there.
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

    /// Where a line that is too long is cut: between two characters.
    fn boundary(&self) -> usize {
        let end = self.bytes.len();
        let continues = |at: usize| self.bytes.get(at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
        let begins = |at: usize| self.bytes.get(at).is_some_and(|byte| *byte >= 0b1100_0000);
        let begin = (end.saturating_sub(4)..end).rev().find(|at| !continues(*at)).filter(|at| begins(*at));
        begin.filter(|begin| *begin > self.from).unwrap_or(end)
    }

    /// Whether all of it was given.
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
                Err(error) if !known.is_empty() && is_behind(&error) => return Err(another()),
                next => next?,
            };
            let Some(bytes) = bytes else {
                return if known.is_empty() { Ok(Ok(written)) } else { Err(another()) };
            };
            let (same, new) = bytes.split_at(bytes.len().min(known.len()));
            let expected;
            (expected, known) = known.split_at(same.len());
            if same != expected {
                return Err(another());
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

fn another() -> Error {
    Error::argument(
        "path",
        "what is in the file is not the begin of this log (of a log that is longer than the platform keeps, a copy cannot \
         be continued): remove the file, or name another",
    )
}

/// The size of a file, and the end of what is in it; what is written next comes behind it.
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
    fn a_line_without_end_is_cut_between_characters() {
        let text = "й".repeat(LONGEST_LINE);
        let (first, second) = text.as_bytes().split_at(LONGEST_LINE + 1);
        let lines = cut(&[first, second]);
        assert!(lines.len() > 1 && lines.iter().all(|line| std::str::from_utf8(line).is_ok()));
        assert_eq!(lines.concat(), text.as_bytes());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_comes_twice(pieces in proptest::collection::vec("[ab\r\n]{0,9}", 0..9)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(String::as_bytes).collect();
            let lines = cut(&pieces);
            let whole = pieces.concat();
            prop_assert_eq!(lines.concat(), whole.clone());
            let expected: Vec<Vec<u8>> = whole.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            prop_assert_eq!(lines, expected);
        }
    }
}
