//! The error type of the platform's methods.
//!
//! There are two kinds. A refusal is the caller's to mend: its text says what was wrong and what to do. Anything else
//! is the platform's: the caller learns the request id, the log learns the rest.

use std::{error::Error as StdError, io, time::Duration};

use mlplatform_protocol::{ErrorCode, error::FIELD_FORBIDDEN};
use mlplatform_store::Failure;

use crate::text;

/// The result of a method.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that a method, or a layer above, fails with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's to mend.
    #[error("{}: {field}", code.name())]
    Refused {
        /// Which error of the contract.
        code: ErrorCode,
        /// The text for people.
        field: String,
        /// The caller holds a real token whose lifetime has ended, and is told so in a header.
        expired: bool,
    },
    /// Nobody knows the secret, and too many that are not good came from that address.
    #[error("too many tokens that are not good from one address")]
    TooMany {
        /// Seconds until another is answered.
        retry_after: u64,
    },
    /// The database.
    #[error("the store failed")]
    Store(#[source] Failure),
    /// A file of the data directory.
    #[error("{0} failed")]
    File(&'static str, #[source] io::Error),
    /// The operating system gave no random bytes.
    #[error("the random generator failed")]
    Random(#[from] getrandom::Error),
    /// Another server may look after the jobs by now: nothing was changed.
    #[error("the lease of jobs is not held any more")]
    LeaseLost,
    /// A bug of ours.
    #[error("{0}")]
    Fault(&'static str),
}

impl Error {
    /// A refusal with a text for people.
    pub fn refused(code: ErrorCode, field: impl Into<String>) -> Self {
        Self::Refused { code, field: text::harmless(&field.into()), expired: false }
    }

    /// The one answer for a token that is unknown, expired, withdrawn or deleted.
    #[must_use]
    pub fn forbidden(expired: bool) -> Self {
        Self::Refused { code: ErrorCode::Forbidden, field: FIELD_FORBIDDEN.to_owned(), expired }
    }

    /// The refusal of an address from which too many secrets came that are not good.
    #[must_use]
    pub fn too_many(wait: Duration) -> Self {
        // Rounded up: who waits for that long is not refused again.
        Self::TooMany { retry_after: u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1) }
    }

    /// The text of a failure that passes, after which the same request may succeed; `None`: it does not.
    #[must_use]
    pub fn temporary(&self) -> Option<&'static str> {
        const OVERLOAD: &str = "the platform is overloaded or stopping, or its database does not answer: try again";
        const FULL_DISK: &str = "the platform's disk is full or cannot be written: nothing was changed; its operator has to make room, then try again";
        match self {
            Self::File(_, error)
                if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                Some(FULL_DISK)
            }
            Self::Store(Failure::Busy(_) | Failure::Unavailable(_)) => Some(OVERLOAD),
            Self::Store(Failure::Full(_)) => Some(FULL_DISK),
            _ => None,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Nul => Self::refused(ErrorCode::BadRequest, "a text has a NUL character (U+0000): leave it out"),
            failure => Self::Store(failure),
        }
    }
}

/// The texts of an error's causes, outermost first.
#[must_use]
pub fn causes(error: &dyn StdError) -> Vec<String> {
    let mut texts = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts
}
