//! The OAuth 2.0 token endpoint for client credentials (RFC 6749 §4.4): an access token's name and value as client id and
//! secret, in the header or in the form. Errors are those of §5.2 beside the envelope of all others.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use mlplatform_platform::{
    error::{Error, Result},
    sessions::exchange,
};
use mlplatform_protocol::{
    ErrorBody, ErrorCode, Secret,
    oauth::{CLIENT_CREDENTIALS, OPENID, OauthToken},
    routes::CreateOauthToken,
};
use serde_json::{Map, Value, json};

use crate::endpoint::Call;

pub(crate) async fn create_oauth_token(call: Call<CreateOauthToken>) -> Result<Response> {
    let Call { app, context, request, basic, .. } = call;
    match request.grant_type.as_deref() {
        Some(CLIENT_CREDENTIALS) => {}
        None => return Err(bad("grant_type is missing: send grant_type=client_credentials")),
        Some(other) => {
            let text = format!("grant_type '{other}' is not supported: send grant_type=client_credentials");
            return Ok(refused("unsupported_grant_type", bad(text)));
        }
    }
    if let Some(scope) = request.scope.as_deref().filter(|scope| !matches!(*scope, "" | OPENID)) {
        let text = format!("scope '{scope}' is unknown: send scope=openid, or leave it out");
        return Ok(refused("invalid_scope", bad(text)));
    }
    let (id, secret) = match (basic, request.client_id, request.client_secret) {
        (Some(_), _, Some(_)) => {
            return Err(bad("the client authenticates twice: send client_id and client_secret in one place"));
        }
        (Some(basic), id, None) => {
            if id.is_some_and(|id| id != basic.id && id != decoded(&basic.id)) {
                return Err(bad("client_id is not that of the header Authorization: send one of them"));
            }
            (basic.id, Secret::from_pasted(&decoded(&basic.secret)))
        }
        (None, Some(id), Some(secret)) => (id, secret),
        (None, ..) => {
            let text = "client_id or client_secret is missing: send them with HTTP basic, or both in the form";
            return Err(Error::refused(ErrorCode::Unauthorized, text));
        }
    };
    // The header has them encoded as in a form (RFC 6749 §2.3.1), percent-encoded, or as they are.
    let names = [decoded(&id), decoded(&id.replace('+', " ")), id];
    let session = exchange::of_service_user(&app, &context, &names, &secret, request.audience.as_deref()).await;
    let session = session.map_err(not_authenticated)?;
    let token = OauthToken {
        access_token: session.session_token,
        token_type: "bearer".to_owned(),
        expires_in: Some(session.expires_in),
        scope: Some(OPENID.to_owned()),
    };
    Ok(([(header::PRAGMA, "no-cache")], axum::Json(token)).into_response())
}

/// `%xx` decoded; a text that is none afterwards is left as it is.
fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), Into::into)
}

/// What is 403 for an access token is 401 for a client.
fn not_authenticated(error: Error) -> Error {
    match error {
        Error::Refused { code: ErrorCode::Forbidden, expired, .. } => Error::Refused {
            code: ErrorCode::Unauthorized,
            field: "client_id and client_secret are not the name and the value of a living access token".to_owned(),
            expired,
        },
        error => error,
    }
}

fn bad(text: impl Into<String>) -> Error {
    Error::refused(ErrorCode::BadRequest, text)
}

/// The refusal of a request for a token.
pub(crate) fn refusal(error: Error) -> Response {
    let name = match &error {
        Error::Refused { code: ErrorCode::Unauthorized, .. } => "invalid_client",
        Error::Refused { code, .. } if code.status() < 500 => "invalid_request",
        Error::TooMany { .. } => "temporarily_unavailable",
        error if error.temporary().is_some() => "temporarily_unavailable",
        Error::Refused { .. } => "temporarily_unavailable",
        _ => "server_error",
    };
    refused(name, error)
}

fn refused(name: &str, error: Error) -> Response {
    let response = crate::refusal::refusal(error);
    let envelope = response.extensions().get::<ErrorBody>().map(serde_json::to_value);
    let Some(Ok(Value::Object(envelope))) = envelope else { return response };
    let described = response.extensions().get::<ErrorBody>().and_then(ErrorBody::field).map(ascii);
    let mut body =
        Map::from_iter([("error".to_owned(), json!(name)), ("error_description".to_owned(), json!(described))]);
    body.extend(envelope);
    let (mut head, _) = response.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    if head.headers.contains_key(header::WWW_AUTHENTICATE) {
        head.headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"ml-platform\""));
    }
    (head, axum::Json(body)).into_response()
}

/// RFC 6749 §5.2 allows these characters in a description.
fn ascii(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' ' | '!' | '#'..='[' | ']'..='~') { c } else { '\'' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_both_forms() {
        let response = refusal(Error::refused(ErrorCode::Unauthorized, "no \"such\" client"));
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Basic realm=\"ml-platform\"");
        assert_eq!(ascii("no \"such\" client\\"), "no 'such' client'");
    }
}
