//! New secrets, and the digests that the store knows them by.

use mlplatform_protocol::{Secret, TokenKind, token};
use sha2::{Digest as _, Sha256};

use crate::Result;

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

pub(crate) fn digest(text: &str) -> Digest {
    Sha256::digest(text.as_bytes()).to_vec()
}
