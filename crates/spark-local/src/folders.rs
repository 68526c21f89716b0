//! The folders of the data directory that jobs use.
//!
//! | folder | what |
//! | --- | --- |
//! | `buckets/<name>/` | the bucket of a cluster: its files are the users' own |
//! | `uploads/<id>/` | the program that came along with a job: the job reads it, the platform alone writes |
//! | `jobs/<id>/` | the log of a job and its runs; while it runs, its working folder |
//! | `trash/` | what jobs left behind, until it is removed; no job can enter it |
//! | `ivy/` | packages that jobs have fetched |
//! | `reserve` | room on the disk that is set aside for the platform's own writes |

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, lchown},
    path::{Path, PathBuf},
};

use rustix::process::geteuid;

/// The data directory, which exists and which only the platform's user changes.
#[derive(Clone, Debug)]
pub struct Folders {
    root: PathBuf,
}

/// The owner of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BucketOwner {
    /// The platform's user, as which jobs run; or it is not known yet.
    Platform,
    /// The user, and its group, as which all jobs run.
    User(u32, u32),
    /// The group that the jobs of the cluster share.
    Group(u32),
}

impl Folders {
    /// Those below an absolute path.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The data directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a cluster's bucket. Those who run jobs write there: the platform itself never goes inside.
    pub(crate) fn bucket(&self, name: &str) -> PathBuf {
        self.root.join("buckets").join(name)
    }

    /// The folder around the jobs' own.
    pub(crate) fn jobs(&self) -> PathBuf {
        self.root.join("jobs")
    }

    /// The folder of a job's files, which is made when it starts.
    pub(crate) fn job(&self, id: &str) -> PathBuf {
        self.jobs().join(id)
    }

    /// What a job has printed.
    pub(crate) fn log(&self, id: &str) -> PathBuf {
        self.job(id).join("log")
    }

    /// The programs that came along with jobs, each in a folder with the job's id.
    pub(crate) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    /// What is to be removed is moved here first.
    pub(crate) fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    /// Packages that jobs have fetched.
    pub(crate) fn package_cache(&self) -> PathBuf {
        self.root.join("ivy")
    }

    /// The file that takes room for the platform.
    pub(crate) fn reserve(&self) -> PathBuf {
        self.root.join("reserve")
    }

    /// Makes the folder of a bucket: for nobody but the owner. One that was another's becomes this one's; what is in it does
    /// not, because jobs may be at work there.
    pub(crate) fn make_bucket(&self, name: &str, owner: BucketOwner) -> io::Result<()> {
        let path = self.bucket(name);
        // The folder around it is the platform's, so that nobody can put a link in its place.
        make(path.parent().unwrap_or(&path), 0o711)?;
        let (uid, gid, mode) = match owner {
            BucketOwner::Platform => return make(&path, 0o700),
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
        Ok(())
    }

    /// Writes the program that came along with a job, for the platform alone. When it returns, the file survives a loss of
    /// power; when it fails, nothing of it is left.
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

    /// Lets another user pass through to what belongs to its jobs. The files beside them stay the platform's: each has
    /// the mode 0600, and the folder cannot be listed.
    ///
    /// # Errors
    /// When the folders cannot be made or changed.
    pub fn open_to_jobs(&self) -> io::Result<()> {
        fs::set_permissions(&self.root, Permissions::from_mode(0o711))?;
        ["jobs", "buckets", "uploads"].iter().try_for_each(|name| make(&self.root.join(name), 0o711))
    }

    /// Makes the trash, which nobody else can enter.
    pub(crate) fn make_trash(&self) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        match DirBuilder::new().mode(0o700).create(self.trash()) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
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
    fn modes_are_set_and_not_inherited() {
        let root = tempfile::tempdir().unwrap();
        let folders = Folders::new(root.path());
        // As a umask of 077 would have made it.
        fs::create_dir(root.path().join("uploads")).unwrap();
        fs::set_permissions(root.path().join("uploads"), Permissions::from_mode(0o700)).unwrap();
        folders.open_to_jobs().unwrap();
        folders.write_upload("j", "a.py", b"x").unwrap();
        let modes = ["", "uploads", "uploads/j", "uploads/j/a.py"].map(|name| mode(&root.path().join(name)));
        assert_eq!(modes, [0o711, 0o711, 0o700, 0o600]);
        folders.open_upload("j", rustix::process::getegid().as_raw()).unwrap();
        folders.open_upload("none", rustix::process::getegid().as_raw()).unwrap();
        assert_eq!(["uploads/j", "uploads/j/a.py"].map(|name| mode(&root.path().join(name))), [0o710, 0o640]);
        assert!(folders.write_upload("j", "a.py", b"y").is_err(), "never over another");
    }
}
