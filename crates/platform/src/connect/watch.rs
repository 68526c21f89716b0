//! Ends calls and sessions whose token, server or time is over, and tells the store what sessions do.

use std::time::Duration;

use mlplatform_store::query;

use super::{
    live::{CallEnd, Release},
    sessions::{self, SessionRow},
};
use crate::{
    app::App,
    error::Result,
    jobs::{row, supervisor},
    request::RequestContext,
    sessions::exchange::living,
    transaction::Transaction,
};

/// How often it is looked whether a token has ended.
pub const LOOK: Duration = Duration::from_millis(500);
/// A session without a call for so long is closed, in microseconds: Spark's own server forgets it then, too.
const IDLE: i64 = 60 * 60 * 1_000_000;
/// How often the store is told when a session was last used, in microseconds.
const WRITE_EVERY: i64 = 15_000_000;

/// What a look remembers for the next.
#[derive(Debug, Default)]
pub struct Watch {
    written_at: i64,
}

impl Watch {
    /// One look.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn look(&mut self, app: &App) -> Result<()> {
        let now = app.clock().now();
        for digest in app.connect().digests() {
            if let Err(ended) = living(&mut app.read().await?, now, &digest).await? {
                app.connect().end_calls_of(&digest, &ended.reason);
            }
        }
        let now = now.as_microsecond();
        if now.saturating_sub(self.written_at).saturating_abs() >= WRITE_EVERY {
            self.written_at = now;
            write(app).await?;
        }
        end_servers(app).await?;
        let all = sessions::all(&mut app.read().await?).await?;
        let over = all.into_iter().filter_map(|session| Some((reason(app, &session, now)?, session)));
        let over: Vec<_> = over.collect();
        if !over.is_empty() {
            let context = RequestContext::local();
            let mut tx = app.begin(&context).await?;
            close(app, &mut tx, &over, None).await?;
            tx.commit().await?;
            closed(app, over);
        }
        Ok(())
    }
}

/// Why a session is over.
fn reason(app: &App, session: &SessionRow, now: i64) -> Option<CallEnd> {
    let seen = app.connect().seen(&session.key(), now);
    if let Some(reason) = &session.delete_reason {
        return Some(CallEnd::Token(reason.clone()));
    }
    if session.expires_at.is_some_and(|end| end <= now) {
        return Some(CallEnd::Token("expired".to_owned()));
    }
    if !session.alive {
        return Some(CallEnd::Server);
    }
    if seen.as_ref().is_some_and(|seen| seen.released) {
        return Some(CallEnd::Closed("the client has ended it".to_owned()));
    }
    let last_at = seen.map_or(session.last_at, |seen| seen.last_at.max(session.last_at));
    let idle = now.saturating_sub(last_at) >= IDLE;
    idle.then(|| CallEnd::Closed(format!("it had no call for {} minutes", IDLE / 60_000_000)))
}

/// Closes sessions, each for its reason; `actor`: the token that asked for it. What follows a commit is [`closed`].
pub(super) async fn close(
    app: &App,
    tx: &mut Transaction<'_>,
    over: &[(CallEnd, SessionRow)],
    actor: Option<&str>,
) -> Result<()> {
    let now = tx.now().as_microsecond();
    for (end, session) in over {
        let operations = app.connect().seen(&session.key(), now).map_or(session.operations, |seen| seen.operations);
        let reason = match end {
            CallEnd::Token(reason) => format!("token {reason}"),
            CallEnd::Closed(reason) => reason.clone(),
            CallEnd::Server => "its server has ended".to_owned(),
        };
        sessions::close(tx, session, actor, &reason, operations).await?;
    }
    Ok(())
}

/// Ends the calls of sessions that were closed, and has their servers told.
pub(super) fn closed(app: &App, over: Vec<(CallEnd, SessionRow)>) {
    let mut releases = Vec::new();
    for (end, session) in over {
        let key = session.key();
        let released = app.connect().seen(&key, 0).is_some_and(|seen| seen.released);
        app.connect().remove(&key, &end);
        if let Some(server) = app.connect().ready(&session.job_id).filter(|_| session.alive && !released) {
            releases.push(Release { server, token_id: session.token_id, session_id: session.session_id });
        }
    }
    app.connect().release(releases);
}

/// Tells the store when sessions and their clusters were last used.
async fn write(app: &App) -> Result<()> {
    let changes = app.connect().take_changes();
    if changes.is_empty() {
        return Ok(());
    }
    let context = RequestContext::local();
    let mut tx = app.begin(&context).await?;
    let now = tx.now().as_microsecond();
    for (key, cluster, operations, last_at) in changes {
        query(
            "UPDATE connect_sessions SET operations = $1, last_at = $2 WHERE job_id = $3 AND token_id = $4 AND session_id = $5",
        )
        .bind(operations)
        .bind(last_at)
        .bind(&key.job_id)
        .bind(&key.token_id)
        .bind(&key.session_id)
        .execute(tx.connection())
        .await?;
        let active = app.connect().last_active(&cluster, now).unwrap_or(last_at);
        query("UPDATE clusters SET last_active_at = $1 WHERE id = $2 AND last_active_at < $1")
            .bind(active)
            .bind(&cluster)
            .execute(tx.connection())
            .await?;
    }
    tx.commit().await
}

/// A suspended cluster has no server, and one that is to load something else is started again when nothing runs on it.
async fn end_servers(app: &App) -> Result<()> {
    let found: Vec<(String, String, String)> = query(
        "SELECT j.id, c.id, c.phase FROM connect_servers s JOIN jobs j ON j.id = s.job_id \
         JOIN clusters c ON c.id = s.cluster_id \
         WHERE (c.phase = 'suspend' OR s.outdated = TRUE) AND j.alive = TRUE AND j.deleted_at IS NULL",
    )
    .all(&mut app.read().await?)
    .await?;
    for (id, cluster, phase) in found {
        let why = if phase == "suspend" { "its cluster was suspended" } else { "it is to load other jars or packages" };
        if phase != "suspend" && app.connect().runs(&cluster) {
            continue;
        }
        if let Some(job) = row::by_id(&mut app.read().await?, &id).await? {
            supervisor::end(app, &job, why).await?;
        }
    }
    Ok(())
}
