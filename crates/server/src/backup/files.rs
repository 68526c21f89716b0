//! Files of a backup: copied, flushed, and summed up on the way.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use sha2::{Digest, Sha256};

use super::manifest::Entry;

const PIECE: usize = 1 << 20;

/// Makes a folder of mode 0700, or takes one that is empty.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::read_dir(path)?.next().is_some() {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
        }
        made => made?,
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// A new file of mode 0600.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// A regular file, and no link to one.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let no_link = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits() | rustix::fs::OFlags::NONBLOCK.bits());
    let file = OpenOptions::new().read(true).custom_flags(no_link.unwrap_or_default()).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
}

/// Copies what there is; when it returns, the copy survives a loss of power.
pub(super) fn copy(from: &Path, to: &Path, name: &str) -> io::Result<Entry> {
    let (mut from, mut to) = (open(from)?, create(to)?);
    let entry = sum_of(name, &mut from, |bytes| to.write_all(bytes))?;
    to.sync_all()?;
    Ok(entry)
}

/// Flushes a file that is there, and sums it up.
pub(super) fn seal(path: &Path, name: &str) -> io::Result<Entry> {
    let mut file = open(path)?;
    file.sync_all()?;
    sum_of(name, &mut file, |_| Ok(()))
}

fn sum_of(name: &str, from: &mut impl Read, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Entry> {
    let (mut hash, mut size, mut piece) = (Sha256::new(), 0_u64, vec![0; PIECE]);
    loop {
        let count = from.read(&mut piece)?;
        let bytes = piece.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        hash.update(bytes);
        size = size.saturating_add(u64::try_from(count).unwrap_or_default());
        take(bytes)?;
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Entry { name: name.to_owned(), size, sha256 })
}

/// Makes what was made or renamed in a folder survive a loss of power.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
