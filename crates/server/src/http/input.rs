//! What a request asks, as the type of its endpoint: the fields of the path, and the rest from the query of a GET or
//! DELETE or the JSON body of a POST. What cannot be understood is refused with the name of the field, what was given,
//! the rule and the remedy.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequestParts, Query, RawPathParams, Request},
};
use futures_util::StreamExt;
use http::{HeaderMap, Method, header, request::Parts};
use mlplatform_protocol::{Endpoint, ErrorCode};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{json, query::Fields};
use crate::{Error, Result};

pub(super) async fn read<E: Endpoint>(request: Request, patience: Duration) -> Result<E::Request> {
    let (mut parts, body) = request.into_parts();
    let path = path_fields(&mut parts).await?;
    if parts.method == Method::POST {
        if !is_json(&parts.headers) {
            let text = "the body is not JSON: send it with 'Content-Type: application/json'";
            return Err(Error::refused(ErrorCode::UnsupportedMediaType, text));
        }
        return from_json(&collect(&parts.headers, body, E::ROUTE.largest_body(), patience).await?, path);
    }
    // Neither the query of a POST nor the body of anything else has a meaning here.
    let query: Query<Vec<(String, String)>> =
        Query::try_from_uri(&parts.uri).map_err(|error| bad(format!("the query cannot be read: {error}")))?;
    named(Fields::new(path.into_iter().chain(query.0)))
}

async fn path_fields(parts: &mut Parts) -> Result<Vec<(String, String)>> {
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|error| bad(format!("the path cannot be read: {error}")))?;
    Ok(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// `application/json`, or a kind of it, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// A whole body, if it is not too large and comes in time.
pub(crate) async fn collect(headers: &HeaderMap, body: Body, largest: usize, patience: Duration) -> Result<Vec<u8>> {
    let collected = tokio::time::timeout(patience, collect_all(headers, body, largest)).await;
    collected.unwrap_or_else(|_| {
        let text = format!("the body took longer than {} seconds: send it again", patience.as_secs());
        Err(Error::refused(ErrorCode::RequestTimeout, text))
    })
}

async fn collect_all(headers: &HeaderMap, body: Body, largest: usize) -> Result<Vec<u8>> {
    let too_large = || {
        let text = format!("the body is larger than {largest} bytes, the most that is read");
        Error::refused(ErrorCode::PayloadTooLarge, text)
    };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > largest as u64) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let mut stream = body.into_data_stream();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|_| bad("the body ended before its end: send it again"))?;
        bytes.extend_from_slice(&piece);
        if bytes.len() > largest {
            return Err(too_large());
        }
    }
    Ok(bytes)
}

fn from_json<T: DeserializeOwned>(body: &[u8], path: Vec<(String, String)>) -> Result<T> {
    let value = json::read(body).map_err(|error| bad(format!("the body is not JSON: {error}")))?;
    let Value::Object(mut fields) = value else {
        return Err(bad("the body is JSON, but not an object: send {…} with the fields of the request"));
    };
    merge(&mut fields, path)?;
    named(Value::Object(fields))
}

fn merge(fields: &mut Map<String, Value>, path: Vec<(String, String)>) -> Result<()> {
    for (name, value) in path {
        if fields.insert(name.clone(), Value::String(value)).is_some() {
            return Err(bad(format!("{name}: it stands in the path: leave it out of the body")));
        }
    }
    Ok(())
}

/// Deserialises; an error begins with the name of the field, unless its text holds it already.
fn named<'de, T: DeserializeOwned>(source: impl serde::Deserializer<'de, Error = serde_json::Error>) -> Result<T> {
    serde_path_to_error::deserialize(source).map_err(|error| {
        let (path, text) = (error.path().to_string(), error.inner().to_string());
        if path == "." || text.contains(&format!("`{path}`")) { bad(text) } else { bad(format!("{path}: {text}")) }
    })
}

fn bad(text: impl Into<String>) -> Error {
    Error::refused(ErrorCode::BadRequest, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use mlplatform_protocol::{PageRequest, tokens::CreateRegisterTokenRequest};

    fn why<T: DeserializeOwned>(body: &str) -> String {
        from_json::<T>(body.as_bytes(), Vec::new()).err().unwrap().to_string()
    }

    #[test]
    fn errors_name_field_value_and_rule() {
        let table = [
            ("{", "the body is not JSON"),
            ("[]", "not an object"),
            ("null", "not an object"),
            ("{}", "missing field `client_name`"),
            (r#"{"client_name":"a","x":1}"#, "unknown field `x`, expected one of `client_name`"),
            (r#"{"client_name":"a","client_name":"b"}"#, "the body is not JSON: 'client_name' stands in it twice"),
            (r#"{"client_name":5}"#, "client_name: invalid type: integer `5`, expected a string"),
            (r#"{"client_name":" a"}"#, "client_name: the token's name ' a' must not begin"),
            (r#"{"client_name":"a","access_ttl":"2"}"#, "access_ttl: '2' is not a lifetime: a unit is missing"),
            (
                r#"{"client_name":"a","access_ttl":"2h","token_type":"ROOT"}"#,
                "token_type: unknown variant `ROOT`, expected `USER` or `ADMIN`",
            ),
        ];
        for (body, text) in table {
            let error = why::<CreateRegisterTokenRequest>(body);
            assert!(error.contains(text), "{body}: {error}");
        }
    }

    #[test]
    fn a_query_is_understood() {
        let fields = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            named::<PageRequest>(Fields::new(pairs.into_iter()))
        };
        let page = fields(&[("limit", "10"), ("cursor", "ff")]).unwrap();
        assert_eq!((page.limit, page.cursor.as_deref()), (Some(10), Some("ff")));
        let error = |pairs: &[(&str, &str)]| fields(pairs).err().unwrap().to_string();
        assert!(error(&[("limit", "ten")]).contains("limit: 'ten' is not a whole number"));
        assert!(error(&[("limit", "-1")]).contains("limit: '-1' is not a whole number"));
        assert!(error(&[("limits", "1")]).contains("unknown field `limits`"));
        assert!(error(&[("limit", "1"), ("limit", "2")]).contains("duplicate field `limit`"));
    }

    #[test]
    fn kinds_of_json() {
        let is = |value| is_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]));
        assert!(is("application/json") && is("Application/JSON; charset=utf-8") && is("application/problem+json"));
        assert!(!is("text/plain") && !is("application/x-www-form-urlencoded") && !is("") && !is("text/json"));
        assert!(!is_json(&HeaderMap::new()));
    }
}
