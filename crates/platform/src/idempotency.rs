//! Idempotency keys: how a caller says that a request is one that it has sent before.

use mlplatform_protocol::ErrorCode;
use mlplatform_store::query;

use crate::{
    caller::Caller,
    error::{Error, Result},
    secret::{Digest, digest},
    transaction::Transaction,
};

/// The longest key.
const LONGEST: usize = 128;
/// How long a spent key is kept: a day, in microseconds. No attempt is under way for longer.
const SPENT_FOR: i64 = 24 * 3_600 * 1_000_000;
/// So many old ones are removed at a time.
const PURGED_AT_ONCE: i64 = 100;

/// A key and the number of the attempt. Keys belong to whoever sends them: two callers may use the same text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Of the text: it is compared, never shown, and whatever a caller put into it is not kept.
    pub(crate) digest: Digest,
    /// From 1.
    pub(crate) attempt: u32,
}

impl Key {
    /// Reads the two headers. A key without a number is a first attempt; a number without a key means nothing.
    ///
    /// # Errors
    /// When one of them breaks its rule.
    pub fn read(key: Option<&[u8]>, attempt: Option<&[u8]>) -> Result<Option<Self>> {
        let refused = |text| Err(Error::refused(ErrorCode::BadRequest, text));
        let attempt = match attempt.map(number) {
            None => 1,
            Some(Some(attempt)) => attempt,
            Some(None) => {
                return refused("Idempotency-Attempt is not a whole number from 1 to 4294967295: send 1, then 2, 3 …");
            }
        };
        match key {
            None => Ok(None),
            Some(key) if (1..=LONGEST).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic) => {
                Ok(std::str::from_utf8(key).ok().map(|key| Self { digest: digest(key), attempt }))
            }
            Some(_) => refused("Idempotency-Key is not 1 to 128 visible ASCII characters: send one random value"),
        }
    }

    /// Of a form that is filled in once: whatever is sent again is the same attempt.
    #[must_use]
    pub fn of_form(nonce: &str) -> Self {
        Self { digest: digest(nonce), attempt: 1 }
    }

    /// Whether a deletion with that key found nothing that it could mark as its own: what has taken the name since is
    /// another. Without a key no request is known again.
    pub(crate) async fn is_spent(key: Option<&Self>, tx: &mut Transaction<'_>, caller: &Caller) -> Result<bool> {
        let Some(key) = key else { return Ok(false) };
        let spent = query("SELECT EXISTS (SELECT 1 FROM spent_keys WHERE token_id = $1 AND key = $2)")
            .bind(caller.id())
            .bind(&key.digest)
            .scalar(tx.connection())
            .await?;
        Ok(spent)
    }

    /// Remembers just that.
    pub(crate) async fn spend(key: Option<&Self>, tx: &mut Transaction<'_>, caller: &Caller) -> Result<()> {
        let Some(key) = key else { return Ok(()) };
        let now = tx.now().as_microsecond();
        query(
            "DELETE FROM spent_keys WHERE (token_id, key) IN (SELECT token_id, key FROM spent_keys WHERE at < $1 LIMIT $2)",
        )
        .bind(now.saturating_sub(SPENT_FOR))
        .bind(PURGED_AT_ONCE).execute(tx.connection())
        .await?;
        query("INSERT INTO spent_keys (token_id, key, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(caller.id())
            .bind(&key.digest)
            .bind(now)
            .execute(tx.connection())
            .await?;
        Ok(())
    }

    /// The attempt, as stored.
    pub(crate) fn number(&self) -> i64 {
        i64::from(self.attempt)
    }
}

/// Digits alone; `parse` would also take a sign.
fn number(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let attempt = |key: Option<&str>, attempt: Option<&str>| {
            Key::read(key.map(str::as_bytes), attempt.map(str::as_bytes)).map(|key| key.map(|key| key.attempt)).ok()
        };
        assert_eq!(attempt(None, None), Some(None));
        assert_eq!(attempt(None, Some("2")), Some(None));
        assert_eq!(attempt(Some("k"), None), Some(Some(1)));
        assert_eq!(attempt(Some("k"), Some("7")), Some(Some(7)));
        for bad in ["", "0", "-1", "+1", "1.0", " 1", "4294967296", "x", "²"] {
            assert_eq!(attempt(Some("k"), Some(bad)), None, "{bad}");
        }
        let long = "k".repeat(129);
        for bad in ["", "a b", "ключ", "a\u{7f}", &long] {
            assert_eq!(attempt(Some(bad), None), None, "{bad}");
        }
        assert!(attempt(Some(&long[1..]), None).is_some());
    }
}
