//! The two keys that lie in files outside the database: that of the audit's chain, and that of the secrets' values.
//!
//! A database of PostgreSQL knows its keys: its table `keys` holds an HMAC of a label under each. A server that was given
//! another key does not start: its audit rows could not be proved, and the secrets' values could not be read.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use hmac::{Hmac, KeyInit, Mac};
use mlplatform_store::{Connection, Mode, Store, query};
use sha2::Sha256;

use crate::{
    error::{Error, Result},
    private_file,
};

/// A key's length in bytes.
pub(crate) const KEY: usize = 32;
/// No audit row begins like these.
const AUDIT: &str = "mlplatform key of the audit 1";
const SECRETS: &str = "mlplatform key of the secrets 1";

/// The files of the two keys.
#[derive(Clone, Debug)]
pub struct KeyFiles {
    /// Of the audit's chain.
    pub audit: PathBuf,
    /// Of the secrets' values.
    pub secrets: PathBuf,
}

impl KeyFiles {
    /// Those in a folder.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self { audit: folder.join("audit-key"), secrets: folder.join("secrets-key") }
    }

    fn each(&self) -> [(&'static str, &Path); 2] {
        [(AUDIT, &self.audit), (SECRETS, &self.secrets)]
    }
}

/// Why the keys are not those of the database.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A platform was begun, and not finished.
    #[error("the database holds no platform yet: `mlplatform-server init` was not finished; run it again")]
    Unfinished,
    /// Rows rest on keys that the database does not know.
    #[error("the database holds a platform and not the table of its keys: restore it from a backup, whole")]
    Forgotten,
    /// Another key.
    #[error(
        "'{}' is not the key of this database: take the file from another server of this database, or from a \
         backup, and name its folder with --keys-dir",
        .0.display()
    )]
    Other(PathBuf),
    /// No key.
    #[error(
        "the key in '{}' cannot be used: {source}; take the file from another server of this database, or \
         from a backup, and name its folder with --keys-dir",
        path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The database.
    #[error(transparent)]
    Platform(#[from] Error),
}

impl From<mlplatform_store::Failure> for KeysError {
    fn from(failure: mlplatform_store::Failure) -> Self {
        Self::Platform(failure.into())
    }
}

/// Gives a database its keys, unless it has them: those in the files, which are made where they are missing. Gives whether
/// it had none.
///
/// # Errors
/// When it has other keys, a file cannot be read or made, or the store fails.
pub async fn init(store: &Store, files: &KeyFiles) -> Result<bool, KeysError> {
    let fresh = store.is_fresh().await?;
    // Two `init` beside each other: one of them finds the keys of the other.
    let mut tx = store.begin(Mode::Exclusive).await?;
    let known = known(&mut tx).await?;
    if !known.is_empty() {
        tx.rollback().await?;
        return compare(&known, files).map(|()| false);
    }
    if !fresh {
        return Err(KeysError::Forgotten);
    }
    for (label, path) in files.each() {
        let key = match read(path) {
            // Nothing rests on a key before this transaction is committed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(path),
            read => read,
        };
        let key = key.map_err(|source| KeysError::Unusable { path: path.to_owned(), source })?;
        query("INSERT INTO keys (label, mac) VALUES ($1, $2)")
            .bind(label)
            .bind(mac(&key, label)?.to_vec())
            .execute(&mut tx)
            .await?;
    }
    tx.commit().await?;
    Ok(true)
}

/// That the keys are those of the database.
///
/// # Errors
/// When they are not, or the store fails.
pub async fn check(store: &Store, files: &KeyFiles) -> Result<(), KeysError> {
    let known = known(&mut store.read().await?).await?;
    if known.is_empty() {
        return Err(if store.is_fresh().await? { KeysError::Unfinished } else { KeysError::Forgotten });
    }
    compare(&known, files)
}

async fn known(connection: &mut Connection) -> Result<Vec<(String, Vec<u8>)>> {
    Ok(query("SELECT label, mac FROM keys").all(connection).await?)
}

fn compare(known: &[(String, Vec<u8>)], files: &KeyFiles) -> Result<(), KeysError> {
    for (label, path) in files.each() {
        let key = read(path).map_err(|source| KeysError::Unusable { path: path.to_owned(), source })?;
        let own = mac(&key, label)?;
        if !known.iter().any(|(known, mac)| known == label && *mac == own) {
            return Err(KeysError::Other(path.to_owned()));
        }
    }
    Ok(())
}

fn mac(key: &[u8], label: &str) -> Result<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| Error::Fault("a key has no length"))?;
    mac.update(label.as_bytes());
    Ok(mac.finalize().into_bytes().into())
}

/// The key in a file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut key = Vec::with_capacity(KEY.saturating_add(1));
    File::open(path)?.take(u64::try_from(KEY).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut key)?;
    if key.len() == KEY {
        return Ok(key);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("it does not hold {KEY} bytes")))
}

/// A new key, in a file.
pub(crate) fn make(path: &Path) -> io::Result<Vec<u8>> {
    let mut key = [0; KEY];
    getrandom::fill(&mut key)?;
    private_file::replace(path, &key)?;
    Ok(key.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_32_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit-key");
        let made = make(&path).unwrap();
        assert_eq!((read(&path).unwrap(), made.len()), (made, KEY));
        for length in [0, 31, 33, 4096] {
            std::fs::write(&path, vec![1; length]).unwrap();
            assert!(read(&path).unwrap_err().to_string().contains("does not hold 32 bytes"), "{length}");
        }
    }
}
