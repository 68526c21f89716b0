//! Error answers: the vendor's public envelope with its status codes and names.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `{"status": 403, "errorCode": "ForbiddenException", "errorParams": {"field": "…"}}`
///
/// A public page prints the keys as `warnorCode` and `warnorParams`; both spellings are read, one is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// The HTTP status, again.
    pub status: u16,
    /// A name from [`ErrorCode`], or a newer server's.
    #[serde(alias = "warnorCode")]
    pub error_code: String,
    /// What it is about; `field` holds the text for people. Other keys are kept in their order.
    #[serde(alias = "warnorParams", default)]
    pub error_params: Map<String, Value>,
}

impl ErrorBody {
    /// An error of ours.
    #[must_use]
    pub fn new(code: ErrorCode, field: impl Into<String>) -> Self {
        Self {
            status: code.status(),
            error_code: code.name().to_owned(),
            error_params: Map::from_iter([("field".to_owned(), Value::String(field.into()))]),
        }
    }

    /// The text for people.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.error_params.get("field").and_then(Value::as_str)
    }
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $status:literal $name:literal;)*) => {
        /// Every error that our platform answers with. The Python exception classes bear these names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $variant,)* }

        impl ErrorCode {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// `errorCode` on the wire.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

error_codes! {
    /// The request breaks a rule; the field says which.
    BadRequest = 400 "BadRequestException";
    /// The session is unknown or has ended: exchange again.
    Unauthorized = 401 "UnauthorizedException";
    /// The token is not good for this.
    Forbidden = 403 "ForbiddenException";
    /// No such thing, or no such route.
    NotFound = 404 "NotFoundException";
    /// The route exists, but not with this method.
    MethodNotAllowed = 405 "MethodNotAllowedException";
    /// The request did not arrive in time.
    RequestTimeout = 408 "RequestTimeoutException";
    /// Something of that name, or a newer attempt, is there already.
    Conflict = 409 "ConflictException";
    /// The body is over the limit.
    PayloadTooLarge = 413 "PayloadTooLargeException";
    /// The body is not JSON.
    UnsupportedMediaType = 415 "UnsupportedMediaTypeException";
    /// Too many requests from this address; `Retry-After` says when to come again.
    TooManyRequests = 429 "TooManyRequestsException";
    /// The platform failed; its log has the request id.
    InternalServerError = 500 "InternalServerErrorException";
    /// The platform is overloaded or stopping; `Retry-After` says when to come again.
    ServiceUnavailable = 503 "ServiceUnavailableException";
}

/// The field of a 403 for any token that is unknown, expired, withdrawn or deleted: one body for all four.
pub const FIELD_FORBIDDEN: &str = "Forbidden";

/// The field of a 403 for a role that is too low, as the reference prints it.
#[must_use]
pub fn missing_scope(token_name: &str, scope: &str) -> String {
    format!("{token_name} token does not contain the following scopes: ['{scope}']")
}

/// The field of a 403 for a second redeem of a registration token.
#[must_use]
pub fn already_redeemed(at: jiff::Timestamp) -> String {
    format!("registration token was already redeemed at {at}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Scripts match on this very text.
    #[test]
    fn the_documented_form() {
        let body = ErrorBody::new(ErrorCode::Forbidden, missing_scope("anna", "ml-platform:Manage"));
        assert_eq!(
            serde_json::to_string(&body).unwrap(),
            r#"{"status":403,"errorCode":"ForbiddenException","errorParams":{"field":"anna token does not contain the following scopes: ['ml-platform:Manage']"}}"#
        );
    }

    #[test]
    fn both_spellings_are_read() {
        let text = r#"{"status": 403, "warnorCode": "ForbiddenException", "warnorParams": {"field": "Forbidden"}}"#;
        let body: ErrorBody = serde_json::from_str(text).unwrap();
        assert_eq!(body, ErrorBody::new(ErrorCode::Forbidden, FIELD_FORBIDDEN));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = serde_json::from_slice::<ErrorBody>(&bytes);
        }

        #[test]
        fn written_is_read_back(field in "\\PC*", index in 0..ErrorCode::ALL.len()) {
            let body = ErrorBody::new(ErrorCode::ALL[index], field);
            let text = serde_json::to_string(&body).unwrap();
            prop_assert_eq!(serde_json::from_str::<ErrorBody>(&text).unwrap(), body);
        }
    }
}
