//! Token exchange: an access token is exchanged for a session token of a few minutes, so that the long-lived value
//! crosses the wire for that exchange alone.
//!
//! They live in the store. Every request reads its session together with the token behind it, and nothing is cached:
//! a token that is deleted ends its sessions at the next request, on every server that shares the store.

use jiff::Timestamp;
use mlplatform_protocol::{
    Access, ErrorCode, Route, Secret, TokenKind,
    error::missing_scope,
    token::{Shape, shape},
    tokens::{CreateSessionRequest, Session},
};
use mlplatform_store::{Connection, FromRow, Mode, either, query};
use serde_json::json;

use crate::{
    app::App,
    audit::{Event, Outcome},
    caller::{Caller, session_ended, unauthorized},
    clock::{micros, timestamp},
    clusters::row as clusters,
    error::{Error, Result},
    request::RequestContext,
    secret::{Digest, digest, mint},
    tokens::{
        rotate,
        row::{TokenRow, columns},
    },
    transaction::Transaction,
};

/// Expired sessions that one exchange removes: more than one exchange adds, so they do not pile up, and little enough
/// not to be noticed.
const PURGED_AT_ONCE: i64 = 100;

const ACTION: &str = "create_session";

/// `create_session`: exchanges an access token. Successful ones leave no audit row; the token's first use is marked.
///
/// # Errors
/// One answer for every token that is not good: the audit knows why.
pub async fn create_session(app: &App, context: &RequestContext, request: CreateSessionRequest) -> Result<Session> {
    exchange(app, context, &request.refresh_token, None).await
}

/// `create_oauth_token`: the same for an access token's name and value. `names`: the ways to read the name that was sent;
/// `audience`: the id or name of a cluster.
///
/// # Errors
/// As [`create_session`]; and 400 when there is no such cluster, which only the holder of a living token learns.
pub async fn of_service_user(
    app: &App,
    context: &RequestContext,
    names: &[String],
    value: &Secret,
    audience: Option<&str>,
) -> Result<Session> {
    exchange(app, context, value, Some(ServiceUser { names, audience })).await
}

struct ServiceUser<'a> {
    names: &'a [String],
    audience: Option<&'a str>,
}

async fn exchange(
    app: &App,
    context: &RequestContext,
    value: &Secret,
    user: Option<ServiceUser<'_>>,
) -> Result<Session> {
    let presented = digest(value.expose());
    let (mut tx, LiveToken { token, ends_at }) = admit(app, context, ACTION, &presented, Mode::Concurrent).await?;
    if user.as_ref().is_some_and(|user| !is_named(&token, user.names)) {
        drop(tx);
        let ended = EndedToken { id: Some(token.id), reason: "name".to_owned() };
        return Err(refuse(app, context, ACTION, &ended).await);
    }
    context.identify(&token.id);
    if let Some(audience) = user.and_then(|user| user.audience)
        && !clusters::exists(tx.connection(), audience).await?
    {
        let text = format!(
            "audience '{audience}' is no cluster of this platform: send the id or the name of one, or leave it out"
        );
        return Err(Error::refused(ErrorCode::BadRequest, text));
    }
    let now = tx.now().as_microsecond();
    let minted = mint(TokenKind::Session)?;
    let longest = now.saturating_add(micros(app.limits().session));
    let ends_at = ends_at.map_or(longest, |end| end.min(longest));
    begin(&mut tx, NewSession::of_api(&minted.digest, &token.id, ends_at)).await?;
    first_use(&mut tx, &presented).await?;
    tx.commit().await?;
    app.last_used().record(&token.id, now, context.address());
    let seconds = u64::try_from(ends_at.saturating_sub(now) / 1_000_000).unwrap_or_default();
    Ok(Session {
        session_token: minted.value,
        expires_in: seconds.max(1),
        token: Some(app.last_used().applied_to(token).into()),
        now: Some(timestamp(now)),
    })
}

/// Whether the token has one of these names. Digests are compared, and all of them, so that the time tells nothing of the
/// token's name.
fn is_named(token: &TokenRow, names: &[String]) -> bool {
    let own = digest(&token.name);
    let same = |name: &String| digest(name).iter().zip(&own).fold(0, |different, (a, b)| different | (a ^ b)) == 0;
    names.iter().fold(false, |found, name| found | same(name))
}

#[derive(FromRow)]
struct Presented {
    #[sqlx(flatten)]
    token: TokenRow,
    delete_reason: Option<String>,
    /// Of the secret, where a newer one was made.
    ends_at: Option<i64>,
}

/// The living token of a value that was presented.
pub(crate) struct LiveToken {
    pub(crate) token: TokenRow,
    /// When the value is no good any more: its own end, or the token's.
    pub(crate) ends_at: Option<i64>,
}

/// Why a value that was presented is that of no living token.
pub(crate) struct EndedToken {
    /// `None`: nobody knows it.
    pub(crate) id: Option<String>,
    pub(crate) reason: String,
}

impl EndedToken {
    fn event(&self, action: &'static str) -> Event<'_> {
        let detail = json!({"reason": self.reason});
        Event { action, actor: None, subject: self.id.as_deref(), outcome: Outcome::Refused, detail }
    }

    fn error(&self) -> Error {
        Error::forbidden(self.reason == "expired")
    }
}

/// Begins a change on behalf of whoever presents the value of a living token. Others are turned away before they wait
/// for the writer: who comes with hundreds of them must not make those wait who have a good one.
///
/// # Errors
/// One answer for every value that is not good: the audit knows why.
pub(crate) async fn admit<'a>(
    app: &'a App,
    context: &'a RequestContext,
    action: &'static str,
    presented: &Digest,
    mode: Mode,
) -> Result<(Transaction<'a>, LiveToken)> {
    // A statement of its own: the connection must be back before the first refusal of a kind waits for the writer.
    let found = living(&mut app.read().await?, app.clock().now(), presented).await?;
    if let Err(ended) = found {
        return Err(refuse(app, context, action, &ended).await);
    }
    let mut tx = app.transactions().begin_in(mode, context).await?;
    let now = tx.now();
    match living_and_locked(tx.connection(), now, presented).await? {
        Ok(living) => Ok((tx, living)),
        Err(ended) => {
            // A refusal is an audit row, which takes a transaction of its own.
            drop(tx);
            Err(refuse(app, context, action, &ended).await)
        }
    }
}

/// Records why a value is not good, and gives the one answer.
pub(crate) async fn refuse(app: &App, context: &RequestContext, action: &'static str, ended: &EndedToken) -> Error {
    match ended.id {
        None => app.transactions().refuse_unknown(context, action).await,
        Some(_) => app.transactions().refuse_ended(context, ended.event(action), ended.error()).await,
    }
}

const LIVING: &str = concat!(
    "SELECT ",
    columns!(),
    ", t.delete_reason, s.ends_at FROM token_secrets s JOIN tokens t ON t.id = s.token_id WHERE s.digest = $1"
);
const LIVING_AND_LOCKED: &str = concat!(
    "SELECT ",
    columns!(),
    ", t.delete_reason, s.ends_at FROM token_secrets s JOIN tokens t ON t.id = s.token_id WHERE s.digest = $1 \
     FOR UPDATE OF s FOR SHARE OF t"
);

/// The token of a value that is presented, which neither ends nor is rotated before the transaction is over.
async fn living_and_locked(
    connection: &mut Connection,
    now: Timestamp,
    presented: &Digest,
) -> Result<Result<LiveToken, EndedToken>> {
    let found = either(LIVING, LIVING_AND_LOCKED).bind(presented).optional(connection).await?;
    Ok(judge(found, now))
}

/// The token of a value that is presented, to be exchanged or to sign in.
pub(crate) async fn living(
    connection: &mut Connection,
    now: Timestamp,
    presented: &Digest,
) -> Result<Result<LiveToken, EndedToken>> {
    let found = query(LIVING).bind(presented).optional(connection).await?;
    Ok(judge(found, now))
}

fn judge(found: Option<Presented>, now: Timestamp) -> Result<LiveToken, EndedToken> {
    let Some(Presented { token, delete_reason, ends_at }) = found else {
        return Err(EndedToken { id: None, reason: "unknown".to_owned() });
    };
    let now = now.as_microsecond();
    let is_over = |end: Option<i64>| end.is_some_and(|end| end <= now);
    let reason = match delete_reason {
        Some(reason) => Some(reason),
        None if is_over(token.expires_at) => Some("expired".to_owned()),
        None if is_over(ends_at) => Some("rotated".to_owned()),
        None => None,
    };
    if let Some(reason) = reason {
        return Err(EndedToken { id: Some(token.id), reason });
    }
    let ends_at = [token.expires_at, ends_at].into_iter().flatten().min();
    Ok(LiveToken { token, ends_at })
}

/// A session that begins.
pub(crate) struct NewSession<'a> {
    pub(crate) digest: &'a Digest,
    pub(crate) token_id: &'a str,
    pub(crate) ends_at: i64,
    /// When it was last seen; of the console alone.
    pub(crate) seen: Option<i64>,
    /// When the token's value was presented; of the console alone.
    pub(crate) confirmed: Option<i64>,
}

impl<'a> NewSession<'a> {
    fn of_api(digest: &'a Digest, token_id: &'a str, ends_at: i64) -> Self {
        Self { digest, token_id, ends_at, seen: None, confirmed: None }
    }
}

/// Makes the row of a session, and removes some that have ended.
pub(crate) async fn begin(tx: &mut Transaction<'_>, new: NewSession<'_>) -> Result<()> {
    let now = tx.now().as_microsecond();
    either(
        "DELETE FROM sessions WHERE digest IN (SELECT digest FROM sessions WHERE expires_at <= $1 LIMIT $2)",
        "DELETE FROM sessions WHERE digest IN \
         (SELECT digest FROM sessions WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind(now)
    .bind(PURGED_AT_ONCE)
    .execute(tx.connection())
    .await?;
    query(
        "INSERT INTO sessions (digest, token_id, created_at, expires_at, last_seen_at, confirmed_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(new.digest)
    .bind(new.token_id)
    .bind(now)
    .bind(new.ends_at)
    .bind(new.seen)
    .bind(new.confirmed)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Marks the value as used: an answer that was lost cannot be repeated from here on.
pub(crate) async fn first_use(tx: &mut Transaction<'_>, presented: &Digest) -> Result<()> {
    query("UPDATE token_secrets SET first_used_at = $1 WHERE digest = $2 AND first_used_at IS NULL")
        .bind(tx.now().as_microsecond())
        .bind(presented)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Lets a request in: its session must be good, its token alive, its role high enough.
///
/// # Errors
/// 401 when the session is not good (an exchange heals it), 403 when the role is too low.
pub async fn authenticate(
    app: &App,
    context: &RequestContext,
    route: &Route,
    credential: Option<&str>,
) -> Result<Caller> {
    let credential = credential.ok_or_else(|| {
        unauthorized("a session token is missing: exchange your access token (create_session), then send the answer's session_token as 'Authorization: Bearer …'")
    })?;
    let session = digest(credential);
    let (row, ended_by_rotation) = match of_session(app, &session).await? {
        Some(row) => (Some(row), false),
        None => (rotate::ended_by_rotation(app, route, &session).await?, true),
    };
    let Some(row) = row else {
        let _ = app.transactions().charge(context);
        return Err(match shape(credential) {
            Shape::Whole(kind) | Shape::Damaged(kind) if kind != TokenKind::Session => unauthorized(&format!(
                "this is a value of the kind {}: exchange an access token for a session token (create_session), and send that",
                kind.noun()
            )),
            _ => session_ended(),
        });
    };
    let info = app.last_used().applied_to(row).into();
    let caller = if ended_by_rotation { Caller::of_ended_session(info, session) } else { Caller::new(info, session) };
    context.identify(caller.id());
    app.last_used().record(caller.id(), app.clock().now().as_microsecond(), context.address());
    require(app, context, &caller, route.access, route.name).await?;
    Ok(caller)
}

/// Holds the caller to its role; a refusal is audited.
///
/// # Errors
/// 403 with the scope that is missing.
pub async fn require(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    access: Access,
    action: &'static str,
) -> Result<()> {
    if caller.may(access) {
        return Ok(());
    }
    let scope = access.scope().unwrap_or_default();
    let detail = json!({"reason": "role", "scope": scope});
    let event = Event { action, actor: Some(caller.id()), subject: None, outcome: Outcome::Refused, detail };
    let error = Error::refused(ErrorCode::Forbidden, missing_scope(caller.name(), scope));
    Err(app.transactions().refuse(context, event, error).await)
}

/// A session's token, read together with it.
async fn of_session(app: &App, session: &Digest) -> Result<Option<TokenRow>> {
    let now = app.clock().now().as_microsecond();
    let row = query(concat!(
        "SELECT ",
        columns!(),
        " FROM sessions s JOIN tokens t ON t.id = s.token_id WHERE s.digest = $1 AND s.last_seen_at IS NULL AND s.expires_at > $2 \
         AND t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $3)",
    ))
    .bind(session)
    .bind(now)
    .bind(now).optional(&mut app.read().await?)
    .await?;
    Ok(row)
}
