//! Browser sessions: an access token, or a code that `mlplatform-server open` printed, becomes a session.
//!
//! These sessions live longer than those of the API, and end when nobody uses them for a while. The secret of one is no
//! good for the other. As there, every request reads the session together with its token, and nothing is cached.

use jiff::Timestamp;
use mlplatform_protocol::{Secret, TokenKind};
use mlplatform_store::{FromRow, Mode, query};
use serde_json::json;

use super::exchange::{self, EndedToken, LiveToken};
use crate::{
    app::App,
    audit::{Event, Outcome},
    caller::Caller,
    clock::{micros, timestamp},
    error::{Error, Result},
    request::RequestContext,
    secret::{digest, mint},
    tokens::row::{TokenRow, columns},
    transaction::Transaction,
};

const ACTION: &str = "sign_in";
/// How exactly it is known when a session was last used: each time would be a write for every page.
const SEEN_EVERY: i64 = 60 * 1_000_000;
/// Browsers that are shown.
const BROWSERS: i64 = 50;

/// Signs in with an access token; gives the session's secret.
///
/// # Errors
/// One answer for every token that is not good: the audit knows why.
pub async fn sign_in(app: &App, context: &RequestContext, token: &Secret) -> Result<Secret> {
    let presented = digest(token.expose());
    let (mut tx, LiveToken { token, ends_at }) =
        exchange::admit(app, context, ACTION, &presented, Mode::Exclusive).await?;
    exchange::first_use(&mut tx, &presented).await?;
    begin(app, tx, &token.id, ends_at, Credential::Value).await
}

/// What somebody signs in with.
#[derive(Clone, Copy)]
enum Credential {
    /// The value of the token, which confirms for the first minutes what is done in the session.
    Value,
    /// A code, which says nothing about who has the value: a link passes through terminals, messages and histories.
    Code,
}

impl Credential {
    const fn name(self) -> &'static str {
        match self {
            Self::Value => "access token",
            Self::Code => "code",
        }
    }
}

/// Signs in with a code of [`make_code`], which is good once.
///
/// # Errors
/// One answer for every code that is not good.
pub async fn sign_in_with_code(app: &App, context: &RequestContext, code: &Secret) -> Result<Secret> {
    let presented = digest(code.expose());
    let known: bool = query("SELECT EXISTS (SELECT 1 FROM sign_in_codes WHERE digest = $1)")
        .bind(&presented)
        .scalar(&mut app.read().await?)
        .await?;
    if !known {
        return Err(app.transactions().refuse_unknown(context, ACTION).await);
    }
    let mut tx = app.begin(context).await?;
    let now = tx.now().as_microsecond();
    // Removing it decides every race.
    let taken: Option<(String, i64)> =
        query("DELETE FROM sign_in_codes WHERE digest = $1 RETURNING token_id, expires_at")
            .bind(&presented)
            .optional(tx.connection())
            .await?;
    let id = match taken {
        None => return Err(refuse(tx, None, "used code").await),
        Some((id, end)) if end <= now => return Err(refuse(tx, Some(&id), "expired code").await),
        Some((id, _)) => id,
    };
    let alive: Option<Option<i64>> = query(
        "SELECT expires_at FROM tokens WHERE id = $1 AND deleted_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
    )
    .bind(&id)
    .bind(now).optional_scalar(tx.connection())
    .await?;
    match alive {
        Some(ends) => begin(app, tx, &id, ends, Credential::Code).await,
        None => Err(refuse(tx, Some(&id), "its token has ended").await),
    }
}

async fn begin(app: &App, mut tx: Transaction<'_>, id: &str, ends: Option<i64>, with: Credential) -> Result<Secret> {
    tx.identify(id);
    let minted = mint(TokenKind::Session)?;
    let now = tx.now().as_microsecond();
    let longest = now.saturating_add(micros(app.limits().console_session));
    let ends_at = ends.map_or(longest, |end| end.min(longest));
    let confirmed = matches!(with, Credential::Value).then_some(now);
    let new = exchange::NewSession { digest: &minted.digest, token_id: id, ends_at, seen: Some(now), confirmed };
    exchange::begin(&mut tx, new).await?;
    let detail = json!({"with": with.name()});
    let event = Event { action: ACTION, actor: Some(id), subject: Some(id), outcome: Outcome::Done, detail };
    tx.record(event).await?;
    tx.commit().await?;
    Ok(minted.value)
}

async fn refuse(tx: Transaction<'_>, subject: Option<&str>, reason: &str) -> Error {
    let detail = json!({"reason": reason});
    let event = Event { action: ACTION, actor: None, subject, outcome: Outcome::Refused, detail };
    tx.refuse(event, Error::forbidden(reason == "expired")).await
}

#[derive(FromRow)]
struct SessionRow {
    #[sqlx(flatten)]
    token: TokenRow,
    last_seen_at: i64,
    confirmed_at: Option<i64>,
}

/// Whether the value of the token was presented in a session of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// Within the last minutes ([`Limits::console_confirmed`](crate::limits::Limits::console_confirmed)).
    Recent,
    /// Before that, or before the token was rotated.
    Stale,
    /// Never: it began with a link.
    Never,
}

/// Whose session it is, and whether it was confirmed; `None` when it has ended, or never was.
///
/// # Errors
/// When the store fails.
pub async fn signed_in(
    app: &App,
    context: &RequestContext,
    session: &Secret,
) -> Result<Option<(Caller, Confirmation)>> {
    let session = digest(session.expose());
    let now = app.clock().now().as_microsecond();
    let found: Option<SessionRow> = query(concat!(
        "SELECT ",
        columns!(),
        ", s.last_seen_at, s.confirmed_at FROM sessions s JOIN tokens t ON t.id = s.token_id \
         WHERE s.digest = $1 AND s.last_seen_at > $2 AND s.expires_at > $3 \
         AND t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $4)",
    ))
    .bind(&session)
    .bind(now.saturating_sub(micros(app.limits().console_idle)))
    .bind(now)
    .bind(now)
    .optional(&mut app.read().await?)
    .await?;
    let Some(SessionRow { token, last_seen_at, confirmed_at }) = found else {
        let _ = app.transactions().charge(context);
        return Ok(None);
    };
    if now.saturating_sub(last_seen_at) >= SEEN_EVERY {
        let mut tx = app.store().begin(Mode::Concurrent).await?;
        query("UPDATE sessions SET last_seen_at = $1 WHERE digest = $2")
            .bind(now)
            .bind(&session)
            .execute(&mut tx)
            .await?;
        tx.commit().await?;
    }
    context.identify(&token.id);
    app.last_used().record(&token.id, now, context.address());
    let oldest = now.saturating_sub(micros(app.limits().console_confirmed));
    let confirmed = match confirmed_at {
        // A clock that was set back confirms nothing.
        Some(at) if at > oldest && at <= now => Confirmation::Recent,
        Some(_) => Confirmation::Stale,
        None => Confirmation::Never,
    };
    Ok(Some((Caller::new(app.last_used().applied_to(token).into(), session), confirmed)))
}

/// Ends the session. One that has ended already is no error: the user wanted it gone.
///
/// # Errors
/// When the store fails.
pub async fn sign_out(app: &App, context: &RequestContext, session: &Secret) -> Result<()> {
    let mut tx = app.begin(context).await?;
    let ended: Option<String> =
        query("DELETE FROM sessions WHERE digest = $1 AND last_seen_at IS NOT NULL RETURNING token_id")
            .bind(digest(session.expose()))
            .optional_scalar(tx.connection())
            .await?;
    let Some(id) = ended else { return Ok(()) };
    let event =
        Event { action: "sign_out", actor: Some(&id), subject: Some(&id), outcome: Outcome::Done, detail: json!({}) };
    tx.record(event).await?;
    tx.commit().await
}

/// Confirms a session for some minutes: whoever is signed in has the value of the token at hand, too. A session alone,
/// found in a browser that was left open, must not become something that lasts.
///
/// # Errors
/// When it is not the value of that token. The audit knows of it, and an address that guesses is slowed.
pub async fn confirm(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    value: &Secret,
    what_for: &str,
) -> Result<()> {
    let presented = digest(value.expose());
    // A statement of its own: who guesses does not wait for the writer.
    let found = exchange::living(&mut app.read().await?, app.clock().now(), &presented).await?;
    if let Some(reason) = no_confirmation(&found, caller) {
        return Err(app
            .transactions()
            .refuse_confirmation(context, confirmation(caller, Outcome::Refused, reason, what_for))
            .await);
    }
    let mut tx = app.begin_as(context, caller).await?;
    let now = tx.now();
    // Again: it may have been rotated meanwhile.
    let found = exchange::living(tx.connection(), now, &presented).await?;
    if let Some(reason) = no_confirmation(&found, caller) {
        drop(tx);
        return Err(app
            .transactions()
            .refuse_confirmation(context, confirmation(caller, Outcome::Refused, reason, what_for))
            .await);
    }
    query("UPDATE sessions SET confirmed_at = $1 WHERE digest = $2")
        .bind(now.as_microsecond())
        .bind(caller.session())
        .execute(tx.connection())
        .await?;
    exchange::first_use(&mut tx, &presented).await?;
    tx.record(confirmation(caller, Outcome::Done, "", what_for)).await?;
    tx.commit().await
}

/// Why a value does not confirm what the caller does.
fn no_confirmation<'a>(found: &'a Result<LiveToken, EndedToken>, caller: &Caller) -> Option<&'a str> {
    match found {
        Ok(LiveToken { token, .. }) => (token.id != caller.id()).then_some("the value of another token"),
        Err(ended) => Some(&ended.reason),
    }
}

fn confirmation<'a>(caller: &'a Caller, outcome: Outcome, reason: &str, what_for: &str) -> Event<'a> {
    let detail = if reason.is_empty() { json!({"for": what_for}) } else { json!({"for": what_for, "reason": reason}) };
    Event { action: "confirm", actor: Some(caller.id()), subject: Some(caller.id()), outcome, detail }
}

/// A browser that somebody is signed in with.
#[derive(Clone, Debug)]
pub struct BrowserSession {
    /// Since when.
    pub since: Timestamp,
    /// When it last asked for a page, to the minute.
    pub last_seen: Timestamp,
    /// It is the one that asks.
    pub this: bool,
}

/// The browsers that are signed in with the caller's token, the latest first; of very many, not all.
///
/// # Errors
/// When the store fails.
pub async fn browsers(app: &App, caller: &Caller) -> Result<Vec<BrowserSession>> {
    let now = app.clock().now().as_microsecond();
    let rows: Vec<(i64, i64, bool)> = query(
        "SELECT created_at, last_seen_at, digest = $1 FROM sessions WHERE token_id = $2 AND last_seen_at > $3 \
         AND expires_at > $4 ORDER BY digest = $5 DESC, last_seen_at DESC LIMIT $6",
    )
    .bind(caller.session())
    .bind(caller.id())
    .bind(now.saturating_sub(micros(app.limits().console_idle)))
    .bind(now)
    .bind(caller.session())
    .bind(BROWSERS)
    .all(&mut app.read().await?)
    .await?;
    let row = |(since, seen, this)| BrowserSession { since: timestamp(since), last_seen: timestamp(seen), this };
    Ok(rows.into_iter().map(row).collect())
}

/// Ends the sessions of all other browsers that are signed in with the caller's token.
///
/// # Errors
/// When the store fails.
pub async fn sign_out_others(app: &App, context: &RequestContext, caller: &Caller) -> Result<()> {
    let mut tx = app.begin_as(context, caller).await?;
    let ended = query("DELETE FROM sessions WHERE token_id = $1 AND digest <> $2 AND last_seen_at IS NOT NULL")
        .bind(caller.id())
        .bind(caller.session())
        .execute(tx.connection())
        .await?;
    let (actor, detail) = (Some(caller.id()), json!({"others": ended}));
    tx.record(Event { action: "sign_out", actor, subject: actor, outcome: Outcome::Done, detail }).await?;
    tx.commit().await
}

/// Makes a code for [`sign_in_with_code`], good once and for minutes; `None`: the token has ended.
///
/// # Errors
/// When the store fails.
pub async fn make_code(app: &App, token: &Secret) -> Result<Option<Secret>> {
    let context = RequestContext::local();
    let mut tx = app.begin(&context).await?;
    let now = tx.now();
    let Ok(LiveToken { token, .. }) = exchange::living(tx.connection(), now, &digest(token.expose())).await? else {
        return Ok(None);
    };
    let minted = mint(TokenKind::Session)?;
    let now = now.as_microsecond();
    query("DELETE FROM sign_in_codes WHERE expires_at <= $1").bind(now).execute(tx.connection()).await?;
    query("INSERT INTO sign_in_codes (digest, token_id, expires_at) VALUES ($1, $2, $3)")
        .bind(&minted.digest)
        .bind(&token.id)
        .bind(now.saturating_add(micros(app.limits().sign_in_code)))
        .execute(tx.connection())
        .await?;
    let event =
        Event { action: "open", actor: None, subject: Some(&token.id), outcome: Outcome::Done, detail: json!({}) };
    tx.record(event).await?;
    tx.commit().await?;
    Ok(Some(minted.value))
}
