//! What a session is created with.

use base64::{Engine, engine::general_purpose::STANDARD};
use mlplatform_protocol::{
    ErrorCode, Secret,
    oauth::{CLIENT_CREDENTIALS, OPENID, OauthTokenRequest},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

use crate::{
    error::{Error, Kind},
    proxy::ProxyChoice,
};

/// What a session is created with.
#[derive(Clone, Debug)]
pub enum Credential {
    /// An access token, exchanged at the platform.
    AccessToken(Secret),
    /// An access token by name and value, exchanged at an OAuth 2.0 token endpoint.
    ServiceUser {
        /// Name and value.
        user: ServiceUser,
        /// Whose endpoint; `None`: the platform's.
        issuer: Option<Box<Issuer>>,
    },
    /// A session that the caller brought along. It cannot be renewed.
    Session(Secret),
}

impl Credential {
    /// The access token, where it is one of the platform's own.
    #[must_use]
    pub fn access_token(&self) -> Option<&Secret> {
        match self {
            Self::AccessToken(token) => Some(token),
            Self::ServiceUser { user, issuer: None } => Some(&user.secret),
            Self::ServiceUser { .. } | Self::Session(_) => None,
        }
    }
}

/// A service user: an access token by its name and its value.
#[derive(Clone, Debug)]
pub struct ServiceUser {
    /// The user name or client id.
    pub name: String,
    /// The password or client secret.
    pub secret: Secret,
    /// The cluster that the session is for, in the words of its platform.
    pub audience: Option<String>,
}

/// Another server with a token endpoint.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Its address, without the endpoint's path.
    pub url: Url,
    /// The proxy for requests.
    pub proxy: ProxyChoice,
    /// Whether its certificate is verified.
    pub verify_tls: bool,
}

impl ServiceUser {
    pub(crate) fn request(&self) -> OauthTokenRequest {
        OauthTokenRequest {
            grant_type: Some(CLIENT_CREDENTIALS.to_owned()),
            scope: Some(OPENID.to_owned()),
            audience: self.audience.clone(),
            ..OauthTokenRequest::default()
        }
    }

    /// The value of the header `Authorization`.
    pub(crate) fn basic(&self) -> Secret {
        let pair = Secret::from_pasted(&format!("{}:{}", encoded(&self.name), encoded(self.secret.expose())));
        Secret::from_pasted(&format!("Basic {}", STANDARD.encode(pair.expose())))
    }

    /// Adds the remedy to a refusal of the token endpoint.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let Kind::Refused(body) = error.kind() else { return error };
        if body.status == ErrorCode::Unauthorized.status() && !error.is_expired() {
            error.with_hint(
                "user name (or client_id) and password (or client_secret) are the name and the value of an access token: \
                 check both; the token may also have been deleted or rotated, then ask an Administrator for a new one",
            )
        } else if body.status == ErrorCode::BadRequest.status() && self.audience.is_some() {
            error.with_hint("spark_app_id is the id or the name of the cluster: check it, or leave it out")
        } else {
            error
        }
    }
}

/// A text in a form, or in the credentials of a client (RFC 6749 §2.3.1).
pub(crate) fn encoded(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}
