//! The response to a request that was refused or failed: status, error envelope, headers.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use mlplatform_platform::error::{Error, causes};
use mlplatform_protocol::{ErrorBody, ErrorCode, headers};

/// The response to a request that was refused or failed.
pub fn refusal(error: Error) -> Response {
    let mut retry_after = 1;
    let (body, expired) = match error {
        Error::TooMany { retry_after: seconds } => {
            retry_after = seconds;
            let text = "nobody knows this token, and too many that are not good came from this address: check it, and try again after the seconds in Retry-After";
            (ErrorBody::new(ErrorCode::TooManyRequests, text), false)
        }
        Error::Refused { code, field, expired } => (ErrorBody::new(code, field), expired),
        error => {
            let causes = causes(&error);
            tracing::error!(?causes, "request failed: {error}");
            let body = if let Some(text) = error.temporary() {
                ErrorBody::new(ErrorCode::ServiceUnavailable, text)
            } else {
                let field = "the platform failed; its log has the details under this request id";
                ErrorBody::new(ErrorCode::InternalServerError, field)
            };
            (body, false)
        }
    };
    let status = StatusCode::from_u16(body.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(&body)).into_response();
    // For the console, which tells it to people.
    response.extensions_mut().insert(body);
    let headers = response.headers_mut();
    match status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
        }
        _ => {}
    }
    if expired {
        headers.insert(headers::REFUSAL, HeaderValue::from_static(headers::REFUSAL_EXPIRED));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlplatform_store::Failure;

    #[test]
    fn the_platforms_own_failure_tells_the_caller_nothing() {
        let response = refusal(Error::Fault("secret details"));
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let response = refusal(Error::Store(Failure::Busy("no connection became free in time".to_owned())));
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
