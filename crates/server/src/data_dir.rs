//! The data directory: one folder that holds all state, readable by its owner alone.
//!
//! | file | what |
//! | --- | --- |
//! | `platform.sqlite3` (and `-wal`, `-shm`) | the store |
//! | `admin-token` | the newest Administrator token made on this machine |
//! | `audit-key`, `audit-head` | the audit chain's key and the mark of its newest row |
//! | `secrets-key` | what the values of secrets are encrypted with |
//! | `buckets/<name>/` | the bucket of a cluster: its files are the users' own |
//! | `jobs/<id>/` | the log of a job and its runs; while it runs, its working folder |
//! | `ivy/` | packages that jobs have fetched |
//! | `url` | where the server that was started last is reached |
//! | `lock` | held by the one `serve` of this directory; contains its pid |
//!
//! A file with a secret is written beside its place, flushed, and renamed into it: at any moment a reader finds the
//! old file or the new one, whole, and never with a wider mode than 0600.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use crate::StartError;

/// One folder, made if need be.
#[derive(Clone, Debug)]
pub struct DataDir {
    path: PathBuf,
}

/// Held as long as a server works on the directory. The system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DataDir {
    /// The folder at that path, made with mode 0700 when it is not there.
    ///
    /// # Errors
    /// When it cannot be made, or is no folder.
    pub fn create(path: &Path) -> Result<Self, StartError> {
        let dir = Self::at(path)?;
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&dir.path).map_err(|source| dir.failed("make", source))?;
        #[cfg(unix)]
        dir.warn_if_open_to_others();
        Ok(dir)
    }

    /// The folder at that path, which a server has used before.
    ///
    /// # Errors
    /// When there is no store in it.
    pub fn existing(path: &Path) -> Result<Self, StartError> {
        let dir = Self::at(path)?;
        let there = dir.database().try_exists().map_err(|source| dir.failed("read", source))?;
        if there { Ok(dir) } else { Err(StartError::NoStore { path: dir.path }) }
    }

    fn at(path: &Path) -> Result<Self, StartError> {
        let absolute = std::path::absolute(path);
        let path = absolute.map_err(|source| StartError::Folder { action: "find", path: path.to_owned(), source })?;
        Ok(Self { path })
    }

    /// Where it is, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The store.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.path.join("platform.sqlite3")
    }

    /// The newest Administrator token that was made on this machine.
    #[must_use]
    pub fn admin_token(&self) -> PathBuf {
        self.path.join("admin-token")
    }

    /// The key of the audit chain.
    #[must_use]
    pub fn audit_key(&self) -> PathBuf {
        self.path.join("audit-key")
    }

    /// The mark of the newest audit row.
    #[must_use]
    pub fn audit_head(&self) -> PathBuf {
        self.path.join("audit-head")
    }

    /// The key that the values of secrets are encrypted with.
    #[must_use]
    pub fn secrets_key(&self) -> PathBuf {
        self.path.join("secrets-key")
    }

    /// The folder of a cluster's bucket, made with mode 0700 when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn bucket(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join("buckets").join(name);
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path)?;
        Ok(path)
    }

    /// Lets another user pass through to what belongs to its jobs. The files beside them stay the platform's: each has
    /// the mode 0600, and the folder cannot be listed.
    ///
    /// # Errors
    /// When the folders cannot be made or changed.
    #[cfg(unix)]
    pub(crate) fn let_through(&self) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        for path in [self.path.clone(), self.path.join("jobs"), self.path.join("buckets")] {
            fs::create_dir_all(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o711))?;
        }
        Ok(())
    }

    /// The folder of a job's files, which is made when it starts.
    #[must_use]
    pub fn job(&self, id: &str) -> PathBuf {
        self.path.join("jobs").join(id)
    }

    /// Where packages are kept that jobs have fetched.
    #[must_use]
    pub fn ivy(&self) -> PathBuf {
        self.path.join("ivy")
    }

    /// Remembers where the server that holds the lock is reached.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn serve_at(&self, url: &str) -> Result<(), StartError> {
        self.replace_private(&self.url(), url.as_bytes()).map_err(|source| self.failed("write to", source))
    }

    /// Where the server that holds the lock is reached.
    ///
    /// # Errors
    /// When no server holds it.
    pub fn served_at(&self) -> Result<String, StartError> {
        let not_served = || StartError::NotServed { path: self.path.clone() };
        let lock = File::open(self.path.join("lock")).map_err(|_| not_served())?;
        match lock.try_lock_shared() {
            Err(TryLockError::WouldBlock) => fs::read_to_string(self.url()).map_err(|_| not_served()),
            _ => Err(not_served()),
        }
    }

    fn url(&self) -> PathBuf {
        self.path.join("url")
    }

    /// Takes the directory for this process.
    ///
    /// # Errors
    /// When another server has it, or nothing can be written here.
    pub fn lock(&self) -> Result<DirLock, StartError> {
        let failed = |source| self.failed("write to", source);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = private(&mut options).open(self.path.join("lock")).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                let pid = pid.trim().parse().ok();
                return Err(StartError::InUse { path: self.path.clone(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(DirLock { _file: file })
    }

    /// Makes an empty file of mode 0600 unless it is there. SQLite gives its `-wal` and `-shm` the mode of the database.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn touch_private(&self, path: &Path) -> io::Result<()> {
        private(OpenOptions::new().write(true).create(true).truncate(false)).open(path).map(drop)
    }

    /// Replaces a file, mode 0600; when it returns, the new content survives a loss of power.
    ///
    /// # Errors
    /// When it cannot be written; the old file is then as it was.
    pub fn replace_private(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        // Of this process, so that a server and a command at the same time do not write into each other's file.
        let beside = path.with_extension(format!("{}.tmp", std::process::id()));
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let written = private(OpenOptions::new().write(true).create_new(true))
            .open(&beside)
            .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&beside, path));
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written.and_then(|()| self.sync())
    }

    /// Removes what a process that was killed while writing left behind.
    pub fn sweep(&self) {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".tmp")) {
            let _ = fs::remove_file(entry.path());
        }
    }

    /// Makes renames in the folder durable.
    fn sync(&self) -> io::Result<()> {
        if cfg!(unix) { File::open(&self.path)?.sync_all() } else { Ok(()) }
    }

    fn failed(&self, action: &'static str, source: io::Error) -> StartError {
        StartError::Folder { action, path: self.path.clone(), source }
    }

    #[cfg(unix)]
    fn warn_if_open_to_others(&self) {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&self.path).map(|meta| meta.permissions().mode() & 0o777).unwrap_or(0o700);
        // To pass through without seeing anything is what the users of jobs may do.
        if mode & 0o066 != 0 {
            let path = self.path.display();
            tracing::warn!("others may enter the data directory (mode {mode:03o}): chmod 700 '{path}'");
        }
    }
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn nobody_else_may_read() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::create(&parent.path().join("a/b")).unwrap();
        dir.replace_private(&dir.admin_token(), b"one").unwrap();
        dir.replace_private(&dir.admin_token(), b"two").unwrap();
        assert_eq!(fs::read(dir.admin_token()).unwrap(), b"two");
        assert_eq!((mode(dir.path()), mode(&dir.admin_token())), (0o700, 0o600));
    }

    #[test]
    fn a_second_lock_names_the_holder() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::create(parent.path()).unwrap();
        let lock = dir.lock().unwrap();
        let message = dir.lock().unwrap_err().to_string();
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
        assert!(message.contains(&dir.path().display().to_string()), "{message}");
        drop(lock);
        dir.lock().unwrap();
    }

    #[test]
    fn leftovers_are_swept() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::create(parent.path()).unwrap();
        fs::write(dir.path().join("admin-token.123.tmp"), b"x").unwrap();
        dir.sweep();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
