//! The disk that the data directory is on: jobs share it with the platform, and must not take its last bytes.
//!
//! Three marks, from the one that is passed first: below `logs`, what jobs print is dropped ([`LogWriter`]); below `low`,
//! no run starts, and running jobs are evicted, the one first that takes the most; and when nothing is left to be
//! evicted and there is no room all the same, the file `reserve` is given back, so that the platform can go on writing
//! until its operator has made room.
//!
//! [`LogWriter`]: super::log::LogWriter

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, CWD, Dir, FallocateFlags, FileType, Mode, OFlags, fallocate, openat, statat, statvfs},
};
use tokio::{task::spawn_blocking, time::sleep};

use super::{processes, trash};
use crate::{
    App, Result,
    service::job_rows::{self, JobRow},
};

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(250);
const MIB: u64 = 1 << 20;
/// What a walk through a job's files may take.
const WALK: Duration = Duration::from_millis(500);
/// How deep it goes: each folder on the way is an open file.
const DEPTH: usize = 64;
/// With fewer files left on a disk (or 5 % of a small one's), jobs are evicted.
const FEW_FILES: u64 = 10_000;
/// What a file counts at least, since it can be files that a disk lacks.
const FILE: u64 = 4096;
/// What is no reason to evict a job before others.
const SMALL: u64 = MIB;
/// Between the end of pressure and its begin, so that it does not begin again at once.
const CALM: u64 = 2;

/// The begin of what is said of a job that was evicted.
pub(crate) const EVICTED: &str = "the platform's disk is nearly full";

/// Marks of free space, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Below it, the output of jobs is dropped.
    pub(crate) logs: u64,
    /// Below it, jobs are evicted.
    pub(crate) low: u64,
    /// The size of the reserve.
    pub(crate) reserve: u64,
}

impl Marks {
    /// For a disk of so many bytes.
    fn of(size: u64) -> Self {
        let low = (size / 20).min(512 * MIB);
        // A disk that small is somebody's test, and every byte of it is wanted.
        let reserve = if size < 128 * MIB { 0 } else { (size / 100).min(16 * MIB) };
        Self { logs: low.saturating_mul(CALM), low, reserve }
    }

    /// For the disk that holds a path.
    pub(crate) fn at(path: &Path) -> Self {
        statvfs(path)
            .map_or(Self { logs: 0, low: 0, reserve: 0 }, |disk| Self::of(disk.f_blocks.saturating_mul(disk.f_frsize)))
    }
}

/// Bytes that can still be written beside a path: none, if hardly a file can be made any more.
pub(crate) fn free(path: &Path) -> Option<u64> {
    let disk = statvfs(path).ok()?;
    // Where files are not counted, there are 0 in all.
    let few = disk.f_favail < (disk.f_files / 20).min(FEW_FILES);
    Some(if few { 0 } else { disk.f_bavail.saturating_mul(disk.f_frsize) })
}

/// Below so many free bytes of the disk that holds a path, no job runs.
pub(crate) fn low_mark(path: &Path) -> u64 {
    Marks::at(path).low
}

/// Bytes of the disk that holds a path.
pub(crate) fn size(path: &Path) -> Option<u64> {
    statvfs(path).ok().map(|disk| disk.f_blocks.saturating_mul(disk.f_frsize))
}

/// Whether something failed for want of room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether a run had no room to begin.
pub(crate) fn is_low(app: &App) -> bool {
    let path = app.dir().path();
    app.spark().is_under_pressure() || free(path).is_some_and(|free| free < Marks::at(path).low.max(MIB / 4))
}

/// For as long as the server runs.
pub(crate) async fn watch(app: App) {
    let marks = Marks::at(app.dir().path());
    let reserve = Reserve { path: app.dir().path().join("reserve"), size: marks.reserve };
    loop {
        if let Err(error) = look(&app, marks, &reserve).await {
            tracing::error!("the disk could not be looked after: {error}: {:?}", crate::error::causes(&error));
        }
        sleep(LOOK).await;
    }
}

async fn look(app: &App, marks: Marks, reserve: &Reserve) -> Result<()> {
    let path = app.dir().path().to_owned();
    // A disk of the network may take its time.
    let Ok(Some(free)) = spawn_blocking(move || free(&path)).await else { return Ok(()) };
    let gateway = app.spark();
    if free >= marks.low.saturating_mul(CALM) && gateway.set_pressure(false) {
        tracing::info!("the disk has room again ({} MiB): runs of jobs start again", free / MIB);
        gateway.ring();
    }
    if free >= marks.low {
        if free >= marks.low.saturating_mul(CALM).saturating_add(reserve.size) {
            reserve.take();
        }
        return Ok(());
    }
    if !gateway.set_pressure(true) {
        tracing::warn!(
            "the disk is nearly full ({} MiB are free, less than {}): no run of a job starts, and running jobs are \
             evicted",
            free / MIB,
            marks.low / MIB
        );
    }
    let evicted = evict(app, free).await?;
    if !evicted && free < reserve.size / 4 {
        reserve.give_back();
    }
    Ok(())
}

/// Evicts the running job that takes the most room; the newest, if none takes much. Needs not one byte of the disk.
async fn evict(app: &App, free: u64) -> Result<bool> {
    let jobs = job_rows::open(&mut *app.read().await?).await?;
    // One that is starting has written nothing, and one that is being evicted needs a moment.
    let can_be = |job: &JobRow| job.alive && job.run(app).began().is_some() && !app.spark().is_evicted(&job.mark());
    let mut jobs: Vec<_> = jobs.into_iter().filter(can_be).collect();
    if jobs.is_empty() {
        return Ok(false);
    }
    let folders: Vec<PathBuf> = jobs.iter().map(|job| job.folder(app)).collect();
    let sizes = spawn_blocking(move || {
        let until = Instant::now() + WALK;
        folders.iter().map(|folder| of_job(folder, until)).collect::<Vec<u64>>()
    });
    let sizes = sizes.await.unwrap_or_default();
    let most = sizes.iter().copied().enumerate().filter(|(_, size)| *size > SMALL).max_by_key(|(_, size)| *size);
    let (index, size) = most.unwrap_or_else(|| (jobs.len().saturating_sub(1), 0));
    let job = jobs.swap_remove(index.min(jobs.len().saturating_sub(1)));
    let problem =
        format!("{EVICTED}: {} MiB were free, and this job's working folder took {} MiB", free / MIB, size / MIB);
    tracing::warn!("the job '{}' ({}) is evicted: {problem}", job.name, job.id);
    app.spark().note_eviction(job.mark(), problem);
    let (run, mark) = (job.run(app), job.mark());
    if spawn_blocking(move || processes::kill_run(&run, &mark)).await.is_err() {
        tracing::error!("the evicting of the job '{}' panicked", job.name);
    }
    trash::tidy(app, &job, false).await;
    app.spark().ring();
    Ok(true)
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
    fn marks() {
        let of = |mib: u64| {
            let marks = Marks::of(mib * MIB);
            (marks.logs / MIB, marks.low / MIB, marks.reserve / MIB)
        };
        assert_eq!(of(8), (0, 0, 0));
        assert_eq!(of(256), (25, 12, 2));
        assert_eq!(of(1 << 20), (1024, 512, 16));
    }

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
