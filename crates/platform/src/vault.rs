//! Encryption of the values of secrets at rest: AES-256-GCM, with a key in a file outside of the database.
//!
//! Whoever reads the database, a backup of it or its log, and not the key file, reads no value. Each value is bound to
//! its place (cluster, namespace, secret, key): who can write the database cannot put one secret's value into another.
//!
//! A nonce is 96 random bits. The standard's bound for one key is 2³² values, which no platform of this kind comes near.

use std::{
    io,
    path::{Path, PathBuf},
};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::{
    error::{Error, Result},
    keys,
};

/// Set apart from whatever else may one day be sealed with the same key.
const LABEL: &[u8] = b"mlplatform secret 1";

/// Why the values of secrets cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Their key.
    #[error("the secrets cannot be read, for want of their key in '{}': {problem}", path.display())]
    Unusable {
        /// The key file.
        path: PathBuf,
        /// What to do.
        problem: String,
    },
}

/// The key.
pub struct Vault {
    key: LessSafeKey,
}

/// Which value it is: authenticated with the ciphertext, so that no value can stand for another.
#[derive(Clone, Copy, Debug)]
pub struct ValueId<'a> {
    /// Id of the cluster.
    pub cluster: &'a str,
    /// The namespace.
    pub namespace: &'a str,
    /// Name of the secret.
    pub secret: &'a str,
    /// The key of the value.
    pub key: &'a str,
}

impl ValueId<'_> {
    /// Every part goes in with its length, so that no two places give the same bytes.
    fn bytes(self) -> Vec<u8> {
        let parts = [self.cluster, self.namespace, self.secret, self.key];
        let parts = parts.into_iter().flat_map(|part| {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes();
            length.into_iter().chain(part.bytes())
        });
        LABEL.iter().copied().chain(parts).collect()
    }
}

impl Vault {
    /// Makes the key file if it is missing and no user's value is sealed with one; gives whether it was made.
    ///
    /// # Errors
    /// When there are secrets and no key that could open them, or the file cannot be made.
    pub fn prepare(path: &Path, any_secret: bool) -> Result<bool, KeyError> {
        let problem = |problem: String| KeyError::Unusable { path: path.to_owned(), problem };
        match keys::read(path) {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !any_secret => {
                keys::make(path).map_err(|error| problem(error.to_string()))?;
                Ok(true)
            }
            Err(error) => Err(problem(format!("{error}; restore it from a backup"))),
        }
    }

    /// Reads the key.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let key = keys::read(path).map_err(|error| Error::File("reading the file secrets-key", error))?;
        let key = UnboundKey::new(&AES_256_GCM, &key);
        Ok(Self { key: LessSafeKey::new(key.map_err(|_| Error::Fault("the key of the secrets has a wrong length"))?) })
    }

    /// Encrypts a value for its place: a nonce, the value, a tag.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn seal(&self, id: ValueId<'_>, value: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce)?;
        let mut sealed = value.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(id.bytes()), &mut sealed)
            .map_err(|_| Error::Fault("a secret's value cannot be encrypted"))?;
        Ok([nonce.as_slice(), sealed.as_slice()].concat())
    }

    /// Decrypts what was sealed for that place.
    ///
    /// # Errors
    /// When it was sealed for another place or with another key, or was changed.
    pub fn unseal(&self, id: ValueId<'_>, sealed: &[u8]) -> Result<Vec<u8>> {
        const WRONG: Error = Error::Fault(
            "a secret's value cannot be decrypted: it was changed, or the file secrets-key is not the one it was stored with",
        );
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(WRONG)?;
        let mut value = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.key.open_in_place(nonce, Aad::from(id.bytes()), &mut value).map_err(|_| WRONG)?.len();
        value.truncate(length);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const ID: ValueId<'_> = ValueId { cluster: "c", namespace: "default", secret: "s3", key: "password" };

    fn key() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets-key");
        Vault::prepare(&path, false).unwrap();
        (folder, path)
    }

    #[test]
    fn a_value_is_opened_in_its_place_alone() {
        let (_folder, path) = key();
        let vault = Vault::open(&path).unwrap();
        let sealed = vault.seal(ID, b"hunter2").unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        assert_ne!(sealed, vault.seal(ID, b"hunter2").unwrap(), "a nonce of its own");
        assert_eq!(Vault::open(&path).unwrap().unseal(ID, &sealed).unwrap(), b"hunter2");
        let elsewhere = [
            ValueId { cluster: "d", ..ID },
            ValueId { namespace: "defaul", secret: "ts3", ..ID },
            ValueId { secret: "s4", ..ID },
            ValueId { key: "user", ..ID },
        ];
        for other in elsewhere {
            assert!(vault.unseal(other, &sealed).is_err(), "{other:?}");
        }
        for length in 0..sealed.len() {
            assert!(vault.unseal(ID, &sealed[..length]).is_err());
        }
        let mut changed = sealed;
        changed[NONCE_LEN] ^= 1;
        assert!(vault.unseal(ID, &changed).is_err());
    }

    #[test]
    fn the_key_is_its_owner_s_and_is_never_made_anew_over_secrets() {
        let (_folder, path) = key();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let key = std::fs::read(&path).unwrap();
        Vault::prepare(&path, true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), key);
        std::fs::remove_file(&path).unwrap();
        let message = Vault::prepare(&path, true).unwrap_err().to_string();
        assert!(message.contains("secrets-key") && message.contains("backup"), "{message}");
        std::fs::write(&path, b"short").unwrap();
        assert!(Vault::prepare(&path, false).is_err() && Vault::open(&path).is_err());
    }
}
