//! HTTP basic (RFC 7617), which the OAuth 2.0 token endpoint reads.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, header};
use mlplatform_platform::error::{Error, Result};
use mlplatform_protocol::ErrorCode;

use crate::header::single;

const SCHEME: &str = "basic ";
/// Padding is known to be missing, or to be too long.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Client id and secret of the header `Authorization`, as they were sent.
pub(crate) struct Basic {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl Basic {
    /// `None`: there is no such header.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Option<Self>> {
        let Some(value) = single(headers, header::AUTHORIZATION.as_str())? else { return Ok(None) };
        let read = || {
            let (scheme, value) = std::str::from_utf8(value).ok()?.split_at_checked(SCHEME.len())?;
            let text = value.trim().trim_end_matches('=');
            let bytes = BASE64.decode(text).ok().filter(|_| scheme.eq_ignore_ascii_case(SCHEME))?;
            let (id, secret) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
            Some(Self { id: id.to_owned(), secret: secret.to_owned() })
        };
        let unreadable = || {
            let text = "Authorization is not of the form 'Basic <base64 of client_id:client_secret>'";
            Error::refused(ErrorCode::Unauthorized, text)
        };
        read().map(Some).ok_or_else(unreadable)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(value: &str) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        Basic::read(&headers).ok().flatten().map(|Basic { id, secret }| (id, secret))
    }

    #[test]
    fn the_header_is_read_as_clients_write_it() {
        let expected = Some(("anna".to_owned(), "a:b".to_owned()));
        for good in ["Basic YW5uYTphOmI=", "basic  YW5uYTphOmI", "BASIC YW5uYTphOmI==="] {
            assert_eq!(read(good), expected, "{good}");
        }
        for bad in ["Basic", "Basic ", "Bearer YW5uYTphOmI=", "Basic YW5uYQ==", "Basic !!", "Basic /w==", "x"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert!(Basic::read(&HeaderMap::new()).is_ok_and(|basic| basic.is_none()));
    }
}
