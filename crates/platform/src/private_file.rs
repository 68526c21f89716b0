//! Files with secrets: readable by their owner alone (mode 0600), replaced atomically and durably.
//!
//! A file is written beside its place, flushed, and renamed into it: at any moment a reader finds the old file or the new
//! one, whole, and never with a wider mode than 0600.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Why a path cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// The folder cannot be used.
    #[error("cannot {action} the data directory '{}': {source}; give a folder that you may write to with --data-dir", path.display())]
    Folder {
        /// What was tried.
        action: &'static str,
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else could change what is in it.
    #[error("cannot trust '{}': it {problem}", path.display())]
    Unsafe {
        /// The folder, or what is in it.
        path: PathBuf,
        /// Why not, and what to do.
        problem: String,
    },
}

/// Makes an empty file of mode 0600 unless it is there. SQLite gives its `-wal` and `-shm` the mode of the database.
///
/// # Errors
/// When it cannot be made.
pub fn touch(path: &Path) -> io::Result<()> {
    private(OpenOptions::new().write(true).create(true).truncate(false)).open(path).map(drop)
}

/// Replaces a file, mode 0600; when it returns, the new content survives a loss of power.
///
/// # Errors
/// When it cannot be written; the old file is then as it was.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
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
    // Makes the rename durable.
    let folder = path.parent().unwrap_or(Path::new("."));
    written.and_then(|()| File::open(folder)?.sync_all())
}

/// Opened, or made, with mode 0600.
pub fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}
