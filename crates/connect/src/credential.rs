//! The access token among a call's metadata, in each form that the reference's clients send.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, header::AUTHORIZATION};
use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use crate::status::{Code, Status};

/// Published recipes append `==` to every text, so what is left of it is decoded without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// `;spark-token=…` and `;x-vk-token=…` in a connection string become metadata of that name.
const SPARK_TOKEN: &str = "spark-token";
const X_VK_TOKEN: &str = "x-vk-token";

/// The token. Where several are given they must be the same one: the gateway does not choose.
pub(crate) fn find(headers: &HeaderMap) -> Result<SecretString, Status> {
    let mut found: Option<String> = None;
    for name in [AUTHORIZATION.as_str(), SPARK_TOKEN, X_VK_TOKEN] {
        for value in headers.get_all(name) {
            let token = value.to_str().ok().and_then(|value| read(name, value)).ok_or_else(|| {
                Status::new(
                    Code::Unauthenticated,
                    format!("the metadata '{name}' holds no access token: give it as ;spark-token=<access token>"),
                )
            })?;
            if found.as_ref().is_some_and(|other| *other != token) {
                let text = "several access tokens are given, and they differ: give one, as ;spark-token=<access token>";
                return Err(Status::new(Code::Unauthenticated, text));
            }
            found = Some(token);
        }
    }
    found.map(SecretString::from).ok_or_else(|| {
        Status::new(
            Code::Unauthenticated,
            "an access token is missing: add ;spark-token=<access token> to the connection string",
        )
    })
}

fn read(name: &str, value: &str) -> Option<String> {
    let value = value.trim();
    if name == SPARK_TOKEN {
        return Some(value).filter(|value| !value.is_empty()).map(str::to_owned);
    }
    // Clients decode a connection string; one that does not leaves '%20' and '%3D' in it.
    let value = percent_decode_str(value).decode_utf8().ok()?;
    let (scheme, value) = value.split_once(' ')?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(value).filter(|value| !value.is_empty()).map(str::to_owned);
    }
    if name != X_VK_TOKEN || !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64.decode(value.trim_end_matches('=')).ok()?).ok()?;
    // The token's name and value: the name is for people.
    pair.split_once(':').map(|(_, token)| token.to_owned()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use secrecy::ExposeSecret;

    fn found(all: &[(&'static str, &str)]) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        find(&headers).map(|token| token.expose_secret().to_owned()).map_err(|status| status.message)
    }

    #[test]
    fn each_published_form_is_read() {
        for (name, value) in [
            ("spark-token", "mlpr_x"),
            ("authorization", "Bearer mlpr_x"),
            ("authorization", "bearer mlpr_x"),
            ("x-vk-token", "Bearer mlpr_x"),
            ("x-vk-token", "Bearer%20mlpr_x"),
            ("x-vk-token", "Basic YTptbHByX3g="),
            ("x-vk-token", "Basic YTptbHByX3g==="),
            ("x-vk-token", "Basic%20YTptbHByX3g%3D%3D%3D"),
        ] {
            assert_eq!(found(&[(name, value)]).as_deref(), Ok("mlpr_x"), "{name}: {value}");
        }
        assert_eq!(found(&[("spark-token", "mlpr_x"), ("authorization", "Bearer mlpr_x")]).as_deref(), Ok("mlpr_x"));
    }

    #[test]
    fn what_is_no_token_is_refused_and_not_repeated() {
        for all in [
            &[][..],
            &[("cookie", "mlpr_x")],
            &[("authorization", "mlpr_x")],
            &[("authorization", "Basic YTptbHByX3g=")],
            &[("x-vk-token", "mlpr_x")],
            &[("x-vk-token", "Basic !!!")],
            &[("x-vk-token", "Bearer ")],
            &[("spark-token", "")],
            &[("spark-token", "mlpr_x"), ("spark-token", "mlpr_y")],
            &[("spark-token", "mlpr_x"), ("authorization", "Bearer mlpr_y")],
        ] {
            let text = found(all).unwrap_err();
            assert!(text.contains("access token") && !text.contains("mlpr_"), "{text}");
        }
    }
}
