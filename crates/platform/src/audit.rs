//! The audit log: an append-only chain of rows (who did what, when, from where, with what outcome), each authenticated by
//! an HMAC.
//!
//! Each row carries an HMAC-SHA256 over the MAC before it and its own content, with a key that lies in a file outside
//! of the database. Who can write the database but not read the key cannot change, insert or remove a row unseen. Rows
//! cut off the end would leave a chain that is whole, so the newest row's mark is kept beside the key.
//!
//! Two processes may write at the same time (a server, and `admin-token` on its directory). So nothing is kept in
//! memory: a row is chained to the last one that the database holds, inside a transaction that excludes every other
//! writer. The mark is written after the commit: after a crash it may lag behind the newest row, and never leads it.
//!
//! A mark that does lead means that rows were cut off (or that an old copy of the database was put back). Since later
//! rows would in time overtake the mark and hide this, the next row written is one that records it: [`GAP`].
//!
//! Every change and every refusal is audited, in the transaction of the change. Successful exchanges and reads are
//! not: they are most of the traffic, and change nothing.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use hmac::{Hmac, KeyInit, Mac};
pub use mlplatform_protocol::audit::Outcome;
use mlplatform_store::{Connection, Failure, FromRow, query};
use sha2::Sha256;

pub mod reader;

use crate::{
    error::{Error, Result},
    private_file,
};

/// The action of the row that says: the mark did not fit the rows that were found.
pub const GAP: &str = "audit_gap";
/// What the first row is chained to.
const GENESIS: [u8; 32] = [0; 32];
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

/// Number and MAC of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    seq: i64,
    mac: [u8; 32],
}

/// Before the first row.
const START: Mark = Mark { seq: 0, mac: GENESIS };

/// What to [`keep`](Audit::keep) once a row is committed.
#[derive(Clone, Copy, Debug)]
pub struct NewMark {
    mark: Mark,
    /// The old mark did not fit, and a row says so: it is replaced even if its number is higher.
    over_gap: bool,
}

impl NewMark {
    /// This mark, of a later row of the same transaction.
    #[must_use]
    pub fn after(self, earlier: Option<Self>) -> Self {
        Self { over_gap: self.over_gap || earlier.is_some_and(|earlier| earlier.over_gap), ..self }
    }
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
    /// The system gave no random bytes for a new key.
    #[error(transparent)]
    Platform(#[from] Error),
}

/// The chain's key and the file of its mark.
#[derive(Clone)]
pub struct Audit {
    key: Hmac<Sha256>,
    head: Arc<Mutex<File>>,
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
    /// Opens the key and the mark, or makes them for a directory without a store.
    ///
    /// # Errors
    /// When the files cannot be read or made. A missing key beside an existing store is an error: a new one would make
    /// the past unprovable.
    pub fn open(path: &Path, head: &Path, fresh: bool) -> Result<Self, OpenError> {
        let problem = |problem: String| OpenError::Unusable { path: path.parent().unwrap_or(path).to_owned(), problem };
        let key = match std::fs::read(path) {
            Ok(key) if key.len() == 32 => key,
            Ok(_) => return Err(problem(format!("'{}' does not hold 32 bytes: restore it", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound && fresh => {
                let mut key = [0; 32];
                getrandom::fill(&mut key).map_err(Error::from)?;
                private_file::replace(path, &key).map_err(|e| problem(format!("'{}': {e}", path.display())))?;
                key.to_vec()
            }
            Err(error) => {
                let text = format!("'{}': {error}; restore the file from a backup", path.display());
                return Err(problem(text));
            }
        };
        let key = Hmac::new_from_slice(&key).map_err(|e| problem(e.to_string()))?;
        let file = head;
        let head = private_file::touch(file)
            .and_then(|()| OpenOptions::new().read(true).write(true).open(file))
            .map_err(|e| problem(format!("'{}': {e}", file.display())))?;
        let audit = Self { key, head: Arc::new(Mutex::new(head)) };
        let marked = audit.head().map_err(|e| problem(format!("'{}': {e}", file.display())))?.is_some();
        if fresh && !marked {
            // So that a crash between the first commit and its mark does not look like a mark that was removed. A mark
            // that is there stays: a store that was emptied below it has a past, and the first row says that it is gone.
            let start = NewMark { mark: START, over_gap: true };
            audit.keep(start).map_err(|e| problem(format!("'{}': {e}", file.display())))?;
        }
        Ok(audit)
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
        let head = self.head().map_err(|e| Error::File("reading the audit's mark", e))?;
        let found = match head {
            // A store without rows has no mark yet; one with rows has.
            None => last.seq == 0,
            Some(head) if head.seq == last.seq => head == last,
            Some(head) if head.seq < last.seq => mac_of(connection, head.seq).await? == Some(head.mac),
            Some(_) => false,
        };
        let mark = head.map(|head| serde_json::json!({"seq": head.seq, "mac": hex(&head.mac)}));
        Ok((!found).then(|| serde_json::json!({"mark": mark, "last": last.seq})))
    }

    /// Writes the mark of a committed row, unless a later one is there already.
    ///
    /// # Errors
    /// When the file cannot be written. The row is committed all the same: this is told to the log, not to the caller.
    pub fn keep(&self, new: NewMark) -> io::Result<()> {
        self.with_head(|mut file| {
            if new.over_gap || parse(file)?.is_none_or(|head| head.seq < new.mark.seq) {
                file.seek(SeekFrom::Start(0))?;
                file.write_all(line(new.mark).as_bytes())?;
            }
            Ok(())
        })
    }

    /// The mark, if it can be read.
    fn head(&self) -> io::Result<Option<Mark>> {
        self.with_head(parse)
    }

    /// The number of the row that the mark knows.
    pub(crate) fn marked(&self) -> io::Result<Option<i64>> {
        Ok(self.head()?.map(|head| head.seq))
    }

    /// The mark as it stands in its file; empty before the first row.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn mark_as_text(&self) -> io::Result<String> {
        Ok(self.head()?.map(line).unwrap_or_default())
    }

    /// Alone with the file: among this process's threads by the mutex, among processes by the file's lock.
    fn with_head<T>(&self, work: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        let file = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        file.lock()?;
        let result = work(&file);
        file.unlock()?;
        result
    }

    /// Proves the chain from its first row to the mark.
    ///
    /// # Errors
    /// The outer one when the store cannot be read, the inner one is the first thing that is wrong.
    pub async fn verify(&self, connection: &mut Connection) -> Result<Result<VerifiedChain, ChainError>> {
        // Read first: a row that a server adds meanwhile is then newer than the mark, never older.
        let head = self.head().map_err(|e| Error::File("reading the audit's mark", e))?;
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
            None if last.seq > 0 => Err(ChainError::NoMark),
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
        return Ok(Some(GENESIS));
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

/// Of one length always, so that it is overwritten in place by one write.
fn line(mark: Mark) -> String {
    format!("{:020} {}\n", mark.seq, hex(&mark.mac))
}

fn parse(mut file: &File) -> io::Result<Option<Mark>> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(200).read_to_string(&mut text)?;
    Ok(text.trim_end().split_once(' ').and_then(|(seq, mac)| Some(Mark { seq: seq.parse().ok()?, mac: unhex(mac)? })))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let bytes = pairs.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    bytes.collect::<Option<Vec<_>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests;
