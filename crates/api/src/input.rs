//! Deserialising a request to the type of its endpoint: the fields of the path, and the rest from the query of a GET or
//! DELETE or the JSON body of a POST. What cannot be understood is refused with the name of the field, what was given,
//! the rule and the remedy.

use axum::{
    body::Body,
    extract::{FromRequestParts, Query, RawPathParams, Request},
};
use futures_util::StreamExt;
use http::{HeaderMap, Method, header, request::Parts};
use mlplatform_platform::{
    admission,
    app::App,
    concurrency::Permit,
    error::{Error, Result},
    request::RequestContext,
};
use mlplatform_protocol::{Endpoint, ErrorCode, routes::LARGEST_BODY};
use serde::de::DeserializeOwned;
use tokio::task::spawn_blocking;

use crate::{
    json::{self, MOST_VALUES},
    merged::Merged,
    query::Fields,
};

/// What a body costs beside its bytes: its head, and what waits for it.
const OVERHEAD: usize = 4096;

/// A request that was understood, and the room that its body has; to be kept as long as anything of the body is.
pub(crate) struct Read<T> {
    pub(crate) request: T,
    pub(crate) room: Option<Permit>,
}

pub(crate) async fn read<E: Endpoint>(
    app: &App,
    context: &RequestContext,
    request: Request,
) -> Result<Read<E::Request>> {
    let (mut parts, body) = request.into_parts();
    let path = path_fields(&mut parts).await?;
    if parts.method == Method::POST {
        if E::ROUTE.is_form() {
            if essence(&parts.headers) != "application/x-www-form-urlencoded" {
                let text = "the body is not a form: send it with 'Content-Type: application/x-www-form-urlencoded'";
                return Err(Error::refused(ErrorCode::UnsupportedMediaType, text));
            }
            let length = content_length(&parts.headers);
            drop(parts);
            let (body, room) = read_body(app, context, length, body, E::ROUTE.largest_body()).await?;
            let fields = form_urlencoded::parse(&body).into_owned();
            return Ok(Read { request: named(Fields::new(fields))?, room: Some(room) });
        }
        if !is_json(&parts.headers) {
            let text = "the body is not JSON: send it with 'Content-Type: application/json'";
            return Err(Error::refused(ErrorCode::UnsupportedMediaType, text));
        }
        let length = content_length(&parts.headers);
        // Whoever sends slowly does not hold a whole head meanwhile.
        drop(parts);
        let (body, room) = read_body(app, context, length, body, E::ROUTE.largest_body()).await?;
        let request = if body.len() > LARGEST_BODY {
            let _turn = app.admission().turn_to_read().await;
            let understood = spawn_blocking(move || from_json(&body, path));
            understood.await.map_err(|_| Error::Fault("the reading of a body panicked"))??
        } else {
            from_json(&body, path)?
        };
        return Ok(Read { request, room: Some(room) });
    }
    // Neither the query of a POST nor the body of anything else has a meaning here.
    let query: Query<Vec<(String, String)>> =
        Query::try_from_uri(&parts.uri).map_err(|error| bad(format!("the query cannot be read: {error}")))?;
    Ok(Read { request: named(Fields::new(path.into_iter().chain(query.0)))?, room: None })
}

async fn path_fields(parts: &mut Parts) -> Result<Vec<(String, String)>> {
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|error| bad(format!("the path cannot be read: {error}")))?;
    Ok(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// The media type of the body, without its parameters.
fn essence(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// `application/json`, or a kind of it, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let essence = essence(headers);
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// How long the body is to be, if the head says so.
pub fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok())
}

/// A whole body, if it is not too large, comes in time, and there is room for it: that is asked before it is read, or,
/// if nobody said how long it would be, as it grows.
pub async fn read_body(
    app: &App,
    context: &RequestContext,
    length: Option<usize>,
    body: Body,
    largest: usize,
) -> Result<(Vec<u8>, Permit)> {
    let patience = app.limits().body;
    let collected = tokio::time::timeout(patience, read_all(app, context, length, body, largest)).await;
    collected.unwrap_or_else(|_| {
        let text = format!("the body took longer than {} seconds: send it again", patience.as_secs());
        Err(Error::refused(ErrorCode::RequestTimeout, text))
    })
}

async fn read_all(
    app: &App,
    context: &RequestContext,
    length: Option<usize>,
    body: Body,
    largest: usize,
) -> Result<(Vec<u8>, Permit)> {
    let too_large = || {
        let text = format!("the body is larger than {largest} bytes, the most that is read");
        Error::refused(ErrorCode::PayloadTooLarge, text)
    };
    if length.is_some_and(|length| length > largest) {
        return Err(too_large());
    }
    let mut held = length.unwrap_or(0);
    let mut room =
        app.admission().body(context, held.saturating_add(OVERHEAD), length.unwrap_or(largest) > LARGEST_BODY)?;
    let mut bytes = Vec::with_capacity(held);
    let mut stream = body.into_data_stream();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|_| bad("the body ended before its end: send it again"))?;
        let whole = bytes.len().saturating_add(piece.len());
        if whole > largest {
            return Err(too_large());
        }
        if whole > held {
            // As a vector grows.
            let more = whole.max(held.saturating_mul(2)).min(largest).saturating_sub(held);
            room.grow(more).map_err(|full| admission::no_room_for_body(context, full))?;
            held = held.saturating_add(more);
        }
        bytes.extend_from_slice(&piece);
    }
    Ok((bytes, room))
}

fn from_json<T: DeserializeOwned>(body: &[u8], path: Vec<(String, String)>) -> Result<T> {
    let found = json::check(body, &path).map_err(|error| bad(format!("the body is not JSON: {error}")))?;
    if !found.is_object {
        return Err(bad("the body is JSON, but not an object: send {…} with the fields of the request"));
    }
    if let Some(name) = found.taken {
        return Err(bad(format!("{name}: it stands in the path: leave it out of the body")));
    }
    if found.values > MOST_VALUES {
        return Err(bad(format!(
            "the body has {} values (fields and items) or more, and at most {MOST_VALUES} are read: put data into a file \
             of the cluster's bucket, and name that",
            found.values
        )));
    }
    named(Merged::new(body, path))
}

/// Deserialises; an error begins with the name of the field, unless its text holds it already.
fn named<'de, T: DeserializeOwned>(source: impl serde::Deserializer<'de, Error = serde_json::Error>) -> Result<T> {
    serde_path_to_error::deserialize(source).map_err(|error| {
        let (path, error) = (error.path().to_string(), error.into_inner());
        let text = error.to_string();
        // Where in the text it stood says nothing to somebody whose library wrote it.
        let place = format!(" at line {} column {}", error.line(), error.column());
        let text = text.strip_suffix(&place).unwrap_or(&text);
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
    use mlplatform_protocol::{PageRequest, jobs::SubmitJobRequest, tokens::CreateRegisterTokenRequest};
    use serde_json::json;

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
    fn the_path_is_merged_into_the_body() {
        let path = || vec![("cluster_id".to_owned(), "c".to_owned())];
        let read =
            |body: &str| from_json::<SubmitJobRequest>(body.as_bytes(), path()).map_err(|error| error.to_string());
        let request = read(r#"{"manifest":{"a":[1,{"b":"\u00fc"}]}}"#).unwrap();
        assert_eq!((request.cluster_id.as_str(), request.manifest), ("c", json!({"a": [1, {"b": "ü"}]})));
        let table = [
            (r#"{"manifest":{},"cluster_id":"d"}"#.to_owned(), "cluster_id: it stands in the path: leave it out"),
            (r#"{"pycode":{}}"#.to_owned(), "pycode: missing field `name`"),
            ("{}".to_owned(), "missing field `manifest`"),
            (
                r#"{"manifest":{},"pycode":{"name":1}}"#.to_owned(),
                "pycode.name: invalid type: integer `1`, expected a string",
            ),
            (
                format!(r#"{{"manifest":[{}0]}}"#, "0,".repeat(20_000)),
                "has 20002 values (fields and items) or more, and at most 10000",
            ),
        ];
        for (body, text) in table {
            let error = read(&body).unwrap_err();
            assert!(error.contains(text) && !error.contains(" at line "), "{body:.80}: {error}");
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
