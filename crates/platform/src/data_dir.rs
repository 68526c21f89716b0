//! The data directory: one folder that holds all state, readable by its owner alone.
//!
//! | file | what |
//! | --- | --- |
//! | `platform.sqlite3` (and `-wal`, `-shm`) | the store |
//! | `admin-token` | the newest Administrator token made on this machine |
//! | `audit-key`, `audit-head` | the audit chain's key and the mark of its newest row |
//! | `secrets-key` | what the values of secrets are encrypted with |
//! | `buckets/<name>/` | the bucket of a cluster: its files are the users' own |
//! | `uploads/<id>/` | the program that came along with a job: the job reads it, the platform alone writes |
//! | `jobs/<id>/` | the log of a job and its runs; while it runs, its working folder |
//! | `trash/` | what jobs left behind, until it is removed; no job can enter it |
//! | `ivy/` | packages that jobs have fetched |
//! | `url` | where the server that was started last is reached |
//! | `lock` | held by the one `serve` of this directory; contains its pid |
//!
//! Only the platform writes here, but for the buckets and the working folders of jobs. Who else could put a file or a link
//! in its place could also read its secrets, so such a directory is refused ([`DataDir::check`]).

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown},
    path::{Path, PathBuf},
};

use mlplatform_protocol::Secret;
use rustix::process::geteuid;

use crate::{
    error::{Error, Result},
    private_file,
    safe_path::{self, PathError},
};

/// The platform's own files.
const FILES: [&str; 11] = [
    "platform.sqlite3",
    "platform.sqlite3-wal",
    "platform.sqlite3-shm",
    "platform.sqlite3-journal",
    "admin-token",
    "audit-key",
    "audit-head",
    "secrets-key",
    "url",
    "lock",
    "reserve",
];

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

/// Whose a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BucketOwner {
    /// The platform's user, as which jobs run; or it is not known yet.
    Platform,
    /// The user's, and its group's, as which all jobs run.
    User(u32, u32),
    /// The group's that the jobs of the cluster share.
    Group(u32),
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

    fn at(path: &Path) -> Result<Self, DataDirError> {
        let absolute = std::path::absolute(path);
        let path = absolute.map_err(|source| PathError::Folder { action: "find", path: path.to_owned(), source })?;
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

    /// Stores the value of the Administrator token that was just made.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_admin_token(&self, value: &Secret) -> Result<()> {
        let text = format!("{}\n", value.expose());
        private_file::replace(&self.admin_token(), text.as_bytes())
            .map_err(|error| Error::File("writing the file admin-token", error))
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

    /// The platform's own files that are there, and the folder itself.
    pub fn owned(&self) -> impl Iterator<Item = PathBuf> {
        std::iter::once(self.path.clone()).chain(FILES.iter().map(|name| self.path.join(name)))
    }

    /// The folder of a cluster's bucket. Those who run jobs write there: the platform itself never goes inside.
    #[must_use]
    pub fn bucket(&self, name: &str) -> PathBuf {
        self.path.join("buckets").join(name)
    }

    /// Makes the folder of a bucket: for nobody but the owner. One that was another's becomes this one's; what is in it does
    /// not, because jobs may be at work there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn make_bucket(&self, name: &str, owner: BucketOwner) -> io::Result<PathBuf> {
        let path = self.bucket(name);
        // The folder around it is the platform's, so that nobody can put a link in its place.
        make(path.parent().unwrap_or(&path), 0o711)?;
        let (uid, gid, mode) = match owner {
            BucketOwner::Platform => {
                make(&path, 0o700)?;
                return Ok(path);
            }
            BucketOwner::User(uid, gid) => (uid, gid, 0o700),
            // What is made in it belongs to the group, too. No job owns it, so none can change that.
            BucketOwner::Group(gid) => (geteuid().as_raw(), gid, 0o2770),
        };
        let before = fs::symlink_metadata(&path).ok().map(|meta| (meta.uid(), meta.gid()));
        make(&path, 0o700)?;
        lchown(&path, Some(uid), Some(gid))?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        if before.is_some_and(|before| before != (uid, gid) && before.0 != geteuid().as_raw()) {
            tracing::warn!(
                "the bucket '{name}' was written by jobs of another user, and is theirs now who run from here on: what is in it \
                 may still be closed to them; docs/spark.md says how to hand it over"
            );
        }
        Ok(path)
    }

    /// Where the programs are that came along with jobs, each in a folder with the job's id.
    #[must_use]
    pub fn uploads(&self) -> PathBuf {
        self.path.join("uploads")
    }

    /// Writes the program that came along with a job, for the platform alone. When it returns, the file survives a loss of
    /// power.
    ///
    /// # Errors
    /// When it cannot be written; then nothing of it is left.
    pub(crate) fn write_upload(&self, job: &str, name: &str, content: &[u8]) -> io::Result<()> {
        let folder = self.uploads().join(job);
        make(&self.uploads(), 0o711)?;
        make(&folder, 0o700)?;
        let written =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(name)).and_then(|mut file| {
                file.set_permissions(Permissions::from_mode(0o600))?;
                file.write_all(content)?;
                file.sync_all()?;
                File::open(&folder)?.sync_all()
            });
        written.inspect_err(|_| {
            let _ = fs::remove_dir_all(&folder);
        })
    }

    /// Lets a group read the program that came along with a job, if one did.
    ///
    /// # Errors
    /// When that cannot be said of it.
    pub(crate) fn open_upload(&self, job: &str, group: u32) -> io::Result<()> {
        let folder = self.uploads().join(job);
        let files = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            files => files?,
        };
        // No job can write here: the paths are what the platform made.
        let open = |path: &Path, mode| {
            lchown(path, None, Some(group)).and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        };
        for file in files {
            open(&file?.path(), 0o640)?;
        }
        open(&folder, 0o710)
    }

    /// What is to be removed is moved here first.
    #[must_use]
    pub(crate) fn trash(&self) -> PathBuf {
        self.path.join("trash")
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

    /// Lets another user pass through to what belongs to its jobs. The files beside them stay the platform's: each has
    /// the mode 0600, and the folder cannot be listed.
    ///
    /// # Errors
    /// When the folders cannot be made or changed.
    pub fn let_through(&self) -> io::Result<()> {
        fs::set_permissions(&self.path, Permissions::from_mode(0o711))?;
        ["jobs", "buckets", "uploads"].iter().try_for_each(|name| make(&self.path.join(name), 0o711))
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

/// Makes a folder with just that mode, whatever the umask is; one that is there gets it, too.
fn make(path: &Path, mode: u32) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn modes_are_set_and_not_inherited() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::create(parent.path()).unwrap();
        // As a umask of 077 would have made it.
        fs::create_dir(dir.path().join("uploads")).unwrap();
        fs::set_permissions(dir.path().join("uploads"), Permissions::from_mode(0o700)).unwrap();
        dir.let_through().unwrap();
        dir.write_upload("j", "a.py", b"x").unwrap();
        let modes = ["", "uploads", "uploads/j", "uploads/j/a.py"].map(|name| mode(&dir.path().join(name)));
        assert_eq!(modes, [0o711, 0o711, 0o700, 0o600]);
        dir.open_upload("j", rustix::process::getegid().as_raw()).unwrap();
        dir.open_upload("none", rustix::process::getegid().as_raw()).unwrap();
        assert_eq!(["uploads/j", "uploads/j/a.py"].map(|name| mode(&dir.path().join(name))), [0o710, 0o640]);
        assert!(dir.write_upload("j", "a.py", b"y").is_err(), "never over another");
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
