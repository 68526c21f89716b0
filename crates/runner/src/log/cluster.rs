//! The common limit of the logs of all jobs of a cluster: beyond it, the oldest that are over lose most of theirs.
//!
//! The log of a job that is over has no writer, so the platform may be one. Those of running jobs have limits of their own.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    gaps::{DropReason, Gap, read_gaps},
    limit::LogLimit,
    writer::{LogQuota, LogWriter},
};

/// What is left of a log that has to make room.
const REST: u64 = 64 * 1024;

/// A log, and whose it is.
#[derive(Debug)]
pub struct OwnedLog<T> {
    /// Whose it is.
    pub owner: T,
    /// Nobody writes it any more.
    pub is_over: bool,
    /// Its file.
    pub path: PathBuf,
}

/// Gives what was dropped of whose, those first that come first.
pub fn shrink<T>(logs: Vec<OwnedLog<T>>, limit: LogLimit) -> Vec<(T, Gap)> {
    let mut taken: u64 = logs.iter().map(|log| size(&log.path)).fold(0, u64::saturating_add);
    let mut shrunk = Vec::new();
    for OwnedLog { owner, path, .. } in logs.into_iter().filter(|log| log.is_over) {
        if taken <= limit.0 {
            break;
        }
        let before = size(&path);
        match shrink_one(&path, limit) {
            Ok(Some(gap)) => shrunk.push((owner, gap)),
            Ok(None) => {}
            Err(error) => tracing::error!("'{}' cannot be made shorter: {error}", path.display()),
        }
        taken = taken.saturating_sub(before.saturating_sub(size(&path)));
    }
    shrunk
}

fn shrink_one(log: &Path, limit: LogLimit) -> io::Result<Option<Gap>> {
    if size(log) <= REST.saturating_mul(2) {
        return Ok(None);
    }
    LogWriter::open(log, LogQuota { limit: REST, free: 0 })?.shrink(DropReason::Cluster(limit.0));
    Ok(read_gaps(log)?.into_iter().next())
}

/// Of the disk; holes are none of it.
fn size(log: &Path) -> u64 {
    log.symlink_metadata().map_or(0, |meta| meta.blocks().saturating_mul(512))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_is_over_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let log = |seq: i64| folder.path().join(format!("{seq}.log"));
        for seq in 1..=4 {
            std::fs::write(log(seq), format!("first\n{}last\n", "a line of it\n".repeat(80_000))).unwrap();
        }
        let logs = || {
            let owned = [false, true, true, true].iter().zip(1..);
            owned.map(|(is_over, seq)| OwnedLog { owner: seq, is_over: *is_over, path: log(seq) }).collect::<Vec<_>>()
        };
        let shrunk: Vec<i64> = shrink(logs(), LogLimit(2 << 20)).into_iter().map(|(seq, _)| seq).collect();
        assert_eq!(shrunk, [2, 3, 4], "1 is not over: its writer is another");
        assert!(size(&log(1)) > 1_000_000 && (2..=4).all(|seq| size(&log(seq)) <= 2 * REST));
        let again = shrink(logs(), LogLimit(2 << 20));
        assert!(again.is_empty(), "{again:?}");
        let log = crate::log::JobLog::open(&log(2)).unwrap().unwrap();
        let (mut at, mut text) = (0, Vec::new());
        loop {
            let piece = log.read(at, 64 * 1024).unwrap();
            if piece.bytes.is_empty() {
                break;
            }
            at = piece.from + piece.bytes.len() as u64;
            text.extend(piece.bytes);
        }
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("first\na line of it\n") && text.ends_with("a line of it\nlast\n"));
        assert!(text.contains("dropped here: the logs of the cluster's jobs have a limit of 2 MiB …]\n"), "{text}");
    }
}
