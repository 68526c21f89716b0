//! Generating secrets, and the SHA-256 digests that the store keeps of them.

use std::io;

use mlplatform_protocol::{Secret, TokenKind, token};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::error::Result;

/// SHA-256 of a secret. A slow hash would add nothing: 190 random bits cannot be guessed at any speed.
pub(crate) type Digest = Vec<u8>;

/// A secret that was just made: its value for the answer, its digest for the store, its public id for everybody.
pub(crate) struct Minted {
    pub(crate) value: Secret,
    pub(crate) digest: Digest,
    pub(crate) id: String,
}

pub(crate) fn mint(kind: TokenKind) -> Result<Minted> {
    let value = token::generate(kind)?;
    Ok(Minted { digest: digest(value.expose()), value, id: token::generate_id()? })
}

/// The digest that the store knows a secret by.
#[must_use]
pub fn digest(text: &str) -> Digest {
    Sha256::digest(text.as_bytes()).to_vec()
}

/// Of its JSON, which is not built for that.
pub(crate) fn digest_of<T: Serialize>(value: &T) -> serde_json::Result<Digest> {
    struct Hash(Sha256);
    impl io::Write for Hash {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut hash = Hash(Sha256::new());
    serde_json::to_writer(&mut hash, value)?;
    Ok(hash.0.finalize().to_vec())
}

/// A random UUID (version 4), for what the vendor knows by one.
///
/// # Errors
/// When the system gives no random bytes.
pub fn uuid() -> Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)?;
    let number = u128::from_be_bytes(bytes);
    let number = number & !(0xf000 << 64) | (0x4000 << 64);
    let number = number & !(0xc000 << 48) | (0x8000 << 48);
    let hex = format!("{number:032x}");
    let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    Ok(parts.map(|(from, to)| hex.get(from..to).unwrap_or_default()).join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_of_json_is_that_of_its_text() {
        let value = serde_json::json!({"a": ["ü", 1, null], "b": "x".repeat(100_000)});
        assert_eq!(digest_of(&value).unwrap(), digest(&value.to_string()));
    }

    #[test]
    fn uuids_say_their_version() {
        let id = uuid().unwrap();
        let parts: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "4");
        assert!("89ab".contains(&id[19..20]), "{id}");
    }
}
