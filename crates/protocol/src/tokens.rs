//! Messages of the token service.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    id::TokenId,
    lifetime::Lifetime,
    name::TokenName,
    open::Open,
    token::{Secret, presented},
};

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub enum Role {
    /// Works with Spark clusters.
    #[serde(rename = "USER")]
    User,
    /// The same, and manages tokens.
    #[serde(rename = "ADMIN")]
    Administrator,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 2] = [Self::User, Self::Administrator];

    /// As it stands on the wire and in the store; Python's `MLPTokenType` has the same values.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Administrator => "ADMIN",
        }
    }

    /// The role of that [`name`](Self::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// `create_session`: the one request that carries the access token's value.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateSessionRequest {
    /// The access token.
    #[serde(deserialize_with = "presented")]
    pub refresh_token: Secret,
}

/// A session, to be sent as `Authorization: Bearer`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Session {
    /// Its value.
    pub session_token: Secret,
    /// Seconds from now; a client keeps them on its monotonic clock.
    pub expires_in: u64,
    /// The token that was exchanged; an older server does not say.
    pub token: Option<TokenInfo>,
    /// The platform's time of the answer, so that a client with a wrong clock knows how long that token still lives.
    #[cfg_attr(feature = "openapi", schemars(with = "Option<crate::json_schema::DateTime>"))]
    pub now: Option<Timestamp>,
}

/// `create_register_token`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateRegisterTokenRequest {
    /// Name of the access token that will be made with it.
    pub client_name: TokenName,
    /// Lifetime of the registration token.
    pub access_ttl: Lifetime,
    /// Lifetime of the access token, from its making; left out, it never expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_ttl: Option<Lifetime>,
    /// Role of the access token.
    pub token_type: Role,
}

/// The only answer that ever holds this registration token's value.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct CreatedRegisterToken {
    /// Public id.
    pub id: String,
    /// The value.
    pub register_token: Secret,
    /// When it can no longer be redeemed.
    #[cfg_attr(feature = "openapi", schemars(with = "crate::json_schema::DateTime"))]
    pub exp: Timestamp,
}

/// `create_refresh_token`: redeems a registration token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateRefreshTokenRequest {
    /// The registration token.
    #[serde(deserialize_with = "presented")]
    pub register_token: Secret,
}

/// The only answer that ever holds this access token's value.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct CreatedRefreshToken {
    /// The value.
    pub refresh_token: Secret,
    /// What was made.
    pub info: TokenInfo,
}

/// In what state a registration token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum RegisterTokenState {
    /// It can be redeemed.
    Waiting,
    /// It was redeemed; an access token was made with it.
    Redeemed,
    /// Nobody redeemed it in time.
    Expired,
    /// It was withdrawn: by hand, with its issuer, or because the answer that carried it was lost.
    Withdrawn,
}

impl RegisterTokenState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Redeemed, Self::Expired, Self::Withdrawn];

    /// As it stands on the wire; Python's `MLPRegisterTokenState` has the same values.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::Redeemed => "REDEEMED",
            Self::Expired => "EXPIRED",
            Self::Withdrawn => "WITHDRAWN",
        }
    }
}

/// What may be known of a registration token: all but its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct RegisterTokenInfo {
    /// `tok_…`
    pub id: String,
    /// Name of the access token that is made with it.
    pub client_name: String,
    /// Role of that access token.
    #[serde(rename = "type")]
    pub role: Open<Role>,
    /// Name of the token that made it.
    pub issuer_name: String,
    /// When it was made.
    #[cfg_attr(feature = "openapi", schemars(with = "crate::json_schema::DateTime"))]
    pub created_at: Timestamp,
    /// Until when it can be redeemed.
    #[cfg_attr(feature = "openapi", schemars(with = "crate::json_schema::DateTime"))]
    pub exp: Timestamp,
    /// Lifetime of the access token, from its making; `None`: it never expires.
    pub refresh_ttl: Option<Lifetime>,
    /// In what state it is.
    pub state: Open<RegisterTokenState>,
    /// When it was redeemed.
    #[cfg_attr(feature = "openapi", schemars(with = "Option<crate::json_schema::DateTime>"))]
    pub redeemed_at: Option<Timestamp>,
    /// From which address it was redeemed.
    pub redeemed_address: Option<String>,
    /// Id of the access token that was made with it.
    pub redeemed_token_id: Option<String>,
    /// Name of that access token.
    pub redeemed_token_name: Option<String>,
    /// When it was withdrawn.
    #[cfg_attr(feature = "openapi", schemars(with = "Option<crate::json_schema::DateTime>"))]
    pub withdrawn_at: Option<Timestamp>,
    /// How often somebody tried to redeem it again.
    pub replay_count: u64,
    /// When that was tried last.
    #[cfg_attr(feature = "openapi", schemars(with = "Option<crate::json_schema::DateTime>"))]
    pub last_replay_at: Option<Timestamp>,
}

/// `delete_register_token`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DeleteRegisterTokenRequest {
    /// Its public id. In the query, as the name of an access token that is deleted.
    pub token_id: TokenId,
}

/// `delete_token`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DeleteTokenRequest {
    /// Of a living access token. In the query, not in the path: `..` is a legal name, and every URL library folds it.
    pub token_name: TokenName,
}

/// `rotate_token`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RotateTokenRequest {
    /// Of a living access token.
    pub token_name: TokenName,
    /// How long the old secret lives on; left out, it and its sessions end at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Lifetime>,
}

/// The only answer that ever holds this secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct RotatedToken {
    /// The token's new value.
    pub refresh_token: Secret,
    /// The token, which is otherwise as it was.
    pub info: TokenInfo,
}

/// `delete_issuer_tokens`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DeleteIssuerTokensRequest {
    /// Name of the token that issued them, whether it still lives or not.
    pub issuer_name: TokenName,
    /// Its id, where several tokens have had that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_id: Option<TokenId>,
}

/// What was deleted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct DeletedTokens {
    /// In the order of their making.
    pub items: Vec<TokenInfo>,
}

/// No fields.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// What may be known of an access token: all but its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct TokenInfo {
    /// `tok_…`
    pub id: String,
    /// Unique among living access tokens.
    pub name: String,
    /// Its role.
    #[serde(rename = "type")]
    pub role: Open<Role>,
    /// Name of the token that made the registration token; the platform's own for the first Administrator.
    pub issuer_name: String,
    /// When it ends; `None`: never.
    #[cfg_attr(feature = "openapi", schemars(with = "Option<crate::json_schema::DateTime>"))]
    pub exp: Option<Timestamp>,
    /// When it was made.
    #[cfg_attr(feature = "openapi", schemars(with = "crate::json_schema::DateTime"))]
    pub created_at: Timestamp,
    /// Id of that issuer, which no other token ever has; `None`: the platform itself.
    pub issuer_id: Option<String>,
    /// When a request was last made with it; `None`: never yet.
    #[cfg_attr(feature = "openapi", schemars(with = "Option<crate::json_schema::DateTime>"))]
    pub last_used_at: Option<Timestamp>,
    /// From which address.
    pub last_used_address: Option<String>,
}

/// `readyz`: it can do its work, so it may get requests.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Readiness {
    /// `ready`
    pub status: String,
    /// By the name of each check: `ok`, or what is wrong.
    pub checks: Map<String, Value>,
    /// Whether this server looks after jobs: `active`, `standby` (another does) or `off`.
    pub jobs: String,
}

/// `metrics`: not JSON, but the text format of OpenMetrics.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Exposition(pub String);

/// `healthz`: it answers, so it is up.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Health {
    /// `ok`
    pub status: String,
    /// The server's version.
    pub version: String,
}
