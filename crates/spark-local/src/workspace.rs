//! The workspace of a job: the folders and files of its runs, what is removed of them, and their paths in what it prints.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, fchown},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use mlplatform_runner::{log::JobLog, runner::KnownJobs};

use crate::{credentials::Credentials, folders::Folders, launch, mounts, shared::Shared};

/// The folders and files of a run; gives where its part of the log begins. Modes are set, and not left to the umask.
pub(crate) fn lay_out(
    folder: &Path,
    run: &Path,
    conf: &str,
    tree: &mounts::Tree,
    credentials: Option<Credentials>,
) -> io::Result<u64> {
    let user = credentials.as_ref().map(Credentials::owner);
    // What a run that did not begin left behind.
    let _ = fs::remove_dir_all(run);
    // The job passes through to its own files, and cannot list the folder.
    make_folder(folder, if user.is_some() { 0o710 } else { 0o700 }, None)?;
    if let Some((_, group)) = user {
        chown(folder, None, Some(group))?;
    }
    // What is said of its runs a job can neither change nor lock.
    make_folder(run, 0o700, None)?;
    for name in ["work", "tmp"] {
        make_folder(&folder.join(name), 0o700, user)?;
    }
    let properties = launch::properties(folder);
    match fs::remove_file(&properties) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if !tree.is_empty() {
        tree.write(&mounts::folder_of(folder), user)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&properties)?;
    file.write_all(conf.as_bytes())?;
    file.set_permissions(Permissions::from_mode(0o400))?;
    if let Some((user, group)) = user {
        fchown(&file, Some(user), Some(group))?;
    }
    let log = folder.join("log");
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&log)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    JobLog::open(&log)?.map_or(Ok(0), |log| log.size())
}

/// A folder in one that only the platform can change.
fn make_folder(path: &Path, mode: u32, user: Option<(u32, u32)>) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    user.map_or(Ok(()), |(user, group)| chown(path, Some(user), Some(group)))
}

/// What runs leave in a job's folder beside its log.
pub(crate) fn leftovers(job: &Path) -> [PathBuf; 4] {
    [job.join("work"), job.join("tmp"), mounts::folder_of(job), launch::properties(job)]
}

/// Moves into the trash what a server that was killed left: the programs of jobs that are gone, and the working folders of
/// those that are over.
pub(crate) fn reconcile(shared: &Shared, known: &KnownJobs) {
    let is_in = |name: &std::ffi::OsStr, ids: &std::collections::HashSet<String>| {
        name.to_str().is_some_and(|id| ids.contains(id))
    };
    let is_new = |entry: &fs::DirEntry| {
        let at = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| Timestamp::try_from(at).ok());
        known.uploads_until.is_some_and(|until| at.is_some_and(|at| at > until))
    };
    for entry in fs::read_dir(shared.folders.uploads()).into_iter().flatten().flatten() {
        if !is_in(&entry.file_name(), &known.kept) && !is_new(&entry) {
            shared.trash.discard(&entry.path());
        }
    }
    for entry in fs::read_dir(shared.folders.jobs()).into_iter().flatten().flatten() {
        if !is_in(&entry.file_name(), &known.open) {
            leftovers(&entry.path()).iter().for_each(|path| shared.trash.discard(path));
        }
    }
}

/// Removes the folders of a job's runs up to a number: only the last few are of use to anybody, and a job that is always
/// run again has no end of them.
pub(crate) fn remove_runs(job: &Path, newest: i64) {
    // No job can write here: what is removed is the platform's own.
    for entry in fs::read_dir(job).into_iter().flatten().flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.strip_prefix("run-")?.parse::<i64>().ok());
        if number.is_some_and(|number| number <= newest) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A text that a job printed without the platform's folders: a path that was relative in the program is so again, and a
/// program that came along has its name alone.
pub(crate) fn with_user_paths(folders: &Folders, job: &str, text: String) -> String {
    let (folder, uploads) = (folders.job(job), folders.uploads().join(job));
    let work = folder.join("work");
    let text = text.replace(&mounts::folder_of(&folder).display().to_string(), &format!("${}", mounts::VARIABLE));
    [format!("file:{}/", work.display()), format!("{}/", work.display()), format!("{}/", uploads.display())]
        .iter()
        .fold(text, |text, path| text.replace(path, ""))
}
