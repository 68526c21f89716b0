//! One run of a job: its folder, and what the folder says about it.
//!
//! | file | what |
//! | --- | --- |
//! | `lock` | locked as long as the run's parent lives; the system lets go of it, however the parent ends |
//! | `began.json` | who the parent is: written before the program is started |
//! | `end.json` | how it ended: written whole or not at all |
//!
//! Locked: it runs. Not locked, and its end is written: that is final. Not locked, no end: the parent was killed. Not
//! locked and not even begun: the platform was killed before it could start anything, and may start it now.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::processes;

/// The folder of a run.
#[derive(Clone, Debug)]
pub(crate) struct RunFolder(PathBuf);

/// What is known of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Standing {
    /// Nothing was started.
    NotBegun,
    /// Its parent lives.
    Running,
    /// Its end is known.
    Ended(End),
    /// Its parent was killed, and with it went what is known of its end.
    Lost,
}

/// Who the parent is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Began {
    /// Its process id, which is the session's too.
    pub(crate) pid: u32,
    /// With the pid, one process for ever.
    pub(crate) started: Option<u64>,
    /// When.
    pub(crate) at: Timestamp,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct End {
    /// When, by the system's clock.
    pub(crate) at: Timestamp,
    /// What the program returned.
    pub(crate) exit_code: Option<i32>,
    /// What ended it instead.
    pub(crate) signal: Option<i32>,
    /// Why there was nothing to end: the program could not be started.
    pub(crate) problem: Option<String>,
}

impl End {
    /// One that nobody wrote down.
    pub(crate) fn problem(problem: &str) -> Self {
        Self { at: Timestamp::now(), exit_code: None, signal: None, problem: Some(problem.to_owned()) }
    }

    pub(crate) fn is_success(&self) -> bool {
        self.exit_code == Some(0) && self.problem.is_none()
    }
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
        let file = OpenOptions::new().read(true).append(true).create(true).open(self.lock_path())?;
        file.try_lock().map_err(io::Error::from)?;
        Ok(file)
    }

    fn lock_path(&self) -> PathBuf {
        self.0.join("lock")
    }

    fn is_locked(&self) -> bool {
        let Ok(file) = OpenOptions::new().read(true).append(true).open(self.lock_path()) else { return false };
        matches!(file.try_lock(), Err(TryLockError::WouldBlock))
    }

    pub(crate) fn standing(&self) -> Standing {
        // In this order: an end that is written while we look is found, because the lock is let go of after it.
        if self.is_locked() {
            return Standing::Running;
        }
        match (self.end(), self.began()) {
            (Some(end), _) => Standing::Ended(end),
            (None, Some(_)) => Standing::Lost,
            (None, None) => Standing::NotBegun,
        }
    }

    pub(crate) fn began(&self) -> Option<Began> {
        read(&self.0.join("began.json"))
    }

    pub(crate) fn end(&self) -> Option<End> {
        read(&self.0.join("end.json"))
    }

    pub(crate) fn write_began(&self) -> io::Result<()> {
        let pid = std::process::id();
        write(&self.0.join("began.json"), &Began { pid, started: processes::started(pid), at: Timestamp::now() })
    }

    pub(crate) fn write_end(&self, end: &End) -> io::Result<()> {
        write(&self.0.join("end.json"), end)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Whole or not at all, and there to stay.
fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let beside = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&beside)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_folder_says() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::at(folder.path());
        assert_eq!(run.standing(), Standing::NotBegun);
        let lock = run.lock().unwrap();
        assert!(run.lock().is_err());
        assert_eq!(run.standing(), Standing::Running);
        run.write_began().unwrap();
        assert_eq!(run.began().unwrap().pid, std::process::id());
        drop(lock);
        assert_eq!(run.standing(), Standing::Lost);
        let end = End { at: Timestamp::UNIX_EPOCH, exit_code: Some(0), signal: None, problem: None };
        run.write_end(&end).unwrap();
        assert_eq!(run.standing(), Standing::Ended(end));
    }
}
