//! The audit log: an append-only chain of rows (who did what, when, from where, with what outcome), each authenticated by
//! an HMAC.
//!
//! Each row carries an HMAC-SHA256 over the MAC before it and its own content, with a key that lies in a file outside
//! of the database. Who can write the database but not read the key cannot change, insert or remove a row unseen. Rows
//! cut off the end would leave a chain that is whole, so the newest row's mark is kept outside it, too: in a file beside the key,
//! or, where several servers share a database, in the memory of each.
//!
//! Several processes may write at the same time (servers, and commands beside them). So the end of the chain is not kept in
//! memory: a row is chained to the last one that the database holds, inside a transaction that excludes every other
//! writer. The mark is written after the commit: after a crash it may lag behind the newest row, and never leads it.
//!
//! A mark that does lead means that rows were cut off (or that an old copy of the database was put back). Since later
//! rows would in time overtake the mark and hide this, the next row written is one that records it: [`GAP`].
//!
//! Every change and every refusal is audited, in the transaction of the change. Successful exchanges and reads are
//! not: they are most of the traffic, and change nothing.

use std::{
    io,
    path::{Path, PathBuf},
};

use hmac::{Hmac, KeyInit, Mac};
pub use mlplatform_protocol::audit::Outcome;
use mlplatform_store::{Connection, Failure, FromRow, query};
use sha2::Sha256;

mod mark;
pub mod reader;

pub use mark::{Mark, NewMark};
use mark::{MarkPlace, START, hex};

use crate::{
    error::{Error, Result},
    keys,
};

/// The action of the row that says: the mark did not fit the rows that were found.
pub const GAP: &str = "audit_gap";
/// Set apart from whatever else may one day be computed with the same key.
const LABEL: &[u8] = b"mlplatform audit 1";

/// One thing that happened.
#[derive(Debug)]
pub struct Event<'a> {
    /// A route's name, or what the platform itself does.
    pub action: &'static str,
    /// Id of the token that acted; `None`: nobody signed in, or the platform itself.
    pub actor: Option<&'a str>,
    /// Id of the token that it was done to.
    pub subject: Option<&'a str>,
    /// How it ended.
    pub outcome: Outcome,
    /// More; never a secret.
    pub detail: serde_json::Value,
}

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub struct AuditOrigin<'a> {
    /// The peer's address, or `local` for a command on the machine.
    pub address: &'a str,
    /// The request's id.
    pub request_id: &'a str,
}

/// The content of a row.
#[derive(Clone, Debug, FromRow)]
struct Row {
    seq: i64,
    at: i64,
    actor: Option<String>,
    action: String,
    subject: Option<String>,
    address: String,
    request_id: String,
    outcome: String,
    detail: String,
}

/// Why the audit cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its key or its mark.
    #[error("the audit in '{}' cannot go on: {problem}", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// What to do.
        problem: String,
    },
}

/// The chain's key and its mark.
#[derive(Clone)]
pub struct Audit {
    key: Hmac<Sha256>,
    mark: MarkPlace,
}

/// The first thing wrong with a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Changed, put in, or following a row that was.
    #[error("row {0} was changed, or does not follow the row before it")]
    Changed(i64),
    /// Not there.
    #[error("row {0} is missing")]
    Missing(i64),
    /// The mark knows a row that is not there.
    #[error("the rows up to {0} that the mark beside the key knows of were cut off or replaced")]
    Cut(i64),
    /// The mark cannot be read.
    #[error("the mark beside the key is missing or damaged")]
    NoMark,
}

/// What a whole chain holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedChain {
    /// Rows.
    pub rows: i64,
    /// Rows that record an earlier cut.
    pub gaps: i64,
}

impl Audit {
    /// Opens the key, and the mark in a file, or makes them for a directory without a store.
    ///
    /// # Errors
    /// When the files cannot be read or made. A missing key beside an existing store is an error: a new one would make
    /// the past unprovable.
    pub fn open(path: &Path, head: &Path, fresh: bool) -> Result<Self, OpenError> {
        let key = match keys::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && fresh => {
                keys::make(path).map_err(|error| unusable(path, format!("'{}': {error}", path.display())))?
            }
            read => read.map_err(|error| lost(path, &error))?,
        };
        let mark = MarkPlace::in_file(head, fresh);
        let mark = mark.map_err(|error| unusable(head, format!("'{}': {error}", head.display())))?;
        Self::new(&key, mark).map_err(|problem| unusable(path, problem))
    }

    /// Opens the key of a database that several servers share. Each has a mark of its own: the one given, else that of the
    /// newest row once it [begins](Self::begin_mark) or adds a row.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn open_shared(path: &Path, mark: Option<Mark>) -> Result<Self, OpenError> {
        let key = keys::read(path).map_err(|error| lost(path, &error))?;
        Self::new(&key, MarkPlace::in_memory(mark)).map_err(|problem| unusable(path, problem))
    }

    fn new(key: &[u8], mark: MarkPlace) -> Result<Self, String> {
        Ok(Self { key: Hmac::new_from_slice(key).map_err(|error| error.to_string())?, mark })
    }

    /// Takes the newest row for the mark, if there is none: what is cut off from now on shows.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn begin_mark(&self, connection: &mut Connection) -> Result<()> {
        let mark = last(connection).await?;
        if !self.mark.is_always_there() && self.mark().is_ok_and(|mark| mark.is_none()) {
            self.keep(NewMark { mark, over_gap: false })
                .map_err(|error| Error::File("keeping the audit's mark", error))?;
        }
        Ok(())
    }

    /// Adds a row; the caller's transaction must exclude other writers, and pass the mark to [`keep`](Self::keep) once
    /// it is committed.
    ///
    /// # Errors
    /// When it cannot be written: the caller's change must then fail too.
    pub async fn append(
        &self,
        connection: &mut Connection,
        at: i64,
        origin: AuditOrigin<'_>,
        event: Event<'_>,
    ) -> Result<NewMark> {
        let mut last = last(connection).await?;
        let gap = self.gap(connection, last).await?;
        let over_gap = gap.is_some();
        if let Some(detail) = gap {
            tracing::error!("the audit was tampered with, or an old copy of the store put back: {detail}");
            let gap = Event { action: GAP, actor: None, subject: None, outcome: Outcome::Done, detail };
            last = self.insert(connection, last, at, origin, gap).await?;
        }
        let mark = self.insert(connection, last, at, origin, event).await?;
        Ok(NewMark { mark, over_gap })
    }

    async fn insert(
        &self,
        connection: &mut Connection,
        last: Mark,
        at: i64,
        origin: AuditOrigin<'_>,
        event: Event<'_>,
    ) -> Result<Mark> {
        let row = Row {
            seq: last.seq.saturating_add(1),
            at,
            actor: event.actor.map(str::to_owned),
            action: event.action.to_owned(),
            subject: event.subject.map(str::to_owned),
            address: origin.address.to_owned(),
            request_id: origin.request_id.to_owned(),
            outcome: event.outcome.name().to_owned(),
            detail: event.detail.to_string(),
        };
        let mark = Mark { seq: row.seq, mac: self.seal(&last.mac, &row) };
        query(
            "INSERT INTO audit (seq, at, actor, action, subject, address, request_id, outcome, detail, mac) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(row.seq)
        .bind(row.at)
        .bind(row.actor)
        .bind(row.action)
        .bind(row.subject)
        .bind(row.address)
        .bind(row.request_id)
        .bind(row.outcome)
        .bind(row.detail)
        .bind(mark.mac.to_vec())
        .execute(connection)
        .await?;
        Ok(mark)
    }

    /// The MAC of a row. Every part goes in with its length, so that no two rows give the same bytes.
    fn seal(&self, before: &[u8; 32], row: &Row) -> [u8; 32] {
        let mut mac = self.key.clone();
        mac.update(LABEL);
        mac.update(before);
        mac.update(&row.seq.to_be_bytes());
        mac.update(&row.at.to_be_bytes());
        let texts = [
            row.actor.as_deref(),
            Some(row.action.as_str()),
            row.subject.as_deref(),
            Some(&row.address),
            Some(&row.request_id),
            Some(&row.outcome),
            Some(&row.detail),
        ];
        for text in texts {
            mac.update(&[u8::from(text.is_some())]);
            let text = text.unwrap_or_default().as_bytes();
            mac.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(text);
        }
        mac.finalize().into_bytes().into()
    }

    /// What is wrong with the mark, if it does not fit the rows.
    async fn gap(&self, connection: &mut Connection, last: Mark) -> Result<Option<serde_json::Value>> {
        let head = self.mark().map_err(|e| Error::File("reading the audit's mark", e))?;
        let found = match head {
            // A store without rows has no mark yet; one with rows has.
            None => last.seq == 0 || !self.mark.is_always_there(),
            Some(head) if head.seq == last.seq => head == last,
            Some(head) if head.seq < last.seq => mac_of(connection, head.seq).await? == Some(head.mac),
            Some(_) => false,
        };
        let mark = head.map(|head| serde_json::json!({"seq": head.seq, "mac": hex(&head.mac)}));
        Ok((!found).then(|| serde_json::json!({"mark": mark, "last": last.seq})))
    }

    /// Keeps the mark of a committed row, unless a later one is there already.
    ///
    /// # Errors
    /// When the file cannot be written. The row is committed all the same: this is told to the log, not to the caller.
    pub fn keep(&self, new: NewMark) -> io::Result<()> {
        self.mark.keep(new)
    }

    /// The mark, if there is one that can be read.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn mark(&self) -> io::Result<Option<Mark>> {
        self.mark.read()
    }

    /// The number of the row that the mark knows.
    pub(crate) fn marked(&self) -> io::Result<Option<i64>> {
        Ok(self.mark()?.map(|mark| mark.seq))
    }

    /// The mark as it stands in its file; empty before the first row.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn mark_as_text(&self) -> io::Result<String> {
        Ok(self.mark()?.map(mark::line).unwrap_or_default())
    }

    /// Proves the chain from its first row to the mark.
    ///
    /// # Errors
    /// The outer one when the store cannot be read, the inner one is the first thing that is wrong.
    pub async fn verify(&self, connection: &mut Connection) -> Result<Result<VerifiedChain, ChainError>> {
        // Read first: a row that a server adds meanwhile is then newer than the mark, never older.
        let head = self.mark().map_err(|e| Error::File("reading the audit's mark", e))?;
        let mut last = START;
        let mut head_found = head.is_some_and(|head| head == last);
        let mut gaps = 0;
        // From the very first: a row before number 1 was put in.
        let mut from = i64::MIN;
        let mut at_once = 1_000;
        loop {
            let rows: Result<Vec<StoredRow>, Failure> = query(
                "SELECT seq, at, actor, action, subject, address, request_id, outcome, detail, mac FROM audit \
                 WHERE seq >= $1 ORDER BY seq LIMIT $2",
            )
            .bind(from)
            .bind(at_once)
            .all(connection)
            .await;
            let rows = match rows {
                Ok(rows) => rows,
                // What cannot even be read, no version of ours has written: which row is it?
                Err(Failure::Other(_)) if at_once > 1 => {
                    at_once = 1;
                    continue;
                }
                Err(Failure::Other(_)) => return Ok(Err(ChainError::Changed(last.seq.saturating_add(1)))),
                Err(error) => return Err(error.into()),
            };
            if rows.is_empty() {
                break;
            }
            for stored in rows {
                let StoredRow { content: row, mac } = stored;
                let Ok(mac) = mac_from(&mac) else {
                    return Ok(Err(ChainError::Changed(last.seq.saturating_add(1))));
                };
                if row.seq <= last.seq {
                    return Ok(Err(ChainError::Changed(row.seq)));
                }
                if row.seq != last.seq.saturating_add(1) {
                    return Ok(Err(ChainError::Missing(last.seq.saturating_add(1))));
                }
                if self.seal(&last.mac, &row) != mac {
                    return Ok(Err(ChainError::Changed(row.seq)));
                }
                gaps += i64::from(row.action == GAP);
                last = Mark { seq: row.seq, mac };
                from = row.seq.saturating_add(1);
                head_found |= head == Some(last);
            }
        }
        Ok(match head {
            None if last.seq > 0 && self.mark.is_always_there() => Err(ChainError::NoMark),
            Some(head) if !head_found => Err(ChainError::Cut(head.seq)),
            _ => Ok(VerifiedChain { rows: last.seq, gaps }),
        })
    }
}

async fn last(connection: &mut Connection) -> Result<Mark> {
    let row: Option<(i64, Vec<u8>)> =
        query("SELECT seq, mac FROM audit ORDER BY seq DESC LIMIT 1").optional(connection).await?;
    row.map_or(Ok(START), |(seq, mac)| Ok(Mark { seq, mac: mac_from(&mac)? }))
}

async fn mac_of(connection: &mut Connection, seq: i64) -> Result<Option<[u8; 32]>> {
    if seq == 0 {
        return Ok(Some(START.mac));
    }
    let mac: Option<Vec<u8>> =
        query("SELECT mac FROM audit WHERE seq = $1").bind(seq).optional_scalar(connection).await?;
    mac.map(|mac| mac_from(&mac)).transpose()
}

fn mac_from(mac: &[u8]) -> Result<[u8; 32]> {
    mac.try_into().map_err(|_| Error::Fault("an audit row's MAC has a wrong length"))
}

/// The content of a row.
#[derive(FromRow)]
struct StoredRow {
    #[sqlx(flatten)]
    content: Row,
    mac: Vec<u8>,
}

fn unusable(path: &Path, problem: String) -> OpenError {
    OpenError::Unusable { path: path.parent().unwrap_or(path).to_owned(), problem }
}

fn lost(path: &Path, error: &io::Error) -> OpenError {
    unusable(path, format!("'{}': {error}; restore the file from a backup", path.display()))
}

#[cfg(test)]
mod tests;
