//! Bulk revocation of all that one issuer made: for the day on which an Administrator must go, or its token was stolen.

use mlplatform_protocol::{
    ErrorCode,
    tokens::{DeleteIssuerTokensRequest, DeletedTokens},
};
use mlplatform_store::query;
use serde_json::json;

use super::{
    queries,
    row::{self, End, TokenRow, columns},
};
use crate::{
    app::App,
    audit::{Event, Outcome},
    caller::Caller,
    error::{Error, Result},
    idempotency::Key,
    request::RequestContext,
    transaction::Transaction,
};

const ACTION: &str = "delete_issuer_tokens";

/// `delete_issuer_tokens`: ends the living access tokens that an issuer made, and withdraws the registration tokens that
/// it, or one of those, made and nobody redeemed; all in one transaction. The issuer's own token stays.
///
/// A name says which issuer as long as one issuer of that name has something to end: the present one, or one that was
/// deleted. When an issuer was deleted and another took its name, both may have: then the id decides.
///
/// # Errors
/// When no token of that name or id ever issued anything, or several did.
pub async fn delete_issuer_tokens(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    key: Option<&Key>,
    request: DeleteIssuerTokensRequest,
) -> Result<DeletedTokens> {
    let name = request.issuer_name.as_str();
    let id = request.issuer_id.as_ref().map(|id| id.as_str());
    let mut tx = app.begin_as(context, caller).await?;
    if let Some(key) = key {
        let done = deleted_by(&mut tx, caller, key).await?;
        if let Some(other) =
            done.iter().find(|row| row.issuer_name != name || id.is_some_and(|id| row.issuer_id.as_deref() != Some(id)))
        {
            let text = format!(
                "this Idempotency-Key deleted the token '{}', which another issuer made: send a new key",
                other.name
            );
            return Err(Error::refused(ErrorCode::Conflict, text));
        }
        if !done.is_empty() {
            return Ok(DeletedTokens { items: done.into_iter().map(Into::into).collect() });
        }
    }
    let spent = Key::is_spent(key, &mut tx, caller).await?;
    let issuers = if spent { Vec::new() } else { issuers(&mut tx, name, id).await? };
    let issuer = match issuers.as_slice() {
        [one] => one.clone(),
        [] if is_known(&mut tx, name, id).await? => {
            Key::spend(key, &mut tx, caller).await?;
            tx.commit().await?;
            return Ok(DeletedTokens { items: Vec::new() });
        }
        [] => {
            Key::spend(key, &mut tx, caller).await?;
            let text = match id {
                None => format!(
                    "no token named '{name}' has ever issued another: get_project_tokens_info shows issuer_name"
                ),
                Some(id) => format!(
                    "no token named '{name}' with the id '{id}' has ever issued another: get_project_tokens_info shows issuer_name and issuer_id"
                ),
            };
            return Err(refuse(tx, caller, name, "unknown issuer", Error::refused(ErrorCode::NotFound, text)).await);
        }
        several => {
            let ids: Vec<_> = several.iter().map(|id| id.as_deref().unwrap_or(row::PLATFORM)).collect();
            let text = format!(
                "{} issuers have been named '{name}', one after another, and have living tokens: give issuer_id too, one of {}",
                ids.len(),
                ids.join(", ")
            );
            return Err(refuse(tx, caller, name, "several issuers", Error::refused(ErrorCode::Conflict, text)).await);
        }
    };
    let rows = living(&mut tx, issuer.as_deref(), name).await?;
    for row in &rows {
        let sessions = queries::end(&mut tx, &row.id, End::Deleted, Some(caller.id()), key).await?;
        let detail = json!({"name": row.name, "issuer": issuer, "issuer_name": name, "sessions_ended": sessions});
        tx.record(event(caller, Some(&row.id), Outcome::Done, detail)).await?;
        queries::withdraw_issued(&mut tx, &row.id, caller.id()).await?;
    }
    if let Some(issuer) = &issuer {
        queries::withdraw_issued(&mut tx, issuer, caller.id()).await?;
    }
    if rows.is_empty() {
        // No token carries the key: the registration tokens that went have no room for it.
        Key::spend(key, &mut tx, caller).await?;
    }
    tx.commit().await?;
    let rows = rows.into_iter().map(|row| app.last_used().applied_to(row));
    Ok(DeletedTokens { items: rows.map(Into::into).collect() })
}

/// What an earlier attempt with the same key deleted.
async fn deleted_by(tx: &mut Transaction<'_>, caller: &Caller, key: &Key) -> Result<Vec<TokenRow>> {
    let rows = query(concat!(
        "SELECT ",
        columns!(),
        " FROM tokens t WHERE t.deleted_by = $1 AND t.delete_key = $2 ORDER BY t.seq"
    ))
    .bind(caller.id())
    .bind(&key.digest)
    .all(tx.connection())
    .await?;
    Ok(rows)
}

/// The ids of the issuers of that name (and id) that have something to end, oldest first; `None` is the platform itself.
async fn issuers(tx: &mut Transaction<'_>, name: &str, id: Option<&str>) -> Result<Vec<Option<String>>> {
    let ids = query(
        "SELECT found.issuer_id FROM (SELECT issuer_id FROM tokens WHERE issuer_name = $1 AND deleted_at IS NULL AND (expires_at IS NULL OR expires_at > $3) AND ($2 IS NULL OR issuer_id = $2) UNION SELECT issuer_id FROM register_tokens WHERE issuer_name = $1 AND redeemed_at IS NULL AND withdrawn_at IS NULL AND expires_at > $3 AND ($2 IS NULL OR issuer_id = $2)) found LEFT JOIN tokens issuer ON issuer.id = found.issuer_id ORDER BY issuer.seq NULLS FIRST",
    )
    .bind(name)
    .bind(id)
    .bind(tx.now().as_microsecond()).scalars(tx.connection())
    .await?;
    Ok(ids)
}

/// Whether there is or was such a token: then it has nothing living, which is no mistake.
async fn is_known(tx: &mut Transaction<'_>, name: &str, id: Option<&str>) -> Result<bool> {
    let known = query("SELECT EXISTS (SELECT 1 FROM tokens WHERE name = $1 AND ($2 IS NULL OR id = $2))")
        .bind(name)
        .bind(id)
        .scalar(tx.connection())
        .await?;
    Ok(known)
}

async fn living(tx: &mut Transaction<'_>, issuer: Option<&str>, name: &str) -> Result<Vec<TokenRow>> {
    let rows = query(concat!(
        "SELECT ",
        columns!(),
        " FROM tokens t WHERE t.issuer_id IS NOT DISTINCT FROM $1 AND t.issuer_name = $2 AND t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $3) ORDER BY t.seq"
    ))
    .bind(issuer)
    .bind(name)
    .bind(tx.now().as_microsecond()).all(tx.connection())
    .await?;
    Ok(rows)
}

async fn refuse(tx: Transaction<'_>, caller: &Caller, name: &str, reason: &'static str, error: Error) -> Error {
    tx.refuse(event(caller, None, Outcome::Refused, json!({"reason": reason, "issuer_name": name})), error).await
}

fn event<'a>(caller: &'a Caller, subject: Option<&'a str>, outcome: Outcome, detail: serde_json::Value) -> Event<'a> {
    Event { action: ACTION, actor: Some(caller.id()), subject, outcome, detail }
}
