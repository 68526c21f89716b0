//! Access tokens: what is known of them, the list, deleting.

use mlplatform_protocol::{ErrorCode, Open, Page, PageRequest, Role, Secret, TokenInfo, tokens::DeleteTokenRequest};
use serde_json::json;
use sqlx::FromRow;

use super::{
    key::Key,
    page::Window,
    register_tokens::WITHDRAW,
    secret::{Digest, mint},
    sessions::Caller,
};
use crate::{
    Error, Result,
    app::{App, RequestContext, Transaction},
    audit::{Event, Outcome},
    clock::timestamp,
};

/// What a [`TokenInfo`] is made of.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct TokenRow {
    pub(crate) seq: i64,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) issuer_id: Option<String>,
    pub(crate) issuer_name: String,
    pub(crate) created_at: i64,
    pub(crate) expires_at: Option<i64>,
    pub(crate) last_used_at: Option<i64>,
    pub(crate) last_used_address: Option<String>,
}

/// The columns of a [`TokenRow`], of the table `tokens` as `t`.
macro_rules! columns {
    () => {
        "t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, \
         t.last_used_at, t.last_used_address"
    };
}
pub(crate) use columns;

impl From<TokenRow> for TokenInfo {
    fn from(row: TokenRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            role: Role::from_name(&row.role).map_or(Open::Unknown(row.role), Open::Known),
            issuer_name: row.issuer_name,
            exp: row.expires_at.map(timestamp),
            created_at: timestamp(row.created_at),
            issuer_id: row.issuer_id,
            last_used_at: row.last_used_at.map(timestamp),
            last_used_address: row.last_used_address,
        }
    }
}

/// What a new access token is made of.
pub(crate) struct NewToken<'a> {
    pub(crate) name: &'a str,
    pub(crate) role: Role,
    /// Id and name of the token behind it; `None`: the platform itself.
    pub(crate) issuer: Option<(&'a str, &'a str)>,
    pub(crate) register_token_id: Option<&'a str>,
    /// In microseconds; `None`: it never expires.
    pub(crate) lifetime: Option<i64>,
}

const DELETE: &str = "delete_token";

/// The issuer's name of tokens that the platform itself makes.
pub(crate) const PLATFORM: &str = "mlplatform-server";

/// Why a token ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// An Administrator deleted it.
    Deleted,
    /// Its lifetime was over, and another token needed its name.
    Expired,
    /// A command on the machine made a new one of that name.
    Replaced,
    /// The answer that carried it was lost, and another was issued.
    Superseded,
}

impl End {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Expired => "expired",
            Self::Replaced => "replaced",
            Self::Superseded => "superseded",
        }
    }
}

/// `get_project_tokens_info`: the living access tokens, in the order of their making.
///
/// # Errors
/// When the page asked for is none, or the store fails.
pub async fn get_project_tokens_info(app: &App, request: PageRequest) -> Result<Page<TokenInfo>> {
    let window = Window::read(&request)?;
    let rows: Vec<TokenRow> = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM tokens t WHERE t.seq > ? AND t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > ?) \
         ORDER BY t.seq LIMIT ?",
    ))
    .bind(window.after)
    .bind(app.clock().now().as_microsecond())
    .bind(window.rows())
    .fetch_all(&mut *app.read().await?)
    .await?;
    let rows = rows.into_iter().map(|row| app.last_used().over(row)).collect();
    Ok(window.page(rows, |row: &TokenRow| row.seq))
}

/// `delete_token`: ends a living token with its sessions, and withdraws what it issued and nobody redeemed.
///
/// # Errors
/// When there is no such token, or the store fails.
pub async fn delete_token(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    key: Option<&Key>,
    request: DeleteTokenRequest,
) -> Result<()> {
    let name = request.token_name.as_str();
    let mut tx = app.begin_as(context, caller).await?;
    if let Some(key) = key {
        let done: Option<String> =
            sqlx::query_scalar("SELECT name FROM tokens WHERE deleted_by = ? AND delete_key = ?")
                .bind(caller.id())
                .bind(&key.digest)
                .fetch_optional(tx.connection())
                .await?;
        match done {
            // A namesake made since then is another token: the intention was about the first.
            Some(done) if done == name => return Ok(()),
            Some(done) => {
                let text = format!("this Idempotency-Key deleted the token '{done}': send a new key for '{name}'");
                return Err(Error::refused(ErrorCode::Conflict, text));
            }
            None => {}
        }
    }
    let event = |outcome, detail| Event { action: DELETE, actor: Some(caller.id()), subject: None, outcome, detail };
    let found = if Key::is_spent(key, &mut tx, caller).await? { None } else { living(&mut tx, name).await? };
    let Some(TokenRow { id, .. }) = found else {
        Key::spend(key, &mut tx, caller).await?;
        let event = event(Outcome::Refused, json!({"reason": "unknown name", "name": name}));
        return Err(tx.refuse(event, no_such(name)).await);
    };
    delete(tx, caller, key, &id, name).await
}

/// `delete_token`, of a token that was looked at: one that has taken its name meanwhile is another. A token that has
/// ended is no error: the intention is fulfilled.
///
/// # Errors
/// When the store fails.
pub async fn delete_token_by_id(app: &App, context: &RequestContext, caller: &Caller, id: &str) -> Result<()> {
    let mut tx = app.begin_as(context, caller).await?;
    let name: Option<String> = sqlx::query_scalar("SELECT name FROM tokens WHERE id = ? AND deleted_at IS NULL")
        .bind(id)
        .fetch_optional(tx.connection())
        .await?;
    match name {
        Some(name) => delete(tx, caller, None, id, &name).await,
        None => Ok(()),
    }
}

async fn delete(mut tx: Transaction<'_>, caller: &Caller, key: Option<&Key>, id: &str, name: &str) -> Result<()> {
    let sessions = end(&mut tx, id, End::Deleted, Some(caller.id()), key).await?;
    let detail = json!({"name": name, "sessions_ended": sessions});
    let (action, actor) = (DELETE, Some(caller.id()));
    tx.record(Event { action, actor, subject: Some(id), outcome: Outcome::Done, detail }).await?;
    withdraw_issued(&mut tx, id, caller.id()).await?;
    tx.commit().await
}

/// The living token of that name.
pub(crate) async fn living(tx: &mut Transaction<'_>, name: &str) -> Result<Option<TokenRow>> {
    let row = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM tokens t WHERE t.name = ? AND t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > ?)",
    ))
    .bind(name)
    .bind(tx.now().as_microsecond())
    .fetch_optional(tx.connection())
    .await?;
    Ok(row)
}

/// The refusal when there is none.
pub(crate) fn no_such(name: &str) -> Error {
    let text = format!("there is no living token named '{name}': get_project_tokens_info lists those there are");
    Error::refused(ErrorCode::NotFound, text)
}

/// Ends a living token with its sessions; gives how many there were.
pub(crate) async fn end(
    tx: &mut Transaction<'_>,
    id: &str,
    why: End,
    by: Option<&str>,
    key: Option<&Key>,
) -> Result<u64> {
    let ended = sqlx::query(
        "UPDATE tokens SET deleted_at = ?, deleted_by = ?, delete_reason = ?, delete_key = ? \
         WHERE id = ? AND deleted_at IS NULL",
    )
    .bind(tx.now().as_microsecond())
    .bind(by)
    .bind(why.name())
    .bind(key.map(|key| &key.digest))
    .bind(id)
    .execute(tx.connection())
    .await?;
    if ended.rows_affected() != 1 {
        return Err(Error::Fault("a living token was not there to be ended"));
    }
    let sessions = sqlx::query("DELETE FROM sessions WHERE token_id = ?").bind(id).execute(tx.connection()).await?;
    Ok(sessions.rows_affected())
}

/// Withdraws the registration tokens that a token issued and nobody redeemed: who is dismissed keeps no door.
pub(crate) async fn withdraw_issued(
    tx: &mut Transaction<'_>,
    issuer: &str,
    actor: impl Into<Option<&str>>,
) -> Result<()> {
    let actor = actor.into();
    let withdrawn: Vec<String> = sqlx::query_scalar(
        "UPDATE register_tokens SET withdrawn_at = ?, withdrawn_by = ?, withdraw_reason = 'issuer_deleted' \
         WHERE issuer_id = ? AND redeemed_at IS NULL AND withdrawn_at IS NULL RETURNING id",
    )
    .bind(tx.now().as_microsecond())
    .bind(actor)
    .bind(issuer)
    .fetch_all(tx.connection())
    .await?;
    for id in withdrawn {
        let detail = json!({"reason": "issuer_deleted"});
        let event = Event { action: WITHDRAW, actor, subject: Some(&id), outcome: Outcome::Done, detail };
        tx.record(event).await?;
    }
    Ok(())
}

/// Makes an access token; `None`: a living one has the name, as the unique index says.
pub(crate) async fn insert(tx: &mut Transaction<'_>, new: NewToken<'_>) -> Result<Option<(Secret, TokenInfo)>> {
    let minted = mint(mlplatform_protocol::TokenKind::Access)?;
    let created_at = tx.now().as_microsecond();
    let row = TokenRow {
        seq: 0,
        id: minted.id,
        name: new.name.to_owned(),
        role: new.role.name().to_owned(),
        issuer_id: new.issuer.map(|(id, _)| id.to_owned()),
        issuer_name: new.issuer.map_or(PLATFORM, |(_, name)| name).to_owned(),
        created_at,
        expires_at: new.lifetime.map(|lifetime| created_at.saturating_add(lifetime)),
        last_used_at: None,
        last_used_address: None,
    };
    let inserted = sqlx::query(
        "INSERT INTO tokens (id, name, role, issuer_id, issuer_name, register_token_id, created_at, expires_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&row.id)
    .bind(&row.name)
    .bind(&row.role)
    .bind(&row.issuer_id)
    .bind(&row.issuer_name)
    .bind(new.register_token_id)
    .bind(row.created_at)
    .bind(row.expires_at)
    .execute(tx.connection())
    .await;
    match inserted {
        Ok(_) => {}
        Err(sqlx::Error::Database(error))
            if error.is_unique_violation() && error.message().ends_with("tokens.name") =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    }
    sqlx::query("INSERT INTO token_secrets (digest, token_id, created_at) VALUES (?, ?, ?)")
        .bind(&minted.digest)
        .bind(&row.id)
        .bind(row.created_at)
        .execute(tx.connection())
        .await?;
    Ok(Some((minted.value, row.into())))
}

/// Ends the token of that name if its lifetime is over: only a living one holds its name against others.
pub(crate) async fn end_expired_namesake(tx: &mut Transaction<'_>, action: &'static str, name: &str) -> Result<()> {
    let expired: Option<String> =
        sqlx::query_scalar("SELECT id FROM tokens WHERE name = ? AND deleted_at IS NULL AND expires_at <= ?")
            .bind(name)
            .bind(tx.now().as_microsecond())
            .fetch_optional(tx.connection())
            .await?;
    if let Some(id) = expired {
        let sessions = end(tx, &id, End::Expired, None, None).await?;
        let detail = json!({"reason": End::Expired.name(), "name": name, "sessions_ended": sessions});
        tx.record(Event { action, actor: None, subject: Some(&id), outcome: Outcome::Done, detail }).await?;
    }
    Ok(())
}

/// Whether a token may be given that name: not the platform's own, which lists show as an issuer's.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name != PLATFORM {
        return Ok(());
    }
    let text = format!("'{PLATFORM}' is the name under which the platform itself issues tokens: choose another");
    Err(Error::refused(ErrorCode::BadRequest, text))
}

/// The refusal for a name that a living token has.
pub(crate) fn name_taken(name: &str) -> Error {
    let text = format!(
        "a living token is named '{name}': delete it first (delete_token), or make a registration token with another name"
    );
    Error::refused(ErrorCode::Conflict, text)
}

/// A session's token, read together with it.
pub(crate) async fn of_session(app: &App, session: &Digest) -> Result<Option<TokenRow>> {
    let now = app.clock().now().as_microsecond();
    let row = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM sessions s JOIN tokens t ON t.id = s.token_id WHERE s.digest = ? AND s.last_seen_at IS NULL AND s.expires_at > ? \
         AND t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > ?)",
    ))
    .bind(session)
    .bind(now)
    .bind(now)
    .fetch_optional(&mut *app.read().await?)
    .await?;
    Ok(row)
}
