//! The Administrator token that the platform itself makes: on the first start, and when the last one is lost.
//!
//! Its value goes into a file of mode 0600 in the data directory, never to a log or a terminal. The file is written
//! inside the transaction, before the commit. A process that is killed between the two leaves a file whose token was
//! never made: on a first start the store is then still empty, and the next start does it all again; after
//! `admin-token` the old token still stands, and the command is run again. The other order could leave a token that
//! nobody can ever know.

use std::path::{Path, PathBuf};

use mlplatform_protocol::Role;
use serde_json::json;

use super::tokens::{self, End, NewToken};
use crate::{
    Clock, DataDir, Error, Result, StartError,
    app::{App, RequestContext, Transaction},
    audit::{Event, Outcome},
};

/// The name of that token.
pub const NAME: &str = "admin";

/// Makes the first token, unless one was ever made.
pub(crate) async fn bootstrap(app: &App) -> Result<()> {
    let context = RequestContext::local();
    let mut tx = app.begin(&context).await?;
    let any: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tokens)").fetch_one(tx.connection()).await?;
    if any {
        return Ok(());
    }
    issue(tx, app.dir(), "first_start").await?;
    tracing::info!("made the first Administrator token: {}", app.dir().admin_token().display());
    Ok(())
}

/// How many access tokens there are beside that one.
pub(crate) async fn others(app: &App) -> Result<i64> {
    let sql =
        "SELECT count(*) FROM tokens WHERE name <> ? AND deleted_at IS NULL AND (expires_at IS NULL OR expires_at > ?)";
    let now = app.clock().now().as_microsecond();
    Ok(sqlx::query_scalar(sql).bind(NAME).bind(now).fetch_one(&mut *app.read().await?).await?)
}

/// `mlplatform-server admin-token`: replaces the token, also while a server runs on the directory. Gives the file.
///
/// # Errors
/// When the directory holds no store of this version, or it cannot be written.
pub async fn admin_token(data_dir: &Path, clock: Clock) -> Result<PathBuf, StartError> {
    let app = App::beside(data_dir, clock).await?;
    let context = RequestContext::local();
    let done = match app.begin(&context).await {
        Ok(change) => issue(change, app.dir(), "admin_token").await,
        Err(error) => Err(error),
    };
    app.store().close().await;
    done?;
    Ok(app.dir().admin_token())
}

async fn issue(mut tx: Transaction<'_>, dir: &DataDir, action: &'static str) -> Result<()> {
    let event = |subject, detail| Event { action, actor: None, subject, outcome: Outcome::Done, detail };
    let old: Option<String> = sqlx::query_scalar("SELECT id FROM tokens WHERE name = ? AND deleted_at IS NULL")
        .bind(NAME)
        .fetch_optional(tx.connection())
        .await?;
    if let Some(id) = &old {
        let sessions = tokens::end(&mut tx, id, End::Replaced, None, None).await?;
        let detail = json!({"reason": End::Replaced.name(), "name": NAME, "sessions_ended": sessions});
        tx.record(event(Some(id), detail)).await?;
        tokens::withdraw_issued(&mut tx, id, None).await?;
    }
    let new = NewToken { name: NAME, role: Role::Administrator, issuer: None, register_token_id: None, lifetime: None };
    let made = tokens::insert(&mut tx, new).await?;
    let (value, info) = made.ok_or(Error::Fault("the name of the Administrator token is taken"))?;
    tx.record(event(Some(&info.id), json!({"name": NAME, "role": info.role}))).await?;
    let path = dir.admin_token();
    let text = format!("{}\n", value.expose());
    dir.replace_private(&path, text.as_bytes()).map_err(|e| Error::File("writing the file admin-token", e))?;
    tx.commit().await
}
