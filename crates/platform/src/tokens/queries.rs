//! Statements on access tokens that several methods share: find one by its name, make one, end one.

use mlplatform_protocol::{ErrorCode, Role, Secret, TokenInfo, TokenKind};
use mlplatform_store::query;
use serde_json::json;

use super::row::{End, PLATFORM, TokenRow, WITHDRAW, columns};
use crate::{
    audit::{Event, Outcome},
    error::{Error, Result},
    idempotency::Key,
    secret::mint,
    transaction::Transaction,
};

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

/// The living token of that name.
pub(crate) async fn living(tx: &mut Transaction<'_>, name: &str) -> Result<Option<TokenRow>> {
    let row = query(concat!(
        "SELECT ",
        columns!(),
        " FROM tokens t WHERE t.name = $1 AND t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $2)",
    ))
    .bind(name)
    .bind(tx.now().as_microsecond())
    .optional(tx.connection())
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
    let ended = query(
        "UPDATE tokens SET deleted_at = $1, deleted_by = $2, delete_reason = $3, delete_key = $4 \
         WHERE id = $5 AND deleted_at IS NULL",
    )
    .bind(tx.now().as_microsecond())
    .bind(by)
    .bind(why.name())
    .bind(key.map(|key| &key.digest))
    .bind(id)
    .execute(tx.connection())
    .await?;
    if ended != 1 {
        return Err(Error::Fault("a living token was not there to be ended"));
    }
    let sessions = query("DELETE FROM sessions WHERE token_id = $1").bind(id).execute(tx.connection()).await?;
    Ok(sessions)
}

/// Withdraws the registration tokens that a token issued and nobody redeemed: who is dismissed keeps no door.
pub(crate) async fn withdraw_issued(
    tx: &mut Transaction<'_>,
    issuer: &str,
    actor: impl Into<Option<&str>>,
) -> Result<()> {
    let actor = actor.into();
    let withdrawn: Vec<String> = query(
        "UPDATE register_tokens SET withdrawn_at = $1, withdrawn_by = $2, withdraw_reason = 'issuer_deleted' \
         WHERE issuer_id = $3 AND redeemed_at IS NULL AND withdrawn_at IS NULL RETURNING id",
    )
    .bind(tx.now().as_microsecond())
    .bind(actor)
    .bind(issuer)
    .scalars(tx.connection())
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
    let minted = mint(TokenKind::Access)?;
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
    let inserted = query(
        "INSERT INTO tokens (id, name, role, issuer_id, issuer_name, register_token_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (name) WHERE deleted_at IS NULL DO NOTHING",
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
    .await?;
    if inserted == 0 {
        return Ok(None);
    }
    query("INSERT INTO token_secrets (digest, token_id, created_at) VALUES ($1, $2, $3)")
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
        query("SELECT id FROM tokens WHERE name = $1 AND deleted_at IS NULL AND expires_at <= $2")
            .bind(name)
            .bind(tx.now().as_microsecond())
            .optional_scalar(tx.connection())
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
