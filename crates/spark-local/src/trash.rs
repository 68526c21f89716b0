//! The trash: removal of what jobs leave behind, folders of any depth, size and mode, into which somebody may still be
//! writing.
//!
//! A folder is first renamed into the data directory's `trash`, which no job can enter: that takes a moment, and no path
//! leads there any more. What is in the trash is removed beside the server's work, some at a time. A folder in a folder is
//! moved up into the trash itself before its own turn comes, so that neither depth nor breadth costs memory or open files,
//! and every step is relative to an open folder and follows no link.
//!
//! What cannot be moved there (the disk is full) is tried again until it can; what cannot be removed (a mount, an immutable
//! file) stays there and is logged. The next start tries both again.

use std::{
    collections::BTreeSet,
    ffi::CStr,
    fs::{self, Permissions},
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, fchmod, openat, renameat, unlinkat},
    io::Errno,
};
use tokio::{sync::Notify, task::spawn_blocking, time::timeout};

/// Between two tries to move what could not be moved.
const AGAIN: Duration = Duration::from_secs(30);
/// One turn: the server's other work, and its end, need not wait for longer.
const TURN: Duration = Duration::from_millis(100);

/// Distinguishes what was moved at the same moment.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The trash of a data directory.
#[derive(Debug)]
pub(crate) struct Trash {
    folder: PathBuf,
    /// Something was moved into it.
    filled: Notify,
    /// What could not be moved into it yet.
    pending: Mutex<BTreeSet<PathBuf>>,
}

impl Trash {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, filled: Notify::new(), pending: Mutex::default() }
    }

    /// Moves a file or folder into the trash, and has it removed.
    pub(crate) fn discard(&self, path: &Path) {
        self.try_to_move(path);
        self.filled.notify_one();
    }

    /// The same for several, on a thread that may wait for the disk. Returns when they are moved.
    pub(crate) async fn discard_all(self: &Arc<Self>, paths: impl IntoIterator<Item = PathBuf>) {
        let (trash, paths): (_, Vec<PathBuf>) = (Arc::clone(self), paths.into_iter().collect());
        let _ = spawn_blocking(move || paths.iter().for_each(|path| trash.discard(path))).await;
    }

    fn try_to_move(&self, path: &Path) {
        let moved = self.move_here(path);
        if let Err(error) = &moved {
            tracing::error!("'{}' cannot be moved into the trash, which is tried again: {error}", path.display());
        }
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if moved.is_err() {
            pending.insert(path.to_owned())
        } else {
            pending.remove(path)
        };
    }

    /// That it does not exist is no error.
    fn move_here(&self, path: &Path) -> io::Result<()> {
        match fs::rename(path, self.folder.join(name())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes what is in it, for as long as the server runs.
    pub(crate) async fn keep_empty(self: Arc<Self>) {
        loop {
            let folder = self.folder.clone();
            match spawn_blocking(move || empty(&folder, TURN)).await {
                Ok(Ok(Progress::More)) => tokio::task::yield_now().await,
                Ok(Ok(Progress::Done)) => self.wait().await,
                failed => {
                    tracing::error!("'{}' cannot be emptied: {failed:?}", self.folder.display());
                    self.wait().await;
                }
            }
        }
    }

    /// Until something was moved into it, or could not be and is tried again.
    async fn wait(self: &Arc<Self>) {
        let pause = if self.pending().is_empty() { Duration::MAX } else { AGAIN };
        let _ = timeout(pause, self.filled.notified()).await;
        let (paths, trash) = (self.pending(), Arc::clone(self));
        if !paths.is_empty() {
            let _ = spawn_blocking(move || paths.iter().for_each(|path| trash.try_to_move(path))).await;
        }
    }

    fn pending(&self) -> BTreeSet<PathBuf> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A name that nothing in the trash has, whichever server moved it there.
fn name() -> String {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    format!("{since:x}-{:x}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

type Done<T> = std::result::Result<T, Errno>;

#[derive(Debug, PartialEq)]
enum Progress {
    /// Nothing is left.
    Done,
    /// The time was over.
    More,
}

/// Removes what is in a folder, for about so long.
fn empty(path: &Path, turn: Duration) -> io::Result<Progress> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let trash = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Progress::Done),
        opened => opened?,
    };
    let mut turn = Turn { trash, end: Instant::now() + turn, any: false, problem: None };
    loop {
        let trash = turn.trash.try_clone()?;
        if !turn.each(&trash, |turn, name| turn.remove(name))? {
            return Ok(Progress::More);
        }
        match (turn.any, turn.problem.take()) {
            // What was found may have been moved up.
            (true, _) => turn.any = false,
            (false, None) => return Ok(Progress::Done),
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
        let all = self.each(&folder, |turn, inside| {
            if !unlink(&folder, inside)? {
                up(&folder, inside, &turn.trash)?;
            }
            turn.any = true;
            Ok(true)
        })?;
        if all {
            self.any |= unlink(&trash, name)?;
        }
        Ok(all)
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
        while empty(path, turn).unwrap() == Progress::More {
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
        assert_eq!(empty(&root.path().join("trash"), TURN).unwrap(), Progress::Done);
    }
}
