//! The data directory: one folder that holds all state, readable by its owner alone.
//!
//! | file | what |
//! | --- | --- |
//! | `platform.sqlite3` (and `-wal`, `-shm`) | the store |
//! | `admin-token` | the newest Administrator token made on this machine |
//! | `audit-key`, `audit-head` | the audit chain's key and the mark of its newest row |
//! | `secrets-key` | what the values of secrets are encrypted with |
//! | `buckets/`, `uploads/`, `jobs/`, `trash/`, `ivy/`, `reserve` | what jobs use ([`Folders`](mlplatform_spark_local::Folders)) |
//! | `url` | where the server that was started last is reached |
//! | `lock` | held by the one `serve` of this directory; contains its pid |
//!
//! Only the platform writes here, but for the buckets and the working folders of jobs. Who else could put a file or a link
//! in its place could also read its secrets, so such a directory is refused ([`DataDir::check`]).

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use mlplatform_platform::{
    error::{Error, Result},
    keys::KeyFiles,
    private_file::{self, PathError},
    secret,
};
use mlplatform_protocol::Secret;
use rustix::process::geteuid;

use crate::safe_path;

/// Made by servers whose store is PostgreSQL.
const ID: &str = "server-id";
/// The platform's own files.
const FILES: [&str; 12] = [
    "platform.sqlite3",
    "platform.sqlite3-wal",
    "platform.sqlite3-shm",
    "platform.sqlite3-journal",
    ID,
    "admin-token",
    "audit-key",
    "audit-head",
    "secrets-key",
    "url",
    "lock",
    "reserve",
];

/// Stores the value of an Administrator token that was just made, mode 0600.
///
/// # Errors
/// When it cannot be written.
pub fn keep_admin_token(path: &Path, value: &Secret) -> Result<()> {
    let text = format!("{}\n", value.expose());
    private_file::replace(path, text.as_bytes())
        .map_err(|error| Error::File("writing the file of the Administrator token", error))
}

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The folder cannot be used, or trusted.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A server works on it.
    #[error(
        "the data directory '{}' is in use by {}: stop that server, or give another --data-dir",
        path.display(),
        pid.map_or_else(|| "another server".to_owned(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The holder.
        pid: Option<u32>,
    },
    /// Nobody has served from it yet.
    #[error("there is no platform in '{}': run `mlplatform-server serve` on that data directory first, or give the right --data-dir", path.display())]
    NoStore {
        /// The folder.
        path: PathBuf,
    },
    /// Its platform is in PostgreSQL, and no database URL is given.
    #[error(
        "the platform of the data directory '{}' is in PostgreSQL, since a server was started on it with a database URL: give \
         --database-url-file. To serve SQLite from it all the same, without what happened since, remove the file server-id",
        path.display()
    )]
    OnPostgres {
        /// The folder.
        path: PathBuf,
    },
    /// Nobody serves from it now.
    #[error("no server works on '{}': start it with `mlplatform-server serve`, or give the right --data-dir", path.display())]
    NotServed {
        /// The folder.
        path: PathBuf,
    },
}

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
    pub fn create(path: &Path) -> Result<Self, DataDirError> {
        let dir = Self::at(path)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&dir.path).map_err(|source| dir.failed("make", source))?;
        dir.check()?;
        Ok(dir)
    }

    /// The folder at that path, which a server has used before.
    ///
    /// # Errors
    /// When there is no store in it.
    pub fn existing(path: &Path) -> Result<Self, DataDirError> {
        let dir = Self::at(path)?;
        let there = dir.database().try_exists().map_err(|source| dir.failed("read", source))?;
        if !there {
            return Err(DataDirError::NoStore { path: dir.path });
        }
        dir.check()?;
        Ok(dir)
    }

    /// That the folder and the platform's files in it are this user's, and that nobody else can put others in their place.
    fn check(&self) -> Result<(), DataDirError> {
        safe_path::check(&self.path)?;
        let own = geteuid().as_raw();
        let unsafe_ =
            |path: &Path, problem: String| DataDirError::Path(PathError::Unsafe { path: path.to_owned(), problem });
        let meta = fs::metadata(&self.path).map_err(|source| self.failed("read", source))?;
        if meta.uid() != own {
            let problem =
                format!("belongs to user {}, and this is user {own}: run this as its owner, or chown it", meta.uid());
            return Err(unsafe_(&self.path, problem));
        }
        let mode = meta.mode() & 0o7777;
        if safe_path::is_writable_by_others(mode, meta.gid()) {
            return Err(unsafe_(&self.path, format!("can be written by others (mode {mode:03o}): chmod go-w it")));
        }
        // To pass through without seeing anything is what the users of jobs may do.
        if mode & 0o066 != 0 {
            let path = self.path.display();
            tracing::warn!("others may enter the data directory (mode {mode:03o}): chmod 700 '{path}'");
        }
        for name in FILES {
            let path = self.path.join(name);
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            if !meta.is_file() {
                return Err(unsafe_(
                    &path,
                    "is no regular file: a link in its place would be followed; remove it".to_owned(),
                ));
            }
            if meta.uid() != own {
                return Err(unsafe_(
                    &path,
                    format!("belongs to user {}, and this is user {own}: chown it", meta.uid()),
                ));
            }
        }
        Ok(())
    }

    /// The folder at that path, whether or not it is there: a command beside servers that share a database puts nothing in it.
    ///
    /// # Errors
    /// When there is no current folder to begin at.
    pub fn at(path: &Path) -> Result<Self, DataDirError> {
        let absolute = std::path::absolute(path);
        let path = absolute.map_err(|source| PathError::Folder { action: "find", path: path.to_owned(), source })?;
        Ok(Self { path })
    }

    /// Where it is, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What tells it from all other data directories, also after it has moved; made when it is first asked for.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn id(&self) -> Result<String, DataDirError> {
        let path = self.path.join(ID);
        let failed = |action| move |source| PathError::Folder { action, path: self.path.clone(), source };
        match fs::read_to_string(&path) {
            Ok(id) if id.len() == 36 => return Ok(id),
            // A start that was killed has written nothing of it, or all.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("read")(error).into()),
            _ => {}
        }
        let id = secret::uuid().map_err(|error| failed("write to")(io::Error::other(error)))?;
        private_file::replace(&path, id.as_bytes()).map_err(failed("write to"))?;
        Ok(id)
    }

    /// That no server has worked on it with PostgreSQL: SQLite would be another platform, empty or with tokens that have ended.
    ///
    /// # Errors
    /// When one has.
    pub fn is_of_sqlite(&self) -> Result<(), DataDirError> {
        match self.path.join(ID).try_exists() {
            Ok(false) => Ok(()),
            Ok(true) => Err(DataDirError::OnPostgres { path: self.path.clone() }),
            Err(source) => Err(self.failed("read", source)),
        }
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

    /// The keys of the audit chain and of the secrets' values.
    #[must_use]
    pub fn keys(&self) -> KeyFiles {
        KeyFiles::in_folder(&self.path)
    }

    /// The key of the audit chain.
    #[must_use]
    pub fn audit_key(&self) -> PathBuf {
        self.keys().audit
    }

    /// The mark of the newest audit row.
    #[must_use]
    pub fn audit_head(&self) -> PathBuf {
        self.path.join("audit-head")
    }

    /// The key that the values of secrets are encrypted with.
    #[must_use]
    pub fn secrets_key(&self) -> PathBuf {
        self.keys().secrets
    }

    /// The platform's own files that are there, and the folder itself.
    pub fn owned(&self) -> impl Iterator<Item = PathBuf> {
        std::iter::once(self.path.clone()).chain(FILES.iter().map(|name| self.path.join(name)))
    }

    /// That what jobs leave behind can be renamed into the trash, which is possible within one file system only.
    ///
    /// # Errors
    /// When a folder of them is on another.
    pub fn check_file_system(&self) -> Result<(), DataDirError> {
        let device = |path: &Path| fs::metadata(path).ok().map(|meta| meta.dev());
        let own = device(&self.path);
        let folders = ["jobs", "uploads", "trash"].map(|name| self.path.join(name));
        let Some(path) = folders.into_iter().find(|path| device(path).is_some_and(|device| Some(device) != own)) else {
            return Ok(());
        };
        let problem = format!(
            "is on another file system than the data directory, and what jobs leave there cannot be removed: mount that \
             file system at '{}', or give another --data-dir",
            self.path.display()
        );
        Err(PathError::Unsafe { path, problem }.into())
    }

    /// Remembers where the server that holds the lock is reached.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn serve_at(&self, url: &str) -> Result<(), DataDirError> {
        private_file::replace(&self.url(), url.as_bytes()).map_err(|source| self.failed("write to", source))
    }

    /// Where the server that holds the lock is reached.
    ///
    /// # Errors
    /// When no server holds it.
    pub fn served_at(&self) -> Result<String, DataDirError> {
        let not_served = || DataDirError::NotServed { path: self.path.clone() };
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
    pub fn lock(&self) -> Result<DirLock, DataDirError> {
        let failed = |source| self.failed("write to", source);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = private_file::private(&mut options).open(self.path.join("lock")).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                let pid = pid.trim().parse().ok();
                return Err(DataDirError::InUse { path: self.path.clone(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(DirLock { _file: file })
    }

    /// Removes what a process that was killed while writing left behind.
    pub fn sweep(&self) {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".tmp")) {
            let _ = fs::remove_file(entry.path());
        }
    }

    fn failed(&self, action: &'static str, source: io::Error) -> DataDirError {
        PathError::Folder { action, path: self.path.clone(), source }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn nobody_else_may_read() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::create(&parent.path().join("a/b")).unwrap();
        private_file::replace(&dir.admin_token(), b"one").unwrap();
        private_file::replace(&dir.admin_token(), b"two").unwrap();
        assert_eq!(fs::read(dir.admin_token()).unwrap(), b"two");
        assert_eq!((mode(dir.path()), mode(&dir.admin_token())), (0o700, 0o600));
    }

    #[test]
    fn what_others_could_have_put_there_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let why = || DataDir::create(&path).unwrap_err().to_string();
        DataDir::create(&path).unwrap();
        for name in FILES {
            let file = path.join(name);
            std::os::unix::fs::symlink(parent.path().join("elsewhere"), &file).unwrap();
            assert!(why().contains(name) && why().contains("no regular file"), "{}", why());
            fs::remove_file(&file).unwrap();
            fs::create_dir(&file).unwrap();
            assert!(why().contains("no regular file"), "{}", why());
            fs::remove_dir(&file).unwrap();
        }
        fs::set_permissions(&path, Permissions::from_mode(0o707)).unwrap();
        assert!(why().contains("can be written by others (mode 707): chmod go-w"), "{}", why());
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        if geteuid().is_root() {
            fs::write(path.join("lock"), "").unwrap();
            std::os::unix::fs::chown(path.join("lock"), Some(1), None).unwrap();
            assert!(why().contains("belongs to user 1, and this is user 0"), "{}", why());
            std::os::unix::fs::chown(&path, Some(1), None).unwrap();
            assert!(why().contains("run this as its owner"), "{}", why());
        }
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
