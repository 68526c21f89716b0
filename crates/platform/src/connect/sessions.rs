//! Open sessions, as the store has them.

use mlplatform_store::{Connection, FromRow, joined, query};
use serde_json::json;

use super::live::Key;
use crate::{
    audit::{Event, Outcome},
    error::Result,
    transaction::Transaction,
};

/// In the audit: a session was opened, and closed.
pub(super) const OPEN: &str = "open_spark_session";
pub(super) const CLOSE: &str = "close_spark_session";

/// A session, with what decides whether it goes on.
#[derive(Clone, Debug, FromRow)]
pub(super) struct SessionRow {
    pub(super) seq: i64,
    pub(super) job_id: String,
    pub(super) token_id: String,
    pub(super) session_id: String,
    pub(super) address: String,
    pub(super) opened_at: i64,
    pub(super) last_at: i64,
    pub(super) operations: i64,
    pub(super) token_name: String,
    pub(super) delete_reason: Option<String>,
    pub(super) expires_at: Option<i64>,
    /// Its server runs.
    pub(super) alive: bool,
}

const SELECT: &str = "SELECT s.seq, s.job_id, s.token_id, s.session_id, s.address, s.opened_at, s.last_at, \
     s.operations, t.name AS token_name, t.delete_reason, t.expires_at, j.alive FROM connect_sessions s \
     JOIN tokens t ON t.id = s.token_id JOIN jobs j ON j.id = s.job_id";

impl SessionRow {
    pub(super) fn key(&self) -> Key {
        Key { job_id: self.job_id.clone(), token_id: self.token_id.clone(), session_id: self.session_id.clone() }
    }
}

/// All of them.
pub(super) async fn all(connection: &mut Connection) -> Result<Vec<SessionRow>> {
    Ok(joined(&[SELECT, " ORDER BY s.seq"]).all(connection).await?)
}

/// Of a cluster, in the order of opening; of one token, if it is given. A server has some hundreds at most.
pub(super) async fn listed(connection: &mut Connection, cluster: &str, token: Option<&str>) -> Result<Vec<SessionRow>> {
    let place = " WHERE s.cluster_id = $1 AND ($2 = '' OR s.token_id = $3) ORDER BY s.seq";
    let token = token.unwrap_or_default();
    Ok(joined(&[SELECT, place]).bind(cluster).bind(token).bind(token).all(connection).await?)
}

/// How many a token has with a server, and how many there are with it.
pub(super) async fn count(connection: &mut Connection, job: &str, token: &str) -> Result<(i64, i64)> {
    let counts = "SELECT coalesce(sum(CASE WHEN token_id = $1 THEN 1 ELSE 0 END), 0), count(*) FROM connect_sessions \
                  WHERE job_id = $2";
    Ok(query(counts).bind(token).bind(job).one(connection).await?)
}

/// Its operations and its last call; `None`: it is not open.
pub(super) async fn find(connection: &mut Connection, key: &Key) -> Result<Option<(i64, i64)>> {
    let found = query(
        "SELECT operations, last_at FROM connect_sessions WHERE job_id = $1 AND token_id = $2 AND session_id = $3",
    );
    Ok(found.bind(&key.job_id).bind(&key.token_id).bind(&key.session_id).optional(connection).await?)
}

/// Opens a session, with its audit row.
pub(super) async fn open(tx: &mut Transaction<'_>, cluster_id: &str, cluster_name: &str, key: &Key) -> Result<()> {
    let (now, address) = (tx.now().as_microsecond(), tx.address().to_owned());
    query(
        "INSERT INTO connect_sessions (cluster_id, job_id, token_id, session_id, address, opened_at, last_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(cluster_id)
    .bind(&key.job_id)
    .bind(&key.token_id)
    .bind(&key.session_id)
    .bind(&address)
    .bind(now)
    .bind(now)
    .execute(tx.connection())
    .await?;
    let detail = json!({"cluster": cluster_name, "session": key.session_id});
    let (actor, subject) = (Some(key.token_id.as_str()), Some(key.token_id.as_str()));
    tx.record(Event { action: OPEN, actor, subject, outcome: Outcome::Done, detail }).await
}

/// Closes a session, with its audit row; gives whether it was open.
pub(super) async fn close(
    tx: &mut Transaction<'_>,
    session: &SessionRow,
    actor: Option<&str>,
    reason: &str,
    operations: i64,
) -> Result<bool> {
    let removed = query("DELETE FROM connect_sessions WHERE seq = $1 RETURNING seq").bind(session.seq);
    if removed.optional_scalar::<i64>(tx.connection()).await?.is_none() {
        return Ok(false);
    }
    let seconds = tx.now().as_microsecond().saturating_sub(session.opened_at) / 1_000_000;
    let detail = json!({"session": session.session_id, "reason": reason, "seconds": seconds, "operations": operations});
    let subject = Some(session.token_id.as_str());
    tx.record(Event { action: CLOSE, actor, subject, outcome: Outcome::Done, detail }).await?;
    Ok(true)
}
