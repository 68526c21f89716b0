//! Redeeming: a registration token becomes an access token, exactly once.
//!
//! What decides is one guarded `UPDATE` that must change one row, never a check before it. The access token and the
//! audit row are written in the same transaction: a crash at any moment leaves the registration token redeemable, or
//! redeemed with its access token there.
//!
//! The answer may be lost on its way, and with it the only copy of a secret. So the same caller may ask again for a
//! minute, with the same idempotency key and a higher attempt: if the access token was never used, it is withdrawn and
//! another is issued. No secret is ever sent twice, because none is kept.
//!
//! Whoever has no chance is refused before that: the writer's time is for those who have one.

use mlplatform_protocol::{
    ErrorCode,
    error::already_redeemed,
    tokens::{CreateRefreshTokenRequest, CreatedRefreshToken},
};
use mlplatform_store::{Connection, FromRow, query};
use serde_json::{Value, json};

use super::{
    queries::{self, NewToken},
    registration::lifetime,
    row::{End, role},
};
use crate::{
    app::App,
    audit::{Event, Outcome},
    clock::timestamp,
    error::{Error, Result},
    idempotency::Key,
    request::RequestContext,
    secret::{Digest, digest},
    transaction::Transaction,
};

const ACTION: &str = "create_refresh_token";
/// How long after the redeeming a lost answer can be asked for again: 60 seconds, in microseconds.
const RETRY_WINDOW: i64 = 60 * 1_000_000;

/// What the registration token grants; whoever redeems it changes nothing of this.
#[derive(FromRow)]
struct Grant {
    id: String,
    client_name: String,
    role: String,
    access_lifetime: Option<i64>,
    issuer_id: String,
    issuer_name: String,
}

/// Why it could not be redeemed.
#[derive(FromRow)]
struct State {
    #[sqlx(flatten)]
    grant: Grant,
    expires_at: i64,
    redeemed_at: Option<i64>,
    redeem_key: Option<Digest>,
    redeem_attempt: Option<i64>,
    withdrawn_at: Option<i64>,
}

/// A refusal, and how it stands in the audit.
struct Refusal {
    outcome: Outcome,
    reason: &'static str,
    error: Error,
}

impl Refusal {
    fn new(reason: &'static str, error: Error) -> Self {
        Self { outcome: Outcome::Refused, reason, error }
    }

    /// Whoever comes second holds the real secret, so it is told when; the issuer must be able to see it.
    fn replay(redeemed_at: i64) -> Self {
        let error = Error::refused(ErrorCode::Forbidden, already_redeemed(timestamp(redeemed_at)));
        Self { outcome: Outcome::Replay, reason: "already redeemed", error }
    }

    fn event<'a>(&self, id: &'a str) -> Event<'a> {
        event(Some(id), self.outcome, json!({"reason": self.reason}))
    }
}

impl State {
    /// Why it cannot be redeemed, if that is sure: not while it waits, nor while its answer may have been lost.
    fn refusal(&self, now: i64, key: Option<&Key>) -> Option<Refusal> {
        if self.withdrawn_at.is_some() {
            return Some(Refusal::new("withdrawn", Error::forbidden(false)));
        }
        let Some(redeemed_at) = self.redeemed_at else {
            return (self.expires_at <= now).then(|| Refusal::new("expired", Error::forbidden(true)));
        };
        let Some(key) = key.filter(|key| self.redeem_key.as_ref() == Some(&key.digest)) else {
            return Some(Refusal::replay(redeemed_at));
        };
        if key.number() <= self.redeem_attempt.unwrap_or_default() {
            let text = "this attempt was answered already, and its secret is not sent twice: send a higher Idempotency-Attempt";
            return Some(Refusal::new("old attempt", Error::refused(ErrorCode::Conflict, text)));
        }
        (now.saturating_sub(redeemed_at) > RETRY_WINDOW).then(|| Refusal::replay(redeemed_at))
    }
}

/// `create_refresh_token`.
///
/// # Errors
/// `Forbidden` for a registration token that is unknown, expired or withdrawn; "already redeemed at" for one that was;
/// a conflict while a living token has the name (the registration token stays redeemable) or for an old attempt.
pub async fn create_refresh_token(
    app: &App,
    context: &RequestContext,
    key: Option<&Key>,
    request: CreateRefreshTokenRequest,
) -> Result<CreatedRefreshToken> {
    let presented = digest(request.register_token.expose());
    let Some(state) = find(&mut app.read().await?, &presented).await? else {
        return Err(app.transactions().refuse_unknown(context, ACTION).await);
    };
    if let Some(refusal) = state.refusal(app.clock().now().as_microsecond(), key) {
        return Err(app.transactions().refuse_ended(context, refusal.event(&state.grant.id), refusal.error).await);
    }
    let mut tx = app.begin(context).await?;
    tx.savepoint().await?;
    if let Some(grant) = claim(&mut tx, &presented, key).await? {
        return issue(app, tx, grant, None).await;
    }
    let state = find(tx.connection(), &presented).await?;
    let state = state.ok_or(Error::Fault("a registration token went away, and none ever does"))?;
    let id = state.grant.id.clone();
    if let Some(refusal) = state.refusal(tx.now().as_microsecond(), key) {
        return Err(tx.refuse(refusal.event(&id), refusal.error).await);
    }
    if let Some(unused) = unused(&mut tx, &id).await? {
        query("UPDATE register_tokens SET redeem_attempt = $1 WHERE id = $2")
            .bind(key.map(Key::number))
            .bind(&id)
            .execute(tx.connection())
            .await?;
        return issue(app, tx, state.grant, Some(unused)).await;
    }
    let refusal = Refusal::replay(state.redeemed_at.unwrap_or_default());
    Err(tx.refuse(refusal.event(&id), refusal.error).await)
}

/// Marks the registration token as redeemed, if it can be: this decides every race.
async fn claim(tx: &mut Transaction<'_>, presented: &Digest, key: Option<&Key>) -> Result<Option<Grant>> {
    let now = tx.now().as_microsecond();
    let grants: Vec<Grant> = query(
        "UPDATE register_tokens SET redeemed_at = $1, redeemed_address = $2, redeem_key = $3, redeem_attempt = $4 \
         WHERE digest = $5 AND redeemed_at IS NULL AND withdrawn_at IS NULL AND expires_at > $6 \
         RETURNING id, client_name, role, access_lifetime, issuer_id, issuer_name",
    )
    .bind(now)
    .bind(tx.address().to_owned())
    .bind(key.map(|key| &key.digest))
    .bind(key.map(Key::number))
    .bind(presented)
    .bind(now)
    .all(tx.connection())
    .await?;
    Ok(grants.into_iter().next())
}

async fn find(connection: &mut Connection, presented: &Digest) -> Result<Option<State>> {
    let state = query(
        "SELECT id, client_name, role, access_lifetime, issuer_id, issuer_name, \
         expires_at, redeemed_at, redeem_key, redeem_attempt, withdrawn_at FROM register_tokens WHERE digest = $1",
    )
    .bind(presented)
    .optional(connection)
    .await?;
    Ok(state)
}

/// The access token made with that registration token, if it still stands and nobody has used it or given it another
/// secret.
async fn unused(tx: &mut Transaction<'_>, register_token_id: &str) -> Result<Option<String>> {
    let id = query(
        "SELECT id FROM tokens t WHERE register_token_id = $1 AND deleted_at IS NULL AND NOT EXISTS \
         (SELECT 1 FROM token_secrets s WHERE s.token_id = t.id AND (s.first_used_at IS NOT NULL OR s.rotated_by IS NOT NULL))",
    )
    .bind(register_token_id).optional_scalar(tx.connection())
    .await?;
    Ok(id)
}

/// Makes the access token, in place of the one whose answer was lost if there is one, and commits.
async fn issue(
    app: &App,
    mut tx: Transaction<'_>,
    grant: Grant,
    instead_of: Option<String>,
) -> Result<CreatedRefreshToken> {
    let name = grant.client_name.as_str();
    if let Err(error) = app.policy().redemption(grant.access_lifetime.and_then(lifetime)) {
        tx.undo().await?;
        let refusal = Refusal::new("policy", error);
        return Err(tx.refuse(refusal.event(&grant.id), refusal.error).await);
    }
    if let Some(lost) = &instead_of {
        queries::end(&mut tx, lost, End::Superseded, None, None).await?;
        let detail = json!({"reason": End::Superseded.name(), "register_token": grant.id});
        tx.record(event(Some(lost), Outcome::Done, detail)).await?;
    }
    queries::end_expired_namesake(&mut tx, ACTION, name).await?;
    let new = NewToken {
        name,
        role: role(&grant.role)?,
        issuer: Some((&grant.issuer_id, &grant.issuer_name)),
        register_token_id: Some(&grant.id),
        lifetime: grant.access_lifetime,
    };
    let Some((refresh_token, info)) = queries::insert(&mut tx, new).await? else {
        tx.undo().await?;
        let refusal = Refusal::new("name taken", queries::name_taken(name));
        return Err(tx.refuse(refusal.event(&grant.id), refusal.error).await);
    };
    let detail = json!({"name": name, "role": info.role, "exp": info.exp, "register_token": grant.id});
    tx.record(event(Some(&info.id), Outcome::Done, detail)).await?;
    tx.commit().await?;
    Ok(CreatedRefreshToken { refresh_token, info })
}

fn event(subject: Option<&str>, outcome: Outcome, detail: Value) -> Event<'_> {
    Event { action: ACTION, actor: None, subject, outcome, detail }
}
