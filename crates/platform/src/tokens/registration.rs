//! Registration tokens: one-time secrets that an Administrator makes and somebody else redeems.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use mlplatform_protocol::{
    ErrorCode, Lifetime, Open, Page, PageRequest, RegisterTokenInfo, RegisterTokenState, Role, TokenKind,
    tokens::{CreateRegisterTokenRequest, CreatedRegisterToken, DeleteRegisterTokenRequest},
};
use mlplatform_store::{FromRow, query};
use serde_json::json;

use super::{queries, row::WITHDRAW};
use crate::{
    app::App,
    audit::{Event, Outcome},
    caller::Caller,
    clock::{micros, timestamp},
    error::{Error, Result},
    idempotency::Key,
    page::Window,
    request::RequestContext,
    secret::mint,
    transaction::Transaction,
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
    context: &RequestContext,
    caller: &Caller,
    key: Option<&Key>,
    request: CreateRegisterTokenRequest,
) -> Result<CreatedRegisterToken> {
    let name = request.client_name.as_str();
    let lifetime = stored(request.access_ttl);
    let access_lifetime = request.refresh_ttl.map(stored);
    let mut tx = app.begin_as(context, caller).await?;
    let allowed =
        queries::check_name(name).and_then(|()| app.policy().creation(request.access_ttl, request.refresh_ttl));
    if let Err(error) = allowed {
        let detail = json!({"reason": "policy", "name": name});
        return Err(tx.refuse(event(caller, None, Outcome::Refused, detail), error).await);
    }
    if let Some(key) = key
        && let Some(earlier) = earlier(&mut tx, caller, key).await?
    {
        let same = (earlier.client_name.as_str(), earlier.role.as_str(), earlier.access_lifetime, earlier.lifetime)
            == (name, request.token_type.name(), access_lifetime, lifetime);
        if let Some(problem) = problem(&earlier, key, same) {
            return Err(refuse(tx, caller, Some(&earlier.id), name, problem).await);
        }
        withdraw(&mut tx, WITHDRAW, caller, &earlier.id, "superseded").await?;
    }
    if queries::living(&mut tx, name).await?.is_some() {
        let detail = json!({"reason": "name taken", "name": name});
        return Err(tx.refuse(event(caller, None, Outcome::Refused, detail), queries::name_taken(name)).await);
    }
    let has = issued(&mut tx, caller, app.policy().tokens_per_issuer).await?;
    if let Err(error) = app.policy().one_more(caller.name(), has) {
        let detail = json!({"reason": "too many", "name": name, "has": has});
        return Err(tx.refuse(event(caller, None, Outcome::Refused, detail), error).await);
    }
    let minted = mint(TokenKind::Registration)?;
    let created_at = tx.now().as_microsecond();
    let expires_at = created_at.saturating_add(lifetime);
    query(
        "INSERT INTO register_tokens (id, digest, client_name, role, access_lifetime, issuer_id, issuer_name, \
         created_at, expires_at, create_key, create_attempt) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
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
    .execute(tx.connection())
    .await?;
    let exp = timestamp(expires_at);
    let detail = json!({"name": name, "role": request.token_type, "exp": exp});
    tx.record(event(caller, Some(&minted.id), Outcome::Done, detail)).await?;
    tx.commit().await?;
    Ok(CreatedRegisterToken { id: minted.id, register_token: minted.value, exp })
}

/// How many living access tokens and waiting registration tokens that issuer has, counted no further than there may be.
/// Redeeming makes one of the latter to one of the former: that need not be counted again.
pub(crate) async fn issued(tx: &mut Transaction<'_>, caller: &Caller, limit: u32) -> Result<i64> {
    let has = query(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM tokens WHERE issuer_id = $1 AND deleted_at IS NULL AND (expires_at IS NULL OR expires_at > $2) LIMIT $3) made) + (SELECT count(*) FROM (SELECT 1 FROM register_tokens WHERE issuer_id = $1 AND redeemed_at IS NULL AND withdrawn_at IS NULL AND expires_at > $2 LIMIT $3) made)",
    )
    .bind(caller.id())
    .bind(tx.now().as_microsecond())
    .bind(i64::from(limit)).scalar(tx.connection())
    .await?;
    Ok(has)
}

/// Whether the key made a registration token.
///
/// # Errors
/// When the store fails.
pub async fn made_with(app: &App, caller: &Caller, key: &Key) -> Result<bool> {
    let made = query("SELECT EXISTS (SELECT 1 FROM register_tokens WHERE issuer_id = $1 AND create_key = $2)")
        .bind(caller.id())
        .bind(&key.digest)
        .scalar(&mut app.read().await?)
        .await?;
    Ok(made)
}

/// A lifetime as the store counts it; the longest is 292 years, so the sum with any time of today fits.
fn stored(lifetime: Lifetime) -> i64 {
    micros(lifetime.duration())
}

async fn earlier(tx: &mut Transaction<'_>, caller: &Caller, key: &Key) -> Result<Option<Earlier>> {
    let earlier = query(
        "SELECT id, create_attempt, client_name, role, access_lifetime, expires_at - created_at AS lifetime, \
         redeemed_at IS NOT NULL AS redeemed, withdrawn_at IS NOT NULL AS withdrawn FROM register_tokens \
         WHERE issuer_id = $1 AND create_key = $2 ORDER BY create_attempt DESC LIMIT 1",
    )
    .bind(caller.id())
    .bind(&key.digest)
    .optional(tx.connection())
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

async fn withdraw(
    tx: &mut Transaction<'_>,
    action: &'static str,
    caller: &Caller,
    id: &str,
    reason: &'static str,
) -> Result<()> {
    query("UPDATE register_tokens SET withdrawn_at = $1, withdrawn_by = $2, withdraw_reason = $3 WHERE id = $4")
        .bind(tx.now().as_microsecond())
        .bind(caller.id())
        .bind(reason)
        .bind(id)
        .execute(tx.connection())
        .await?;
    tx.record(Event { action, ..event(caller, Some(id), Outcome::Done, json!({"reason": reason})) }).await
}

async fn refuse(tx: Transaction<'_>, caller: &Caller, subject: Option<&str>, name: &str, why: &'static str) -> Error {
    let detail = json!({"reason": "idempotency", "name": name});
    let event = event(caller, subject, Outcome::Refused, detail);
    tx.refuse(event, Error::refused(ErrorCode::Conflict, why)).await
}

fn event<'a>(caller: &'a Caller, subject: Option<&'a str>, outcome: Outcome, detail: serde_json::Value) -> Event<'a> {
    Event { action: ACTION, actor: Some(caller.id()), subject, outcome, detail }
}

/// What is shown of a registration token, and what became of it.
#[derive(FromRow)]
pub(crate) struct RegistrationRow {
    pub(crate) seq: i64,
    id: String,
    client_name: String,
    role: String,
    issuer_name: String,
    created_at: i64,
    expires_at: i64,
    access_lifetime: Option<i64>,
    redeemed_at: Option<i64>,
    redeemed_address: Option<String>,
    token_id: Option<String>,
    token_name: Option<String>,
    withdrawn_at: Option<i64>,
    replay_count: i64,
    last_replay_at: Option<i64>,
    expired: bool,
}

/// The rows of [`RegistrationRow`]; the time at which some have expired goes where it is asked for. Of the access tokens that were
/// made with one, the one whose answer was not lost is shown.
macro_rules! registration_rows {
    ($now:literal) => {
        concat!(registration_columns!(), $now, " AS expired FROM register_tokens r", registration_join!())
    };
}

/// Up to what the end of each is compared with: the time.
macro_rules! registration_columns {
    () => {
        "SELECT r.seq, r.id, r.client_name, r.role, r.issuer_name, r.created_at, r.expires_at, r.access_lifetime, \
         r.redeemed_at, r.redeemed_address, t.id AS token_id, t.name AS token_name, r.withdrawn_at, \
         r.replay_count, r.last_replay_at, r.expires_at <= "
    };
}

/// What became of each, beside `register_tokens` as `r`.
macro_rules! registration_join {
    () => {
        " LEFT JOIN tokens t ON t.register_token_id = r.id AND t.delete_reason IS DISTINCT FROM 'superseded'"
    };
}
pub(crate) use {registration_columns, registration_join, registration_rows};

impl RegistrationRow {
    /// With what is counted, and not written yet; what is written between the two is seen by the next who looks.
    pub(crate) fn with(mut self, replays: &HashMap<String, (u64, Timestamp)>) -> Self {
        if let Some((count, latest)) = replays.get(&self.id) {
            self.replay_count = self.replay_count.saturating_add_unsigned(*count);
            self.last_replay_at = self.last_replay_at.max(Some(latest.as_microsecond()));
        }
        self
    }
}

impl From<RegistrationRow> for RegisterTokenInfo {
    fn from(row: RegistrationRow) -> Self {
        let state = if row.redeemed_at.is_some() {
            RegisterTokenState::Redeemed
        } else if row.withdrawn_at.is_some() {
            RegisterTokenState::Withdrawn
        } else if row.expired {
            RegisterTokenState::Expired
        } else {
            RegisterTokenState::Waiting
        };
        Self {
            id: row.id,
            client_name: row.client_name,
            role: Role::from_name(&row.role).map_or(Open::Unknown(row.role), Open::Known),
            issuer_name: row.issuer_name,
            created_at: timestamp(row.created_at),
            exp: timestamp(row.expires_at),
            refresh_ttl: row.access_lifetime.and_then(lifetime),
            state: state.into(),
            redeemed_at: row.redeemed_at.map(timestamp),
            redeemed_address: row.redeemed_address,
            redeemed_token_id: row.token_id,
            redeemed_token_name: row.token_name,
            withdrawn_at: row.withdrawn_at.map(timestamp),
            replay_count: u64::try_from(row.replay_count).unwrap_or_default(),
            last_replay_at: row.last_replay_at.map(timestamp),
        }
    }
}

pub(crate) fn lifetime(micros: i64) -> Option<Lifetime> {
    Lifetime::from_duration(Duration::from_micros(u64::try_from(micros).ok()?))
}

/// `get_register_tokens_info`: all that were ever made, in the order of their making.
///
/// # Errors
/// When the page asked for is none, or the store fails.
pub async fn get_register_tokens_info(app: &App, request: PageRequest) -> Result<Page<RegisterTokenInfo>> {
    let window = Window::read(&request)?;
    let rows: Vec<RegistrationRow> =
        query(concat!(registration_rows!("$1"), " WHERE r.seq > $2 ORDER BY r.seq LIMIT $3"))
            .bind(app.clock().now().as_microsecond())
            .bind(window.after)
            .bind(window.rows())
            .all(&mut app.read().await?)
            .await?;
    let replays = app.transactions().refusals().replays();
    let rows = rows.into_iter().map(|row| row.with(&replays)).collect();
    Ok(window.page(rows, |row: &RegistrationRow| row.seq))
}

/// `delete_register_token`: withdraws one that nobody redeemed. One that was withdrawn before stays as it is, so that a
/// request whose answer was lost can simply be sent again; one that has expired is withdrawn too: no clock that is set
/// back revives it.
///
/// # Errors
/// When there is none of that id, or it was redeemed: then an access token is what has to be deleted.
pub async fn delete_register_token(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    request: DeleteRegisterTokenRequest,
) -> Result<()> {
    const ACTION: &str = "delete_register_token";
    let id = request.token_id.as_str();
    let mut tx = app.begin_as(context, caller).await?;
    let found: Option<(String, Option<i64>, Option<i64>)> =
        query("SELECT client_name, redeemed_at, withdrawn_at FROM register_tokens WHERE id = $1")
            .bind(id)
            .optional(tx.connection())
            .await?;
    let refused = |subject, detail| Event { action: ACTION, ..event(caller, subject, Outcome::Refused, detail) };
    match found {
        None => {
            let text = format!(
                "there is no registration token with the id '{id}': get_register_tokens_info lists all there are"
            );
            let event = refused(None, json!({"reason": "unknown id", "id": id}));
            Err(tx.refuse(event, Error::refused(ErrorCode::NotFound, text)).await)
        }
        Some((name, Some(redeemed_at), _)) => {
            let text = format!(
                "the registration token '{id}' was redeemed at {}: delete_token ends the access token '{name}' that was made with it",
                timestamp(redeemed_at)
            );
            let event = refused(Some(id), json!({"reason": "redeemed"}));
            Err(tx.refuse(event, Error::refused(ErrorCode::Conflict, text)).await)
        }
        Some((_, None, Some(_))) => Ok(()),
        Some((_, None, None)) => {
            withdraw(&mut tx, ACTION, caller, id, "deleted").await?;
            tx.commit().await
        }
    }
}
