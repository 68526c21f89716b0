//! The logs of all jobs of a cluster have a limit together: beyond it the oldest that are over lose most of theirs.
//!
//! The log of a job that is over has no writer, so the platform may be one. Those of running jobs have limits of their own.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use mlplatform_protocol::EventKind;
use tokio::task::spawn_blocking;

use super::{Gap, LogLimit, LogWriter, Room, Why, read_gaps, truncated};
use crate::{
    app::App,
    error::Result,
    request::RequestContext,
    service::job_rows::{self, note},
    spark::supervisor::LOG_TRUNCATED,
};

/// What is left of a log that has to make room.
const REST: u64 = 64 * 1024;

/// Holds the logs of a cluster to their limit, after one of its jobs is over.
pub(crate) async fn hold(app: &App, cluster: &str) {
    // One at a time: the next sees what this one leaves.
    let _turn = app.spark().logs.lock().await;
    if let Err(error) = shrink_oldest(app, cluster).await {
        tracing::error!("the logs of a cluster could not be held to their limit: {error}");
    }
}

async fn shrink_oldest(app: &App, cluster: &str) -> Result<()> {
    let limit = app.spark().config().longest_cluster_logs;
    let jobs = job_rows::logs(&mut *app.read().await?, cluster).await?;
    let jobs: Vec<(i64, bool, PathBuf)> =
        jobs.into_iter().map(|(seq, id, over)| (seq, over, app.dir().job(&id).join("log"))).collect();
    let shrunk = spawn_blocking(move || shrink(&jobs, limit)).await.unwrap_or_default();
    if shrunk.is_empty() {
        return Ok(());
    }
    let context = RequestContext::local();
    let mut tx = app.begin(&context).await?;
    let now = tx.now().as_microsecond();
    for (seq, gap) in shrunk {
        if let Some(job) = job_rows::by_seq(tx.connection(), seq).await? {
            note(tx.connection(), &job, now, EventKind::Warning, LOG_TRUNCATED, &truncated(&gap)).await?;
        }
    }
    tx.commit().await
}

/// Gives what was dropped of which, the oldest first.
fn shrink(jobs: &[(i64, bool, PathBuf)], limit: LogLimit) -> Vec<(i64, Gap)> {
    let mut taken: u64 = jobs.iter().map(|(_, _, log)| size(log)).fold(0, u64::saturating_add);
    let mut shrunk = Vec::new();
    for (seq, _, log) in jobs.iter().filter(|(_, over, _)| *over) {
        if taken <= limit.0 {
            break;
        }
        let before = size(log);
        match shrink_one(log, limit) {
            Ok(Some(gap)) => shrunk.push((*seq, gap)),
            Ok(None) => {}
            Err(error) => tracing::error!("'{}' cannot be made shorter: {error}", log.display()),
        }
        taken = taken.saturating_sub(before.saturating_sub(size(log)));
    }
    shrunk
}

fn shrink_one(log: &Path, limit: LogLimit) -> io::Result<Option<Gap>> {
    if size(log) <= REST.saturating_mul(2) {
        return Ok(None);
    }
    LogWriter::open(log, Room { limit: REST, free: 0 })?.shrink(Why::Cluster(limit.0));
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
        let jobs: Vec<(i64, bool, PathBuf)> = [false, true, true, true]
            .iter()
            .zip(1..)
            .map(|(over, seq)| {
                let log = folder.path().join(format!("{seq}.log"));
                std::fs::write(&log, format!("first\n{}last\n", "a line of it\n".repeat(80_000))).unwrap();
                (seq, *over, log)
            })
            .collect();
        let shrunk: Vec<i64> = shrink(&jobs, LogLimit(2 << 20)).into_iter().map(|(seq, _)| seq).collect();
        assert_eq!(shrunk, [2, 3, 4], "1 is not over: its writer is another");
        assert!(size(&jobs[0].2) > 1_000_000 && jobs[1..].iter().all(|(_, _, log)| size(log) <= 2 * REST));
        let again = shrink(&jobs, LogLimit(2 << 20));
        assert!(again.is_empty(), "{again:?}");
        let log = crate::spark::log::JobLog::open(&jobs[1].2).unwrap().unwrap();
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
