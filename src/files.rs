//! Reading and atomic writing of user files. Errors are Python's own (`FileNotFoundError`, …).

use std::{
    ffi::OsString,
    fs,
    io::{self, Read, Write},
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use mlplatform_client::protocol::yaml::MAX_BYTES;
use pyo3::{exceptions::PyOSError, prelude::*};

/// The file's bytes, at most one more than the limit of a document, so that a larger file is detected.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens or creates a file to append to it, with an exclusive lock. The error for a pipe or a terminal is
/// [`io::ErrorKind::InvalidInput`], for a locked file [`io::ErrorKind::WouldBlock`].
pub(crate) fn open_to_continue(path: &Path) -> io::Result<fs::File> {
    if fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        // The file system has no locks.
        Err(fs::TryLockError::Error(_)) => Ok(file),
    }
}

/// Replaces or creates a file atomically: readers see the old or the new content, also after a crash. A link is followed; a
/// pipe or a terminal is written to.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let there = fs::metadata(&target).ok();
    if there.as_ref().is_some_and(|there| !there.is_file()) {
        return fs::OpenOptions::new().write(true).open(&target)?.write_all(content);
    }
    // Threads and processes may write to the same place; the last one wins.
    static WRITES: AtomicU32 = AtomicU32::new(0);
    let mut name = OsString::from(".");
    name.push(target.file_name().ok_or(io::ErrorKind::IsADirectory)?);
    name.push(format!(".{}-{}.new", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed)));
    let beside = target.with_file_name(name);
    let written = (|| {
        let mut file = fs::File::create(&beside)?;
        if let Some(there) = there {
            file.set_permissions(there.permissions())?;
        }
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, &target)
    })();
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Python's exception for the error; its class follows from the number.
pub(crate) fn raise(path: &Path, problem: &io::Error) -> PyErr {
    match problem.raw_os_error() {
        Some(number) => {
            let text = problem.to_string();
            let text = text.split(" (os error").next().unwrap_or(&text).to_owned();
            PyOSError::new_err((number, text, path.to_path_buf()))
        }
        None => PyOSError::new_err(format!("{problem}: '{}'", path.display())),
    }
}
