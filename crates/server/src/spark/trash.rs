//! Removing what jobs leave behind: folders of any depth, size and mode, into which somebody may still be writing.
//!
//! A folder is first renamed into the data directory's `trash`, which no job can enter: that takes a moment, and no path
//! leads there any more. What is in the trash is removed beside the server's work, some at a time. A folder in a folder is
//! moved up into the trash itself before its own turn comes, so that neither depth nor breadth costs memory or open files,
//! and every step is relative to an open folder and follows no link.
//!
//! What cannot be moved there (the disk is full) is tried again until it can; what cannot be removed (a mount, an immutable
//! file) stays there and is told. The next start tries both again.

use std::{
    collections::{BTreeSet, HashSet},
    ffi::CStr,
    fs::{self, DirBuilder, Permissions},
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::{DirBuilderExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, fchmod, openat, renameat, unlinkat},
    io::Errno,
};
use tokio::{sync::Notify, task::spawn_blocking, time::timeout};

use crate::{
    app::App,
    data_dir::DataDir,
    error::{Error, Result},
    service::job_rows::{self, JobRow},
};

/// Between two tries to move what could not be moved.
const AGAIN: Duration = Duration::from_secs(30);
/// One turn: the server's other work, and its end, need not wait for longer.
const TURN: Duration = Duration::from_millis(100);

/// Distinguishes what was thrown away at the same moment.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Throws away what nobody needs of a job that is over: its working folder, its mounts, its
/// configuration, and once it is deleted the program that came along with it. Its log stays.
pub(crate) async fn tidy(app: &App, job: &JobRow, deleted: bool) {
    let left = leftovers(&job.folder(app));
    let upload = deleted.then(|| app.dir().uploads().join(&job.id));
    let app = app.clone();
    let done = spawn_blocking(move || {
        for path in left.into_iter().chain(upload) {
            discard(&app, &path);
        }
    });
    let _ = done.await;
}

/// Removes the program that came along with a job that is not made after all.
pub(crate) fn remove_upload(app: &App, job: &str) {
    discard(app, &app.dir().uploads().join(job));
}

/// Makes the trash, while there is room on the disk for it, and throws away what a server that was killed left: the
/// programs of jobs that are gone, and the working folders of those that are over. Before anybody can submit another.
pub async fn prepare(app: &App) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(app.dir().trash()) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::File("making the trash", error));
        }
        _ => {}
    }
    let kept: HashSet<String> = job_rows::ids(&mut *app.read().await?).await?.into_iter().collect();
    for entry in fs::read_dir(app.dir().uploads()).into_iter().flatten().flatten() {
        if !entry.file_name().to_str().is_some_and(|id| kept.contains(id)) {
            discard(app, &entry.path());
        }
    }
    let open: HashSet<String> = job_rows::open(&mut *app.read().await?).await?.into_iter().map(|job| job.id).collect();
    for entry in fs::read_dir(app.dir().path().join("jobs")).into_iter().flatten().flatten() {
        if !entry.file_name().to_str().is_some_and(|id| open.contains(id)) {
            leftovers(&entry.path()).iter().for_each(|path| discard(app, path));
        }
    }
    Ok(())
}

/// What a job's runs leave beside its log.
fn leftovers(job: &Path) -> [PathBuf; 4] {
    [job.join("work"), job.join("tmp"), super::mounts::folder(job), super::launch::properties(job)]
}

/// Moves a file or folder into the trash, and has it emptied.
pub(super) fn discard(app: &App, path: &Path) {
    move_or_keep(app, path);
    app.spark().trash.bell.notify_one();
}

fn move_or_keep(app: &App, path: &Path) {
    let moved = throw_away(app.dir(), path);
    if let Err(error) = &moved {
        tracing::error!("'{}' cannot be moved into the trash, which is tried again: {error}", path.display());
    }
    app.spark().trash.keep(path, moved.is_err());
}

/// Moves a file or folder into the trash; that it is not there is no error.
fn throw_away(dir: &DataDir, path: &Path) -> io::Result<()> {
    match fs::rename(path, dir.trash().join(name())) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// One that nothing in the trash has, whichever server threw it away.
fn name() -> String {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    format!("{since:x}-{:x}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Empties the trash for as long as the server runs.
pub(crate) async fn keep_empty(app: App) {
    loop {
        let trash = app.dir().trash();
        match spawn_blocking(move || empty(&trash, TURN)).await {
            Ok(Ok(Left::More)) => tokio::task::yield_now().await,
            Ok(Ok(Left::Nothing)) => wait(&app).await,
            failed => {
                tracing::error!("'{}' cannot be emptied: {failed:?}", app.dir().trash().display());
                wait(&app).await;
            }
        }
    }
}

/// Until something was thrown away, or could not be and is tried again.
async fn wait(app: &App) {
    let bin = &app.spark().trash;
    let _ = timeout(bin.pause(), bin.bell.notified()).await;
    let (paths, app) = (bin.kept(), app.clone());
    if !paths.is_empty() {
        let _ = spawn_blocking(move || paths.iter().for_each(|path| move_or_keep(&app, path))).await;
    }
}

/// What the server knows of the trash.
#[derive(Debug, Default)]
pub(crate) struct Bin {
    /// Something was thrown away.
    bell: Notify,
    /// What could not be moved into it.
    kept: Mutex<BTreeSet<PathBuf>>,
}

impl Bin {
    fn keep(&self, path: &Path, keep: bool) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if keep {
            kept.insert(path.to_owned())
        } else {
            kept.remove(path)
        };
    }

    fn kept(&self) -> BTreeSet<PathBuf> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn pause(&self) -> Duration {
        if self.kept().is_empty() { Duration::MAX } else { AGAIN }
    }
}

type Done<T> = std::result::Result<T, Errno>;

#[derive(Debug, PartialEq)]
enum Left {
    Nothing,
    /// The time was over.
    More,
}

/// Removes what is in a folder, for about so long.
fn empty(path: &Path, turn: Duration) -> io::Result<Left> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let trash = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Left::Nothing),
        opened => opened?,
    };
    let mut turn = Turn { trash, end: Instant::now() + turn, any: false, problem: None };
    loop {
        let trash = turn.trash.try_clone()?;
        if !turn.each(&trash, |turn, name| turn.remove(name))? {
            return Ok(Left::More);
        }
        match (turn.any, turn.problem.take()) {
            // What was found may have been moved up.
            (true, _) => turn.any = false,
            (false, None) => return Ok(Left::Nothing),
            (false, Some(error)) => return Err(error.into()),
        }
    }
}

/// What one turn knows.
struct Turn {
    trash: OwnedFd,
    end: Instant,
    /// Something was removed, or moved up.
    any: bool,
    /// Something could not be.
    problem: Option<Errno>,
}

impl Turn {
    /// Does that with each entry of a folder; `false`: the time was over.
    fn each(&mut self, folder: &OwnedFd, act: impl Fn(&mut Self, &CStr) -> Done<bool>) -> Done<bool> {
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match act(self, name) {
                Ok(true) | Err(Errno::NOENT) => {}
                Ok(false) => return Ok(false),
                Err(error) => self.problem = Some(error),
            }
            if Instant::now() > self.end {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes an entry of the trash; if it is a folder that is not empty, moves the folders in it up.
    fn remove(&mut self, name: &CStr) -> Done<bool> {
        let trash = self.trash.try_clone().map_err(|_| Errno::MFILE)?;
        if unlink(&trash, name)? {
            self.any = true;
            return Ok(true);
        }
        let folder = open(&trash, name)?;
        let whole = self.each(&folder, |turn, inside| {
            if !unlink(&folder, inside)? {
                up(&folder, inside, &turn.trash)?;
            }
            turn.any = true;
            Ok(true)
        })?;
        if whole {
            self.any |= unlink(&trash, name)?;
        }
        Ok(whole)
    }
}

/// Removes what is no folder, or an empty one; `false`: it is a folder with something in it.
fn unlink(folder: &OwnedFd, name: &CStr) -> Done<bool> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        done => return done.map(|()| true),
    }
    match unlinkat(folder, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ACCESS) => Ok(false),
        done => done.map(|()| true),
    }
}

/// Opens a folder for changing what is in it. Its owner may have taken all rights away, its own included.
fn open(parent: &OwnedFd, name: &CStr) -> Done<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(parent, name, flags, Mode::empty()).or_else(|error| {
        if error != Errno::ACCESS {
            return Err(error);
        }
        allow(parent, name)?;
        openat(parent, name, flags, Mode::empty())
    })?;
    let _ = fchmod(&opened, Mode::RWXU);
    Ok(opened)
}

/// Gives the owner all rights. An open file that stands for the name alone cannot be exchanged for a link.
fn allow(parent: &OwnedFd, name: &CStr) -> Done<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let itself = openat(parent, name, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}", itself.as_fd().as_raw_fd());
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(|_| Errno::ACCESS)
}

/// Moves a folder up into the trash.
fn up(folder: &OwnedFd, inside: &CStr, trash: &OwnedFd) -> Done<()> {
    renameat(folder, inside, trash, name()).or_else(|error| match error {
        Errno::NOENT => Ok(()),
        // To be moved, it must be writable.
        Errno::ACCESS => {
            allow(folder, inside)?;
            renameat(folder, inside, trash, name())
        }
        error => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Until nothing is left; gives the number of turns.
    fn emptied(path: &Path, turn: Duration) -> u32 {
        let mut turns = 1;
        while empty(path, turn).unwrap() == Left::More {
            turns += 1;
        }
        turns
    }

    #[test]
    fn depth_costs_neither_stack_nor_files() {
        let root = tempfile::tempdir().unwrap();
        let trash = root.path().join("trash");
        fs::create_dir(&trash).unwrap();
        let mut at = rustix::fs::open(&trash, OFlags::PATH, Mode::empty()).unwrap();
        for _ in 0..50_000 {
            rustix::fs::mkdirat(&at, "a", Mode::RWXU).unwrap();
            at = openat(&at, "a", OFlags::PATH, Mode::empty()).unwrap();
        }
        assert!(emptied(&trash, Duration::from_millis(1)) > 1, "in turns");
        assert_eq!(fs::read_dir(&trash).unwrap().count(), 0);
    }

    #[test]
    fn links_are_removed_and_not_followed_and_rights_are_no_hindrance() {
        let root = tempfile::tempdir().unwrap();
        let (trash, outside) = (root.path().join("trash"), root.path().join("outside"));
        fs::create_dir_all(outside.join("kept")).unwrap();
        fs::write(outside.join("kept/file"), "x").unwrap();
        let deep = trash.join("one/two/three");
        fs::create_dir_all(&deep).unwrap();
        for folder in [&trash, &trash.join("one"), &deep] {
            symlink(&outside, folder.join("link")).unwrap();
            fs::hard_link(outside.join("kept/file"), folder.join("hard")).unwrap();
        }
        for folder in [&deep, &trash.join("one/two"), &trash.join("one")] {
            fs::set_permissions(folder, Permissions::from_mode(0o000)).unwrap();
        }
        emptied(&trash, TURN);
        assert_eq!(fs::read_dir(&trash).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(outside.join("kept/file")).unwrap(), "x");
    }

    #[test]
    fn what_is_not_there_is_empty() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(empty(&root.path().join("trash"), TURN).unwrap(), Left::Nothing);
    }
}
