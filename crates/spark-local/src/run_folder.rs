//! The folder of a run: the state of the run on disk, which outlives the server.
//!
//! | file | what |
//! | --- | --- |
//! | `lock` | locked as long as the run's parent lives; the system lets go of it, however the parent ends |
//! | `began.json` | who the parent is: written before the program is started |
//! | `end.json` | how it ended: written whole or not at all |
//!
//! The folder is 0700 and its files are 0600, whatever the umask: who locks `lock` is taken for the run's parent, and
//! what `end.json` says is believed.
//!
//! Locked: it runs. Not locked, and its end is written: that is final. Not locked, no end: the parent was killed. Not
//! locked and not even begun: the platform was killed before it could start anything, and may start it now.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use mlplatform_runner::termination::Termination;
use rustix::fs::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{cgroup::Cgroup, proc};

/// Bytes that an end takes at most, with its problem's text.
const END_SIZE: u64 = 4096;

/// The folder of a run.
#[derive(Clone, Debug)]
pub(crate) struct RunFolder(PathBuf);

/// The state of a run, as its folder tells it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FolderState {
    /// Nothing was started.
    NotStarted,
    /// Its parent lives.
    Running,
    /// Its end is known.
    Ended(Termination),
    /// Its parent was killed, and with it went what is known of its end.
    Lost,
}

/// The file `began.json`: who the parent is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StartRecord {
    /// Its process id, which is the session's too.
    pub(crate) pid: u32,
    /// With the pid, one process until the next boot.
    pub(crate) started: Option<u64>,
    /// Which boot that was.
    #[serde(default)]
    pub(crate) boot: Option<String>,
    /// The control group of the run's processes.
    #[serde(default)]
    pub(crate) cgroup: Option<PathBuf>,
    /// Where the run's part of the job's log begins.
    #[serde(default)]
    pub(crate) log_from: Option<u64>,
    /// When.
    pub(crate) at: Timestamp,
}

impl RunFolder {
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Takes the lock, for the parent to inherit: there is no moment at which nobody holds it.
    pub(crate) fn lock(&self) -> io::Result<File> {
        let file = private(OpenOptions::new().read(true).append(true).create(true), &self.lock_path())?;
        file.try_lock().map_err(io::Error::from)?;
        Ok(file)
    }

    fn lock_path(&self) -> PathBuf {
        self.0.join("lock")
    }

    pub(crate) fn is_locked(&self) -> bool {
        let Ok(file) = OpenOptions::new().read(true).append(true).open(self.lock_path()) else { return false };
        matches!(file.try_lock(), Err(TryLockError::WouldBlock))
    }

    pub(crate) fn state(&self) -> FolderState {
        // In this order: an end that is written while we look is found, because the lock is let go of after it.
        if self.is_locked() {
            return FolderState::Running;
        }
        match (self.end(), self.began()) {
            (Some(end), _) => FolderState::Ended(end),
            (None, Some(_)) => FolderState::Lost,
            (None, None) => FolderState::NotStarted,
        }
    }

    pub(crate) fn began(&self) -> Option<StartRecord> {
        read(&self.0.join("began.json"))
    }

    pub(crate) fn end(&self) -> Option<Termination> {
        read(&self.0.join("end.json"))
    }

    pub(crate) fn write_began(&self, cgroup: Option<&Cgroup>, log_from: u64) -> io::Result<()> {
        let (pid, cgroup) = (std::process::id(), cgroup.map(|cgroup| cgroup.path().to_owned()));
        let began = StartRecord {
            pid,
            started: proc::started(pid),
            boot: proc::boot(),
            cgroup,
            log_from: Some(log_from),
            at: Timestamp::now(),
        };
        write(&self.0.join("began.json"), &began)
    }

    /// Takes the room for the end before the run begins: the run may fill the disk.
    pub(crate) fn reserve_end(&self) -> io::Result<()> {
        let path = beside(&self.0.join("end.json"));
        let file = private(OpenOptions::new().write(true).create(true).truncate(true), &path)?;
        // Where it cannot be taken beforehand, the end is written when there is room.
        let _ = fallocate(&file, FallocateFlags::KEEP_SIZE, 0, END_SIZE);
        Ok(())
    }

    pub(crate) fn write_end(&self, end: &Termination) -> io::Result<()> {
        write(&self.0.join("end.json"), end)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Whole or not at all, and there to stay. The room that was taken for it is used.
fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let (beside, text) = (beside(path), serde_json::to_vec(value)?);
    let file = private(OpenOptions::new().write(true).create(true).truncate(false), &beside)?;
    file.write_all_at(&text, 0)?;
    file.set_len(text.len() as u64)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("tmp")
}

/// For nobody but the platform's user, whatever the umask is and whatever the file was.
fn private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn what_a_folder_says() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::at(folder.path());
        assert_eq!(run.state(), FolderState::NotStarted);
        let lock = run.lock().unwrap();
        assert!(run.lock().is_err());
        assert_eq!(run.state(), FolderState::Running);
        run.reserve_end().unwrap();
        run.write_began(None, 7).unwrap();
        assert_eq!(run.began().unwrap().pid, std::process::id());
        drop(lock);
        assert_eq!(run.state(), FolderState::Lost);
        let end = Termination { at: Timestamp::UNIX_EPOCH, exit_code: Some(0), signal: None, problem: None };
        run.write_end(&end).unwrap();
        assert_eq!(run.state(), FolderState::Ended(end));
        let modes: Vec<u32> = ["lock", "began.json", "end.json"]
            .map(|name| fs::metadata(folder.path().join(name)).unwrap().mode())
            .into();
        assert_eq!(modes, [0o100_600; 3]);
    }
}
