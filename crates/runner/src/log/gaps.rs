//! The gaps of a log: which of its bytes were dropped, and why.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::limit::LogLimit;

/// Gaps of one log; when there are more, the two oldest become one.
pub const MOST_GAPS: usize = 16;

/// Bytes that were dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The first of them.
    pub from: u64,
    /// The first behind them.
    pub to: u64,
    /// Why.
    #[serde(rename = "why")]
    pub reason: DropReason,
}

/// Why bytes were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// The log has reached its limit, in bytes.
    Limit(u64),
    /// The logs of the cluster's jobs have reached their limit, in bytes.
    Cluster(u64),
    /// The disk was nearly full.
    Disk,
}

impl Gap {
    /// In bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    /// The line that is read in its place: its last bytes, so that what follows keeps its offset.
    pub fn line(&self) -> Vec<u8> {
        let length = self.length();
        let why = match self.reason {
            DropReason::Limit(limit) => format!("the limit is {}", LogLimit(limit)),
            DropReason::Cluster(limit) => format!("the logs of the cluster's jobs have a limit of {}", LogLimit(limit)),
            DropReason::Disk => "the platform's disk was nearly full".to_owned(),
        };
        let mut line = format!("[… {length} bytes of this log were dropped here: {why} …]\n").into_bytes();
        let over = line.len().saturating_sub(usize::try_from(length).unwrap_or(usize::MAX));
        line.drain(..over);
        line
    }

    /// Where its line stands.
    pub fn line_from(&self) -> u64 {
        self.to.saturating_sub(self.line().len() as u64)
    }
}

/// The message of the event about a log with a gap.
pub fn truncation_message(gap: &Gap) -> String {
    let from = gap.from;
    match gap.reason {
        DropReason::Limit(limit) => format!(
            "the log has reached its limit of {}: its head and its newest part are kept, and what is between them, from \
             byte {from} on, is dropped",
            LogLimit(limit)
        ),
        DropReason::Cluster(limit) => format!(
            "the logs of the cluster's jobs have reached their limit of {}: of the oldest that are over, this one's middle, \
             from byte {from} on, is dropped",
            LogLimit(limit)
        ),
        DropReason::Disk => {
            format!("the platform's disk was nearly full: what was printed then, from byte {from} on, is lost")
        }
    }
}

/// The file that lists the gaps of a log.
pub fn gaps_of(log: &Path) -> PathBuf {
    log.with_extension("gaps")
}

/// In their order.
pub fn read_gaps(log: &Path) -> io::Result<Vec<Gap>> {
    match fs::read(gaps_of(log)) {
        Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

pub fn write_gaps(log: &Path, gaps: &[Gap]) -> io::Result<()> {
    let (path, beside) = (gaps_of(log), log.with_extension("gaps.tmp"));
    let mut options = OpenOptions::new();
    let mut file: File = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&serde_json::to_vec(gaps)?)?;
    file.sync_all()?;
    fs::rename(beside, path)
}
