//! Creating an access token directly, without a registration token: the console's way.

use mlplatform_protocol::{ErrorCode, Lifetime, Role, TokenName, tokens::CreatedRefreshToken};
use mlplatform_store::query;
use serde_json::{Value, json};

use super::{
    queries::{self, NewToken},
    registration,
};
use crate::{
    app::App,
    audit::{Event, Outcome},
    caller::Caller,
    clock::micros,
    error::{Error, Result},
    idempotency::Key,
    request::RequestContext,
};

const ACTION: &str = "create_token";

/// What it shall be.
#[derive(Clone, Debug)]
pub struct CreateTokenRequest {
    /// Its name.
    pub name: TokenName,
    /// Its role.
    pub role: Role,
    /// `None`: it never expires.
    pub lifetime: Option<Lifetime>,
}

/// `create_token`. One key makes one token, however often it is sent; its value is in the first answer alone.
///
/// # Errors
/// A conflict when a living token has the name, or when the key made a token before: [`made_with`] tells which.
pub async fn create_token(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    key: &Key,
    request: CreateTokenRequest,
) -> Result<CreatedRefreshToken> {
    let name = request.name.as_str();
    let mut tx = app.begin_as(context, caller).await?;
    let event =
        |outcome, subject, detail: Value| Event { action: ACTION, actor: Some(caller.id()), subject, outcome, detail };
    let made: bool = query("SELECT EXISTS (SELECT 1 FROM tokens WHERE issuer_id = $1 AND create_key = $2)")
        .bind(caller.id())
        .bind(&key.digest)
        .scalar(tx.connection())
        .await?;
    if made {
        let text = "this request made a token before, and its value is not sent twice";
        let event = event(Outcome::Refused, None, json!({"reason": "idempotency", "name": name}));
        return Err(tx.refuse(event, Error::refused(ErrorCode::Conflict, text)).await);
    }
    if let Err(error) = queries::check_name(name).and_then(|()| app.policy().access_lifetime(request.lifetime)) {
        let event = event(Outcome::Refused, None, json!({"reason": "policy", "name": name}));
        return Err(tx.refuse(event, error).await);
    }
    let has = registration::issued(&mut tx, caller, app.policy().tokens_per_issuer).await?;
    if let Err(error) = app.policy().one_more(caller.name(), has) {
        let event = event(Outcome::Refused, None, json!({"reason": "too many", "name": name, "has": has}));
        return Err(tx.refuse(event, error).await);
    }
    tx.savepoint().await?;
    queries::end_expired_namesake(&mut tx, ACTION, name).await?;
    let new = NewToken {
        name,
        role: request.role,
        issuer: Some((caller.id(), caller.name())),
        register_token_id: None,
        lifetime: request.lifetime.map(|lifetime| micros(lifetime.duration())),
    };
    let Some((refresh_token, info)) = queries::insert(&mut tx, new).await? else {
        tx.undo().await?;
        let event = event(Outcome::Refused, None, json!({"reason": "name taken", "name": name}));
        return Err(tx.refuse(event, queries::name_taken(name)).await);
    };
    query("UPDATE tokens SET create_key = $1 WHERE id = $2")
        .bind(&key.digest)
        .bind(&info.id)
        .execute(tx.connection())
        .await?;
    let detail = json!({"name": name, "role": info.role, "exp": info.exp});
    tx.record(event(Outcome::Done, Some(&info.id), detail)).await?;
    tx.commit().await?;
    Ok(CreatedRefreshToken { refresh_token, info })
}

/// The id of the token that a key made.
///
/// # Errors
/// When the store fails.
pub async fn made_with(app: &App, caller: &Caller, key: &Key) -> Result<Option<String>> {
    let id = query("SELECT id FROM tokens WHERE issuer_id = $1 AND create_key = $2")
        .bind(caller.id())
        .bind(&key.digest)
        .optional_scalar(&mut app.read().await?)
        .await?;
    Ok(id)
}
