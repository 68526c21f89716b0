//! Listing and deleting access tokens.

use mlplatform_protocol::{ErrorCode, Page, PageRequest, TokenInfo, tokens::DeleteTokenRequest};
use mlplatform_store::query;
use serde_json::json;

use super::{
    queries::{end, living, no_such, withdraw_issued},
    row::{End, TokenRow, columns},
};
use crate::{
    app::App,
    audit::{Event, Outcome},
    caller::Caller,
    error::{Error, Result},
    idempotency::Key,
    page::Window,
    request::RequestContext,
    transaction::Transaction,
};

const DELETE: &str = "delete_token";

/// `get_project_tokens_info`: the living access tokens, in the order of their making.
///
/// # Errors
/// When the page asked for is none, or the store fails.
pub async fn get_project_tokens_info(app: &App, request: PageRequest) -> Result<Page<TokenInfo>> {
    let window = Window::read(&request)?;
    let rows: Vec<TokenRow> = query(concat!(
        "SELECT ",
        columns!(),
        " FROM tokens t WHERE t.seq > $1 AND t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $2) \
         ORDER BY t.seq LIMIT $3",
    ))
    .bind(window.after)
    .bind(app.clock().now().as_microsecond())
    .bind(window.rows())
    .all(&mut app.read().await?)
    .await?;
    let rows = rows.into_iter().map(|row| app.last_used().applied_to(row)).collect();
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
        let done: Option<String> = query("SELECT name FROM tokens WHERE deleted_by = $1 AND delete_key = $2")
            .bind(caller.id())
            .bind(&key.digest)
            .optional_scalar(tx.connection())
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
    let name: Option<String> = query("SELECT name FROM tokens WHERE id = $1 AND deleted_at IS NULL")
        .bind(id)
        .optional_scalar(tx.connection())
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
