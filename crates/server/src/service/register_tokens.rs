//! Registration tokens: one-time secrets that an Administrator makes and somebody else redeems.

use mlplatform_protocol::{
    ErrorCode, Lifetime, TokenKind,
    token::{Shape, shape},
    tokens::{CreateRegisterTokenRequest, CreatedRegisterToken},
};
use serde_json::json;
use sqlx::FromRow;

use super::{key::Key, secret::mint, sessions::Caller, tokens};
use crate::{
    Error, Result,
    app::{App, Change, Visit},
    audit::{Event, Outcome},
    clock::{micros, timestamp},
};

const ACTION: &str = "create_register_token";

/// What an earlier attempt with the same key made.
#[derive(FromRow)]
struct Earlier {
    id: String,
    create_attempt: i64,
    client_name: String,
    role: String,
    access_lifetime: Option<i64>,
    lifetime: i64,
    redeemed: bool,
    withdrawn: bool,
}

/// `create_register_token`. It reserves no name: a lost answer or a cell that is run again must not block one.
///
/// # Errors
/// When a living token has the name, when the attempt is not newer than one before, or when the store fails.
pub async fn create_register_token(
    app: &App,
    visit: &Visit,
    caller: &Caller,
    key: Option<&Key>,
    request: CreateRegisterTokenRequest,
) -> Result<CreatedRegisterToken> {
    let name = request.client_name.as_str();
    if matches!(shape(name), Shape::Whole(_)) {
        // It would be stored, listed and logged for everybody to read.
        let text = "client_name: this is the value of a token: give the name that the access token shall have";
        return Err(Error::refused(ErrorCode::BadRequest, text));
    }
    let lifetime = stored(request.access_ttl);
    let access_lifetime = request.refresh_ttl.map(stored);
    let mut change = app.change_by(visit, caller).await?;
    if let Some(key) = key
        && let Some(earlier) = earlier(&mut change, caller, key).await?
    {
        let same = (earlier.client_name.as_str(), earlier.role.as_str(), earlier.access_lifetime, earlier.lifetime)
            == (name, request.token_type.name(), access_lifetime, lifetime);
        if let Some(problem) = problem(&earlier, key, same) {
            return Err(refuse(change, caller, Some(&earlier.id), name, problem).await);
        }
        withdraw(&mut change, caller, &earlier.id).await?;
    }
    if tokens::is_name_taken(&mut change, name).await? {
        let detail = json!({"reason": "name taken", "name": name});
        return Err(change.refuse(event(caller, None, Outcome::Refused, detail), tokens::name_taken(name)).await);
    }
    let minted = mint(TokenKind::Registration)?;
    let created_at = change.now().as_microsecond();
    let expires_at = created_at.saturating_add(lifetime);
    sqlx::query(
        "INSERT INTO register_tokens (id, digest, client_name, role, access_lifetime, issuer_id, issuer_name, \
         created_at, expires_at, create_key, create_attempt) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&minted.id)
    .bind(&minted.digest)
    .bind(name)
    .bind(request.token_type.name())
    .bind(access_lifetime)
    .bind(caller.id())
    .bind(caller.name())
    .bind(created_at)
    .bind(expires_at)
    .bind(key.map(|key| &key.digest))
    .bind(key.map(Key::number))
    .execute(change.connection())
    .await?;
    let exp = timestamp(expires_at);
    let detail = json!({"name": name, "role": request.token_type, "exp": exp});
    change.record(event(caller, Some(&minted.id), Outcome::Done, detail)).await?;
    change.commit().await?;
    Ok(CreatedRegisterToken { id: minted.id, register_token: minted.value, exp })
}

/// A lifetime as the store counts it; the longest is 292 years, so the sum with any time of today fits.
fn stored(lifetime: Lifetime) -> i64 {
    micros(lifetime.duration())
}

async fn earlier(change: &mut Change<'_>, caller: &Caller, key: &Key) -> Result<Option<Earlier>> {
    let earlier = sqlx::query_as(
        "SELECT id, create_attempt, client_name, role, access_lifetime, expires_at - created_at AS lifetime, \
         redeemed_at IS NOT NULL AS redeemed, withdrawn_at IS NOT NULL AS withdrawn FROM register_tokens \
         WHERE issuer_id = ? AND create_key = ? ORDER BY create_attempt DESC LIMIT 1",
    )
    .bind(caller.id())
    .bind(&key.digest)
    .fetch_optional(change.connection())
    .await?;
    Ok(earlier)
}

/// Why nothing can be made in place of what an earlier attempt made.
fn problem(earlier: &Earlier, key: &Key, same: bool) -> Option<&'static str> {
    if !same {
        Some("this Idempotency-Key was sent with another request: send a new key")
    } else if key.number() <= earlier.create_attempt {
        Some(
            "this attempt of the request was answered already, and its secret is not sent twice: send a higher Idempotency-Attempt, which withdraws it and makes a new one, or a new Idempotency-Key",
        )
    } else if earlier.redeemed {
        Some(
            "the registration token that an earlier attempt made was redeemed already: send a new Idempotency-Key to make another",
        )
    } else if earlier.withdrawn {
        Some(
            "the registration token that an earlier attempt made was withdrawn: send a new Idempotency-Key to make another",
        )
    } else {
        None
    }
}

async fn withdraw(change: &mut Change<'_>, caller: &Caller, id: &str) -> Result<()> {
    sqlx::query("UPDATE register_tokens SET withdrawn_at = ?, withdraw_reason = 'superseded' WHERE id = ?")
        .bind(change.now().as_microsecond())
        .bind(id)
        .execute(change.connection())
        .await?;
    let action = "withdraw_register_token";
    let detail = json!({"reason": "superseded"});
    change.record(Event { action, ..event(caller, Some(id), Outcome::Done, detail) }).await
}

async fn refuse(change: Change<'_>, caller: &Caller, subject: Option<&str>, name: &str, why: &'static str) -> Error {
    let detail = json!({"reason": "idempotency", "name": name});
    let event = event(caller, subject, Outcome::Refused, detail);
    change.refuse(event, Error::refused(ErrorCode::Conflict, why)).await
}

fn event<'a>(caller: &'a Caller, subject: Option<&'a str>, outcome: Outcome, detail: serde_json::Value) -> Event<'a> {
    Event { action: ACTION, actor: Some(caller.id()), subject, outcome, detail }
}
