//! Disk pressure: jobs share the disk of the data directory with the platform, and must not take its last bytes.
//!
//! Three thresholds, from the one that is passed first: below `logs`, what jobs print is dropped ([`LogWriter`]); below `low`,
//! no run starts, and running jobs are evicted, the one first that takes the most; and when nothing is left to be
//! evicted and there is no room all the same, the file `reserve` is given back, so that the platform can go on writing
//! until its operator has made room.
//!
//! [`LogWriter`]: mlplatform_runner::log::LogWriter

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, CWD, Dir, FallocateFlags, FileType, Mode, OFlags, fallocate, openat, statat},
};
use tokio::{task::spawn_blocking, time::sleep};

use mlplatform_runner::{
    disk_space::{CALM, Thresholds, free, low_mark},
    runner::RunId,
    termination::EVICTED,
};

use crate::{process_tree, shared::Shared, workspace};

/// How often free space is checked.
const LOOK: Duration = Duration::from_millis(250);
const MIB: u64 = 1 << 20;
/// What a walk through a job's files may take.
const WALK: Duration = Duration::from_millis(500);
/// How deep it goes: each folder on the way is an open file.
const DEPTH: usize = 64;
/// What a file counts at least, since it can be files that a disk lacks.
const FILE: u64 = 4096;
/// What is no reason to evict a job before others.
const SMALL: u64 = MIB;

/// Whether a run had no room to begin.
pub(crate) fn is_low(shared: &Shared) -> bool {
    let path = shared.folders.root();
    shared.is_under_pressure() || free(path).is_some_and(|free| free < low_mark(path))
}

/// For as long as the server runs.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let thresholds = Thresholds::at(shared.folders.root());
    let reserve = Reserve { path: shared.folders.reserve(), size: thresholds.reserve };
    loop {
        look(&shared, thresholds, &reserve).await;
        sleep(LOOK).await;
    }
}

async fn look(shared: &Arc<Shared>, thresholds: Thresholds, reserve: &Reserve) {
    let path = shared.folders.root().to_owned();
    // A disk of the network may take its time.
    let Ok(Some(free)) = spawn_blocking(move || free(&path)).await else { return };
    if free >= thresholds.low.saturating_mul(CALM) && shared.set_pressure(false) {
        tracing::info!("the disk has room again ({} MiB): runs of jobs start again", free / MIB);
        shared.notify_changed();
    }
    if free >= thresholds.low {
        if free >= thresholds.low.saturating_mul(CALM).saturating_add(reserve.size) {
            reserve.take();
        }
        return;
    }
    if !shared.set_pressure(true) {
        tracing::warn!(
            "the disk is nearly full ({} MiB are free, less than {}): no run of a job starts, and running jobs are \
             evicted",
            free / MIB,
            thresholds.low / MIB
        );
    }
    if !evict(shared, free).await && free < reserve.size / 4 {
        reserve.give_back();
    }
}

/// Evicts the running job that takes the most room; the newest, if none takes much. Needs not one byte of the disk.
async fn evict(shared: &Arc<Shared>, free: u64) -> bool {
    let all = shared.running();
    let measured = Arc::clone(shared);
    let sizes = spawn_blocking(move || {
        // One that is starting has written nothing, and one that is being evicted needs a moment.
        let can_be = |run: &RunId| measured.run_folder(run).began().is_some() && !measured.is_being_evicted(run);
        let until = Instant::now() + WALK;
        let sized = |run: RunId| {
            let size = of_job(&measured.folders.job(&run.job.id), until);
            (run, size)
        };
        all.into_iter().filter(can_be).map(sized).collect::<Vec<(RunId, u64)>>()
    });
    let sizes = sizes.await.unwrap_or_default();
    let most = sizes.iter().filter(|(_, size)| *size > SMALL).max_by_key(|(_, size)| *size).or(sizes.last());
    let Some((run, size)) = most.cloned() else { return false };
    let problem =
        format!("{EVICTED}: {} MiB were free, and this job's working folder took {} MiB", free / MIB, size / MIB);
    tracing::warn!("the job '{}' ({}) is evicted: {problem}", run.job.name, run.job.id);
    shared.note_eviction(&run, problem);
    let (folder, id) = (shared.run_folder(&run), run.to_string());
    if spawn_blocking(move || process_tree::kill_run(&folder, &id)).await.is_err() {
        tracing::error!("the evicting of the job '{}' panicked", run.job.name);
    }
    shared.trash.discard_all(workspace::leftovers(&shared.folders.job(&run.job.id))).await;
    shared.notify_changed();
    true
}

/// What a job's own files take.
fn of_job(folder: &Path, until: Instant) -> u64 {
    ["work", "tmp"].iter().fold(0, |sum: u64, name| sum.saturating_add(usage(&folder.join(name), until)))
}

/// Bytes of disk below a folder that somebody else can change meanwhile: no link is followed, and time and depth have
/// a limit. What lies beyond it does not count.
fn usage(folder: &Path, until: Instant) -> u64 {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(top) = openat(CWD, folder, flags, Mode::empty()) else { return 0 };
    let mut sum: u64 = 0;
    let mut open: Vec<(OwnedFd, Dir)> = Vec::new();
    let enter = |folder: OwnedFd, open: &mut Vec<(OwnedFd, Dir)>| {
        if let Ok(entries) = Dir::read_from(&folder) {
            open.push((folder, entries));
        }
    };
    enter(top, &mut open);
    while let Some((folder, entries)) = open.last_mut() {
        let Some(Ok(entry)) = entries.next().filter(|_| Instant::now() < until) else {
            open.pop();
            continue;
        };
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(stat) = statat(&*folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        sum = sum.saturating_add(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512).max(FILE));
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            && open.len() < DEPTH
            && let Some((folder, _)) = open.last()
            && let Ok(inner) = openat(folder, name, flags, Mode::empty())
        {
            enter(inner, &mut open);
        }
    }
    sum
}

/// A file that does nothing but take room, until the platform needs it.
struct Reserve {
    path: PathBuf,
    size: u64,
}

impl Reserve {
    fn take(&self) {
        if self.size == 0 || fs::symlink_metadata(&self.path).is_ok_and(|file| file.len() == self.size) {
            return;
        }
        if let Err(error) = self.make() {
            let _ = fs::remove_file(&self.path);
            tracing::debug!("no room can be set aside on this disk: {error}");
        }
    }

    fn make(&self) -> io::Result<()> {
        let _ = fs::remove_file(&self.path);
        let file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path)?;
        fallocate(&file, FallocateFlags::empty(), 0, self.size)?;
        tracing::info!("{} MiB of the disk are set aside for the platform's own writes", self.size / MIB);
        Ok(())
    }

    fn give_back(&self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.blocks() > 0) && fs::remove_file(&self.path).is_ok() {
            tracing::warn!(
                "the disk is full although no job runs: the {} MiB set aside for the platform's own writes are given \
                 to them; make room, such as in the folder buckets of the data directory",
                self.size / MIB
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_follows_no_link_and_goes_not_too_deep() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("in"), folder.path().join("out"));
        fs::create_dir_all(inside.join("a/b")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("big"), vec![1; 4 << 20]).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("a/link")).unwrap();
        fs::write(inside.join("a/b/file"), vec![1; 1 << 20]).unwrap();
        let soon = || Instant::now() + Duration::from_secs(60);
        let size = usage(&inside, soon());
        assert!((1 << 20..2 << 20).contains(&size), "{size}");
        assert_eq!(usage(&inside.join("a/link"), soon()), 0);
        let mut deep = inside.join("deep");
        for _ in 0..300 {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), vec![1; 4 << 20]).unwrap();
        assert!(usage(&inside, soon()) < 4 << 20);
        assert_eq!(usage(&inside, Instant::now()), 0);
    }
}
