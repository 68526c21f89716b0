//! Write-behind cache of when, and from where, each token was last used.
//!
//! A request must not wait for the disk to say that it was there. So its use is kept in memory, and what there is is
//! written once a minute, in batches, and when the server stops. Whoever reads a token's row applies what is pending to
//! it, and so never sees that the store lags behind. After a crash, a minute's uses are missing: nothing rests on them.

use mlplatform_store::{Mode, Store, query};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{error::Result, tokens::row::TokenRow};

/// How often they are written; a token's row is thereby changed once a minute at most.
pub const WRITE_EVERY: Duration = Duration::from_secs(60);
/// Rows in one transaction: a request that wants to write waits for a few milliseconds at most.
const BATCH: usize = 200;

/// Uses that are not written yet, by the token's id. There are no more than tokens that were used in a minute.
#[derive(Debug, Default)]
pub struct LastUsed {
    pending: Mutex<HashMap<String, LastUse>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct LastUse {
    at: i64,
    address: String,
}

impl LastUsed {
    /// A request was made with that token.
    pub(crate) fn record(&self, token_id: &str, at: i64, address: &str) {
        let mut pending = self.lock();
        match pending.get_mut(token_id) {
            Some(last) => {
                last.at = at;
                if last.address != address {
                    address.clone_into(&mut last.address);
                }
            }
            None => drop(pending.insert(token_id.to_owned(), LastUse { at, address: address.to_owned() })),
        }
    }

    /// The row, as if what is pending were written.
    pub(crate) fn applied_to(&self, mut row: TokenRow) -> TokenRow {
        if let Some(last) = self.lock().get(&row.id) {
            row.last_used_at = Some(last.at);
            row.last_used_address = Some(last.address.clone());
        }
        row
    }

    /// Writes what is pending. A use is dropped only when it is written, and none has come in its place.
    ///
    /// # Errors
    /// When the store fails; what is not written stays pending.
    pub async fn write(&self, store: &Store) -> Result<()> {
        let mut pending: Vec<(String, LastUse)> =
            self.lock().iter().map(|(id, last)| (id.clone(), last.clone())).collect();
        // In one order on all servers: two that lock rows in different orders would wait for each other.
        pending.sort_by(|(one, _), (other, _)| one.cmp(other));
        for batch in pending.chunks(BATCH) {
            let mut tx = store.begin(Mode::Concurrent).await?;
            for (id, last) in batch {
                query("UPDATE tokens SET last_used_at = $1, last_used_address = $2 WHERE id = $3 AND (last_used_at IS NULL OR last_used_at < $1)")
                    .bind(last.at)
                    .bind(&last.address)
                    .bind(id).execute(&mut tx)
                    .await?;
            }
            tx.commit().await?;
            let mut left = self.lock();
            for (id, last) in batch {
                if left.get(id) == Some(last) {
                    left.remove(id);
                }
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, LastUse>> {
        // Nothing that is done under the lock can leave it half done.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
