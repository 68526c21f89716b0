//! Where a request carries its session token.

use http::{HeaderMap, header};
use mlplatform_platform::error::{Error, Result};
use mlplatform_protocol::{Endpoint, ErrorCode, headers, routes::CreateOauthToken};

use crate::header::single;

const SCHEME: &str = "bearer ";

/// The value of `Authorization: Bearer` or of its equal `X-Auth-Token`; `None` when there is neither.
pub(crate) fn read(headers: &HeaderMap) -> Result<Option<&str>> {
    let bearer = single(headers, header::AUTHORIZATION.as_str())?.map(bearer).transpose()?;
    let token = single(headers, headers::AUTH_TOKEN)?.map(text).transpose()?;
    match (bearer, token) {
        (Some(one), Some(other)) if one != other => {
            Err(unauthorized("Authorization and X-Auth-Token carry different tokens: send one of them"))
        }
        (one, other) => Ok(one.or(other)),
    }
}

fn bearer(value: &[u8]) -> Result<&str> {
    let value = text(value)?;
    let parts = value.split_at_checked(SCHEME.len());
    match parts.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME)) {
        Some((_, token)) => Ok(token.trim_start()),
        None => Err(unauthorized(&format!(
            "Authorization is not of the form 'Bearer <session token>'; user name and password are exchanged for one at \
             {}",
            CreateOauthToken::ROUTE.path
        ))),
    }
}

fn text(value: &[u8]) -> Result<&str> {
    std::str::from_utf8(value).map_err(|_| unauthorized("the session token holds characters that no token has"))
}

fn unauthorized(text: &str) -> Error {
    Error::refused(ErrorCode::Unauthorized, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn of(pairs: &[(&'static str, &'static str)]) -> Option<Option<String>> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        read(&headers).ok().map(|token| token.map(str::to_owned))
    }

    #[test]
    fn both_headers_are_equals() {
        let token = Some(Some("t".to_owned()));
        assert_eq!(of(&[]), Some(None));
        assert_eq!(of(&[("authorization", "Bearer t")]), token);
        assert_eq!(of(&[("authorization", "bearer  t")]), token);
        assert_eq!(of(&[("x-auth-token", "t")]), token);
        assert_eq!(of(&[("x-auth-token", "t"), ("authorization", "Bearer t")]), token);
        assert_eq!(of(&[("x-auth-token", "u"), ("authorization", "Bearer t")]), None);
        assert_eq!(of(&[("authorization", "Bearer t"), ("authorization", "Bearer t")]), None);
        assert_eq!(of(&[("authorization", "Basic dDp0")]), None);
        assert_eq!(of(&[("authorization", "Bearer")]), None);
    }
}
