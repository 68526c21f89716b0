//! Rotating: a token gets a new secret, and stays what it is: the same id, name, role and end.
//!
//! A token has one newest secret, which lives as long as the token, and perhaps older ones with an end of their own.
//! Rotating makes a new one and gives all older ones an end: at once, or after the overlap that was asked for. Whatever
//! was rotated before ends then at the latest, too: who rotates without an overlap wants every other copy to be worthless.
//! What ends at once has ended before all time ([`AT_ONCE`]): no clock that steps back brings it to life again.
//! Sessions are cut to the same end, so they need not know which secret they were made from.
//!
//! The answer may be lost on its way. The same caller may then ask again, with the same idempotency key and a higher
//! attempt: if the new secret was never used, it is withdrawn and another is issued; the end of the older ones stays as
//! the first attempt set it. Who rotates its own token without an overlap has thereby ended the very session that it
//! asks with. That session opens one door for a minute more: the repetition of that same request, by its key.

use mlplatform_protocol::{
    Access, Endpoint, ErrorCode, Route, TokenKind,
    error::missing_scope,
    routes::RotateToken,
    tokens::{RotateTokenRequest, RotatedToken},
};
use mlplatform_store::{FromRow, query};
use serde_json::{Value, json};

use super::row::{TokenRow, columns};
use crate::{
    app::App,
    audit::{Event, Outcome},
    caller::{Caller, session_ended},
    clock::{micros, timestamp},
    error::{Error, Result},
    idempotency::Key,
    request::RequestContext,
    secret::{Digest, mint},
    transaction::Transaction,
};

const ACTION: &str = "rotate_token";
/// The end of what was ended by a decision.
const AT_ONCE: i64 = 0;
/// The most values of one token that work at the same time, the new one included: of a rotation a day with an overlap of a
/// week, say.
const MOST_VALUES: i64 = 10;
/// So many values that have ended are remembered, to tell whoever still uses one.
const REMEMBERED: i64 = 100;
/// How long a session that a rotation has ended may repeat that rotation: 60 seconds, in microseconds.
const RETRY_WINDOW: i64 = 60 * 1_000_000;

/// What an earlier attempt with the same key made.
#[derive(FromRow)]
struct Earlier {
    #[sqlx(flatten)]
    token: TokenRow,
    digest: Digest,
    made_at: i64,
    rotate_attempt: i64,
    rotate_overlap: Option<i64>,
    rotate_session: Option<Digest>,
    used: bool,
    /// Nothing was rotated or deleted since then.
    newest: bool,
}

/// `rotate_token`.
///
/// # Errors
/// When there is no such token, when it is another's and the caller is no Administrator, when the platform's policy
/// would not let the new secret live as long as the token, or when the attempt cannot be repeated.
pub async fn rotate_token(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    key: Option<&Key>,
    request: RotateTokenRequest,
) -> Result<RotatedToken> {
    let name = request.token_name.as_str();
    let overlap = request.overlap.map(|overlap| micros(overlap.duration()));
    let mut tx = if caller.is_ended() { app.begin(context).await? } else { app.begin_as(context, caller).await? };
    let earlier = match key {
        Some(key) => earlier(&mut tx, caller, key).await?,
        None => None,
    };
    if let (Some(earlier), Some(key)) = (earlier, key) {
        if caller.is_ended() && !may_repeat(&earlier, caller, tx.now().as_microsecond()) {
            return Err(session_ended());
        }
        let same = earlier.token.name == name && earlier.rotate_overlap == overlap;
        if let Some(problem) = problem(&earlier, key, same) {
            let event = event(caller, Some(&earlier.token.id), Outcome::Refused, json!({"reason": "idempotency"}));
            return Err(tx.refuse(event, Error::refused(ErrorCode::Conflict, problem)).await);
        }
        end_secret(&mut tx, &earlier.digest).await?;
        let detail = json!({"name": name, "instead_of_attempt": earlier.rotate_attempt});
        let new = New { made_at: earlier.made_at, key: Some(key), overlap, session: earlier.rotate_session };
        return issue(tx, caller, earlier.token, new, detail).await;
    }
    if caller.is_ended() {
        return Err(session_ended());
    }
    if !caller.is_administrator() && name != caller.name() {
        // The same whether there is such a token or not.
        let scope = Access::Administrator.scope().unwrap_or_default();
        let event = event(caller, None, Outcome::Refused, json!({"reason": "role", "scope": scope}));
        return Err(tx.refuse(event, Error::refused(ErrorCode::Forbidden, missing_scope(caller.name(), scope))).await);
    }
    let Some(token) = super::queries::living(&mut tx, name).await? else {
        let event = event(caller, None, Outcome::Refused, json!({"reason": "unknown name", "name": name}));
        return Err(tx.refuse(event, super::queries::no_such(name)).await);
    };
    if let Err(error) = app.policy().rotation(&token, request.overlap, tx.now()) {
        let event = event(caller, Some(&token.id), Outcome::Refused, json!({"reason": "policy", "name": name}));
        return Err(tx.refuse(event, error).await);
    }
    let now = tx.now().as_microsecond();
    let ends_at = overlap.map_or(AT_ONCE, |overlap| now.saturating_add(overlap));
    if ends_at > now && values(&mut tx, &token.id).await? >= MOST_VALUES {
        let event = event(caller, Some(&token.id), Outcome::Refused, json!({"reason": "many values", "name": name}));
        let text = format!(
            "{MOST_VALUES} values of the token '{name}' work at present, from rotations with an overlap, and no token has more: wait until one has ended, or rotate without an overlap, which ends them all"
        );
        return Err(tx.refuse(event, Error::refused(ErrorCode::Conflict, text)).await);
    }
    let sessions = end_older(&mut tx, &token.id, ends_at).await?;
    let own = (token.id == caller.id()).then(|| caller.session().clone());
    let old_ends = overlap.map(|_| timestamp(ends_at));
    let detail = json!({"name": name, "old_secrets_end": old_ends, "sessions_ended": sessions});
    issue(tx, caller, token, New { made_at: now, key, overlap, session: own }, detail).await
}

/// Whether a session that is gone may ask this again: it asked it first, a moment ago.
fn may_repeat(earlier: &Earlier, caller: &Caller, now: i64) -> bool {
    earlier.rotate_session.as_ref() == Some(caller.session()) && now.saturating_sub(earlier.made_at) <= RETRY_WINDOW
}

/// Why nothing can be made in place of what an earlier attempt made.
fn problem(earlier: &Earlier, key: &Key, same: bool) -> Option<&'static str> {
    if !same {
        Some("this Idempotency-Key was sent with another request: send a new key")
    } else if key.number() <= earlier.rotate_attempt {
        Some(
            "this attempt of the request was answered already, and its secret is not sent twice: send a higher Idempotency-Attempt, which withdraws it and makes a new one, or a new Idempotency-Key",
        )
    } else if earlier.used {
        Some("the secret that an earlier attempt made is in use already: send a new Idempotency-Key to rotate again")
    } else if !earlier.newest {
        Some(
            "the token was rotated again or deleted since an earlier attempt of this request: send a new Idempotency-Key to rotate it",
        )
    } else {
        None
    }
}

async fn earlier(tx: &mut Transaction<'_>, caller: &Caller, key: &Key) -> Result<Option<Earlier>> {
    let now = tx.now().as_microsecond();
    let earlier = query(concat!(
        "SELECT ",
        columns!(),
        ", s.digest, s.created_at AS made_at, s.rotate_attempt, s.rotate_overlap, s.rotate_session, \
         s.first_used_at IS NOT NULL AS used, s.ends_at IS NULL AND t.deleted_at IS NULL \
         AND (t.expires_at IS NULL OR t.expires_at > $1) AS newest \
         FROM token_secrets s JOIN tokens t ON t.id = s.token_id \
         WHERE s.rotated_by = $2 AND s.rotate_key = $3 ORDER BY s.rotate_attempt DESC LIMIT 1",
    ))
    .bind(now)
    .bind(caller.id())
    .bind(&key.digest)
    .optional(tx.connection())
    .await?;
    Ok(earlier)
}

/// The token behind a session that one of its own rotations has ended, while that may be repeated.
pub(crate) async fn ended_by_rotation(app: &App, route: &Route, session: &Digest) -> Result<Option<TokenRow>> {
    if route.name != RotateToken::ROUTE.name {
        return Ok(None);
    }
    let now = app.clock().now().as_microsecond();
    let row = query(concat!(
        "SELECT ",
        columns!(),
        " FROM token_secrets s JOIN tokens t ON t.id = s.token_id \
         WHERE s.rotate_session = $1 AND s.created_at >= $2 AND t.deleted_at IS NULL \
         AND (t.expires_at IS NULL OR t.expires_at > $3) ORDER BY s.created_at DESC LIMIT 1",
    ))
    .bind(session)
    .bind(now.saturating_sub(RETRY_WINDOW))
    .bind(now)
    .optional(&mut app.read().await?)
    .await?;
    Ok(row)
}

/// Gives every secret and every session of the token an end, unless they end sooner, and takes back what would let
/// somebody in who was shown a sign-in link. Sessions that go on have to confirm anew. Says how many sessions ended.
async fn end_older(tx: &mut Transaction<'_>, token_id: &str, ends_at: i64) -> Result<u64> {
    query("UPDATE token_secrets SET ends_at = $1 WHERE token_id = $2 AND (ends_at IS NULL OR ends_at > $3)")
        .bind(ends_at)
        .bind(token_id)
        .bind(ends_at)
        .execute(tx.connection())
        .await?;
    query(
        "DELETE FROM token_secrets WHERE digest IN (SELECT digest FROM token_secrets WHERE token_id = $1 AND ends_at <= $2 ORDER BY created_at DESC LIMIT 9223372036854775807 OFFSET $3)",
    )
    .bind(token_id)
    .bind(tx.now().as_microsecond())
    .bind(REMEMBERED).execute(tx.connection())
    .await?;
    query("DELETE FROM sign_in_codes WHERE token_id = $1").bind(token_id).execute(tx.connection()).await?;
    query(
        "UPDATE sessions SET expires_at = CASE WHEN expires_at < $1 THEN expires_at ELSE $1 END, confirmed_at = CASE WHEN confirmed_at > 0 THEN 0 ELSE confirmed_at END WHERE token_id = $2",
    )
    .bind(ends_at)
    .bind(token_id).execute(tx.connection())
    .await?;
    let ended = query("DELETE FROM sessions WHERE token_id = $1 AND expires_at <= $2")
        .bind(token_id)
        .bind(tx.now().as_microsecond())
        .execute(tx.connection())
        .await?;
    Ok(ended)
}

/// How many values of the token work.
async fn values(tx: &mut Transaction<'_>, token_id: &str) -> Result<i64> {
    let now = tx.now().as_microsecond();
    let values = query("SELECT count(*) FROM token_secrets WHERE token_id = $1 AND (ends_at IS NULL OR ends_at > $2)")
        .bind(token_id)
        .bind(now)
        .scalar(tx.connection())
        .await?;
    Ok(values)
}

async fn end_secret(tx: &mut Transaction<'_>, digest: &Digest) -> Result<()> {
    query("UPDATE token_secrets SET ends_at = $1 WHERE digest = $2")
        .bind(AT_ONCE)
        .bind(digest)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// What is remembered of a rotation beside its secret.
struct New<'a> {
    /// Of the first attempt: a minute after that, the session that it ended is of no use any more.
    made_at: i64,
    key: Option<&'a Key>,
    overlap: Option<i64>,
    session: Option<Digest>,
}

/// Makes the new secret and commits.
async fn issue(
    mut tx: Transaction<'_>,
    caller: &Caller,
    token: TokenRow,
    new: New<'_>,
    detail: Value,
) -> Result<RotatedToken> {
    let minted = mint(TokenKind::Access)?;
    query(
        "INSERT INTO token_secrets (digest, token_id, created_at, rotated_by, rotate_key, rotate_attempt, \
         rotate_overlap, rotate_session) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&minted.digest)
    .bind(&token.id)
    .bind(new.made_at)
    .bind(caller.id())
    .bind(new.key.map(|key| &key.digest))
    .bind(new.key.map(Key::number))
    .bind(new.overlap)
    .bind(new.session)
    .execute(tx.connection())
    .await?;
    tx.record(event(caller, Some(&token.id), Outcome::Done, detail)).await?;
    tx.commit().await?;
    Ok(RotatedToken { refresh_token: minted.value, info: token.into() })
}

/// Whether the key made a secret.
///
/// # Errors
/// When the store fails.
pub async fn made_with(app: &App, caller: &Caller, key: &Key) -> Result<bool> {
    let made = query("SELECT EXISTS (SELECT 1 FROM token_secrets WHERE rotated_by = $1 AND rotate_key = $2)")
        .bind(caller.id())
        .bind(&key.digest)
        .scalar(&mut app.read().await?)
        .await?;
    Ok(made)
}

fn event<'a>(caller: &'a Caller, subject: Option<&'a str>, outcome: Outcome, detail: Value) -> Event<'a> {
    Event { action: ACTION, actor: Some(caller.id()), subject, outcome, detail }
}
