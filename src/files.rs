//! Files that users name: read whole, replaced at one stroke. Errors are Python's own (`FileNotFoundError`, …).

use std::{
    ffi::OsString,
    fs,
    io::{self, Read, Write},
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use mlplatform_client::protocol::yaml::MAX_BYTES;
use pyo3::{exceptions::PyOSError, prelude::*};

/// The file's bytes: no more than a document may have, and one, by which it is known to be too large.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file to write behind what is in it, or makes it; nobody else may do so meanwhile. A directory, a pipe or a
/// terminal is no such file ([`io::ErrorKind::InvalidInput`]); of another who writes, the kind is
/// [`io::ErrorKind::WouldBlock`].
pub(crate) fn open_to_continue(path: &Path) -> io::Result<fs::File> {
    if fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        // Of a file system without locks, nothing is known, and nothing is asked.
        Err(fs::TryLockError::Error(_)) => Ok(file),
    }
}

/// Replaces the file, or makes it. Whoever reads it meanwhile, and whatever happens to this process, sees the old
/// content or the new one. A link is followed; what is no file (a pipe, a terminal) is written to.
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
        // The reason is told already; that the remains cannot be removed either is no second one.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Python's exception for that: its class follows from the number.
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
