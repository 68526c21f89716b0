//! The bootstrap token, an Administrator's that the platform itself makes: on the first start, and when the last one is lost.
//!
//! Its value goes into a file of mode 0600 in the data directory, never to a log or a terminal. The file is written
//! inside the transaction, before the commit: the caller says how, by a closure. A process that is killed between the two leaves a file whose token was
//! never made: on a first start the store is then still empty, and the next start does it all again; after
//! `admin-token` the old token still stands, and the command is run again. The other order could leave a token that
//! nobody can ever know.

use mlplatform_protocol::{Role, Secret};
use mlplatform_store::query;
use serde_json::json;

use super::{
    queries::{self, NewToken},
    row::End,
};
use crate::{
    app::App,
    audit::{Event, Outcome},
    error::{Error, Result},
    keys::KeysError,
    request::RequestContext,
    transaction::Transaction,
};

/// The name of that token.
pub const NAME: &str = "admin";

/// Makes the first token, unless one was ever made; gives whether it did. `keep` stores its value, before the commit.
///
/// # Errors
/// When the store fails, or `keep` does.
pub async fn bootstrap(app: &App, keep: impl FnOnce(&Secret) -> Result<()>) -> Result<bool> {
    let context = RequestContext::local();
    let mut tx = app.begin(&context).await?;
    let any: bool = query("SELECT EXISTS (SELECT 1 FROM tokens)").scalar(tx.connection()).await?;
    if any {
        return Ok(false);
    }
    issue(tx, "first_start", keep).await?;
    Ok(true)
}

/// That a first token was made: not by a server, where several share a database.
///
/// # Errors
/// [`KeysError::Unfinished`] when none was, or the store fails.
pub async fn must_exist(app: &App) -> Result<(), KeysError> {
    let any: bool = query("SELECT EXISTS (SELECT 1 FROM tokens)").scalar(&mut app.read().await?).await?;
    if any { Ok(()) } else { Err(KeysError::Unfinished) }
}

/// How many access tokens there are beside that one.
///
/// # Errors
/// When the store fails.
pub async fn others(app: &App) -> Result<i64> {
    let sql = query(
        "SELECT count(*) FROM tokens WHERE name <> $1 AND deleted_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
    );
    let now = app.clock().now().as_microsecond();
    Ok(sql.bind(NAME).bind(now).scalar(&mut app.read().await?).await?)
}

/// Replaces the token with a new one of the same name. `keep` stores its value, before the commit.
///
/// # Errors
/// When the store fails, or `keep` does.
pub async fn replace(app: &App, keep: impl FnOnce(&Secret) -> Result<()>) -> Result<()> {
    let context = RequestContext::local();
    issue(app.begin(&context).await?, "admin_token", keep).await
}

async fn issue(mut tx: Transaction<'_>, action: &'static str, keep: impl FnOnce(&Secret) -> Result<()>) -> Result<()> {
    let event = |subject, detail| Event { action, actor: None, subject, outcome: Outcome::Done, detail };
    let old: Option<String> = query("SELECT id FROM tokens WHERE name = $1 AND deleted_at IS NULL")
        .bind(NAME)
        .optional_scalar(tx.connection())
        .await?;
    if let Some(id) = &old {
        let sessions = queries::end(&mut tx, id, End::Replaced, None, None).await?;
        let detail = json!({"reason": End::Replaced.name(), "name": NAME, "sessions_ended": sessions});
        tx.record(event(Some(id), detail)).await?;
        queries::withdraw_issued(&mut tx, id, None).await?;
    }
    let new = NewToken { name: NAME, role: Role::Administrator, issuer: None, register_token_id: None, lifetime: None };
    let made = queries::insert(&mut tx, new).await?;
    let (value, info) = made.ok_or(Error::Fault("the name of the Administrator token is taken"))?;
    tx.record(event(Some(&info.id), json!({"name": NAME, "role": info.role}))).await?;
    keep(&value)?;
    tx.commit().await
}
