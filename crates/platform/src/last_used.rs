//! When, and from where, each token was last used.
//!
//! A request must not wait for the disk to say that it was there. So it leaves a note in memory, and what notes there
//! are is written once a minute, in batches, and when the server stops. Whoever reads a token's row lays its note over
//! it, and so never sees that the store lags behind. After a crash, a minute's notes are missing: nothing rests on them.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{error::Result, store::Store, tokens::row::TokenRow};

/// How often the notes are written; a token's row is thereby changed once a minute at most.
pub const WRITE_EVERY: Duration = Duration::from_secs(60);
/// Rows in one transaction: a request that wants to write waits for a few milliseconds at most.
const BATCH: usize = 200;

/// The notes, by the token's id. There are no more than tokens that were used in a minute.
#[derive(Debug, Default)]
pub struct LastUsed {
    notes: Mutex<HashMap<String, Note>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    at: i64,
    address: String,
}

impl LastUsed {
    /// A request was made with that token.
    pub(crate) fn note(&self, token_id: &str, at: i64, address: &str) {
        let mut notes = self.lock();
        match notes.get_mut(token_id) {
            Some(note) => {
                note.at = at;
                if note.address != address {
                    address.clone_into(&mut note.address);
                }
            }
            None => drop(notes.insert(token_id.to_owned(), Note { at, address: address.to_owned() })),
        }
    }

    /// The row, as if the notes were written.
    pub(crate) fn over(&self, mut row: TokenRow) -> TokenRow {
        if let Some(note) = self.lock().get(&row.id) {
            row.last_used_at = Some(note.at);
            row.last_used_address = Some(note.address.clone());
        }
        row
    }

    /// Writes the notes. A note is dropped only when it is written, and none has come in its place.
    pub async fn write(&self, store: &Store) -> Result<()> {
        let notes: Vec<(String, Note)> = self.lock().iter().map(|(id, note)| (id.clone(), note.clone())).collect();
        for batch in notes.chunks(BATCH) {
            let mut tx = store.begin().await?;
            for (id, note) in batch {
                sqlx::query("UPDATE tokens SET last_used_at = ?, last_used_address = ? WHERE id = ?")
                    .bind(note.at)
                    .bind(&note.address)
                    .bind(id)
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
            let mut left = self.lock();
            for (id, note) in batch {
                if left.get(id) == Some(note) {
                    left.remove(id);
                }
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Note>> {
        // Nothing that is done under the lock can leave it half done.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
