//! Header names of the contract, in lower case as HTTP/2 requires.

/// Every answer carries it; the client's errors show it, the server's log and audit hold it.
pub const REQUEST_ID: &str = "x-request-id";
/// One random value for one intention of the caller, the same in every attempt.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// 1, 2, 3 …: which attempt of that intention this is. See [`crate::routes::Repeat::Keyed`].
pub const IDEMPOTENCY_ATTEMPT: &str = "idempotency-attempt";
/// The vendor's Terraform client sends its token here; read as an equal of `Authorization: Bearer`.
pub const AUTH_TOKEN: &str = "x-auth-token";
/// Why a token was refused, told only to a caller who holds the real secret. Its one value is [`REFUSAL_EXPIRED`].
pub const REFUSAL: &str = "x-token-refusal";
/// The token was real, but its lifetime has ended.
pub const REFUSAL_EXPIRED: &str = "expired";
/// On a job's log: where in the whole log this part begins, in bytes.
pub const LOG_OFFSET: &str = "x-log-offset";
/// On a job's log: `true` when nothing will follow this part, else `false`.
pub const LOG_FINAL: &str = "x-log-final";
/// On a job's log: where the answer ends because the bytes that follow were dropped. Whoever asks from there gets what comes
/// after them, with a line in their place.
pub const LOG_GAP: &str = "x-log-gap";
/// On a job's log: so many bytes behind the offset that was asked for this part begins, because they were dropped.
pub const LOG_DROPPED: &str = "x-log-dropped";
