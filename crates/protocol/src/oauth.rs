//! Messages of the OAuth 2.0 token endpoint (RFC 6749 §4.4): a service user's name and secret for a session token.

use serde::{Deserialize, Serialize};

use crate::token::Secret;

/// The one grant of the token endpoint.
pub const CLIENT_CREDENTIALS: &str = "client_credentials";
/// The one scope of the token endpoint.
pub const OPENID: &str = "openid";

/// `create_oauth_token`. Sent as a form; unknown fields are ignored, as RFC 6749 §3.2 requires. Client id and secret are in the
/// header `Authorization: Basic` or in the form.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct OauthTokenRequest {
    /// `client_credentials`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_type: Option<String>,
    /// `openid`, or nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// A cluster's id or name: the token is for work on that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The name of an access token, if it is not in the header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Secret>,
}

/// The answer (RFC 6749 §5.1). Another server's may lack the lifetime.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct OauthToken {
    /// A session token.
    pub access_token: Secret,
    /// `bearer`.
    pub token_type: String,
    /// Seconds until it expires.
    pub expires_in: Option<u64>,
    /// The granted scope.
    pub scope: Option<String>,
}
