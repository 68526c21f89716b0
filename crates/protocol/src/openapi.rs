//! The OpenAPI 3.1 document of the API, generated from the table of routes and the message types.

use http::Method;
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    error::{ErrorBody, ErrorCode},
    headers,
    routes::{self, Access, Endpoint, Origin, Repeat, Route, with_routes},
    tokens::Exposition,
};

/// Where the document keeps its schemas.
const SCHEMAS: &str = "/components/schemas";

/// The document, for a platform of that version.
#[must_use]
pub fn document(version: &str) -> Map<String, Value> {
    let mut document = Document::new();
    macro_rules! describe {
        ($($(#[doc = $doc:literal])* $endpoint:ident $name:literal: $method:ident $path:literal, $access:ident, $repeat:ident, $origin:ident, $success:literal, $request:ty => $response:ty;)*) => {
            $(document.add::<routes::$endpoint>(concat!($($doc),*));)*
        };
    }
    with_routes!(describe);
    document.finish(version)
}

/// The document under construction.
struct Document {
    /// Schemas of requests: a field with a default is optional.
    requests: SchemaGenerator,
    /// Schemas of answers: all fields are present.
    answers: SchemaGenerator,
    paths: Map<String, Value>,
}

impl Document {
    fn new() -> Self {
        let settings = || SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = SCHEMAS.into());
        Self {
            requests: settings().for_deserialize().into_generator(),
            answers: settings().for_serialize().into_generator(),
            paths: Map::new(),
        }
    }

    /// Adds a route.
    fn add<E: Endpoint<Request: JsonSchema, Response: JsonSchema>>(&mut self, summary: &str) {
        let route = &E::ROUTE;
        let mut body = E::Request::json_schema(&mut self.requests).to_value();
        let required = names(body.get("required"));
        let mut parameters = Vec::new();
        let fields = body.get_mut("properties").and_then(Value::as_object_mut).map(std::mem::take).unwrap_or_default();
        let mut rest = Map::new();
        for (field, schema) in fields {
            let place = if route.path.contains(&format!("{{{field}}}")) {
                "path"
            } else if route.method == Method::POST {
                rest.insert(field, schema);
                continue;
            } else {
                "query"
            };
            let needed = required.contains(&field);
            parameters.push(json!({"name": field, "in": place, "required": needed, "schema": without_null(schema)}));
        }
        if route.repeat == Repeat::Keyed {
            parameters.extend(
                [headers::IDEMPOTENCY_KEY, headers::IDEMPOTENCY_ATTEMPT].map(|name| reference("parameters", name)),
            );
        }
        let mut operation = json!({
            "operationId": route.name,
            "summary": summary.trim(),
            "parameters": parameters,
            "responses": self.responses::<E::Response>(route),
            "security": security(route.access),
            "x-origin": match route.origin {
                Origin::Vendor => "vendor",
                Origin::Project => "project",
            },
        });
        if route.method == Method::POST {
            let media_type = if route.is_form() { "application/x-www-form-urlencoded" } else { "application/json" };
            let required: Vec<_> = required.into_iter().filter(|field| rest.contains_key(field)).collect();
            set(&mut body, "properties", Value::Object(rest));
            set(&mut body, "required", json!(required));
            set(&mut operation, "requestBody", json!({"required": true, "content": { media_type: {"schema": body} }}));
        }
        let path = self.paths.entry(route.path).or_insert_with(|| json!({}));
        set(path, &route.method.as_str().to_ascii_lowercase(), operation);
    }

    fn responses<A: JsonSchema>(&mut self, route: &Route) -> Value {
        let mut success = json!({"description": "Done.", "headers": answer_headers(&[headers::REQUEST_ID])});
        // 204 has no content. A route that has some and no type for it answers with bytes: a log.
        if <()>::schema_name() == A::schema_name() {
            if route.success != 204 {
                set(
                    &mut success,
                    "headers",
                    answer_headers(&[
                        headers::REQUEST_ID,
                        headers::LOG_OFFSET,
                        headers::LOG_FINAL,
                        headers::LOG_GAP,
                        headers::LOG_DROPPED,
                    ]),
                );
                set(&mut success, "content", json!({"text/plain": {"schema": {"type": "string"}}}));
            }
        } else if Exposition::schema_name() == A::schema_name() {
            set(&mut success, "content", json!({"application/openmetrics-text": {"schema": {"type": "string"}}}));
        } else {
            set(&mut success, "content", content(self.answers.subschema_for::<A>().to_value()));
        }
        let mut all = json!({ route.success.to_string(): success });
        for code in refusals(route) {
            set(&mut all, &code.status().to_string(), reference("responses", code.name()));
        }
        all
    }

    fn finish(mut self, version: &str) -> Map<String, Value> {
        let envelope = self.answers.subschema_for::<ErrorBody>().to_value();
        let mut responses = json!({});
        for code in ErrorCode::ALL {
            let names: &[&str] = match code {
                ErrorCode::Unauthorized => &[headers::REQUEST_ID, headers::REFUSAL, "www-authenticate"],
                ErrorCode::Forbidden => &[headers::REQUEST_ID, headers::REFUSAL],
                ErrorCode::TooManyRequests | ErrorCode::ServiceUnavailable => &[headers::REQUEST_ID, "retry-after"],
                _ => &[headers::REQUEST_ID],
            };
            let response = json!({
                "description": code.name(),
                "headers": answer_headers(names),
                "content": content(envelope.clone()),
            });
            set(&mut responses, code.name(), response);
        }
        let mut schemas = self.requests.take_definitions(true);
        schemas.extend(self.answers.take_definitions(true));
        let mut document = json!({
            "openapi": "3.1.0",
            "info": {
                "title": "ML platform",
                "version": version,
                "description": "Routes whose x-origin is 'vendor' are published by the vendor; the others are this project's.",
            },
            "paths": self.paths,
            "components": {
                "schemas": schemas,
                "responses": responses,
                "parameters": {
                    headers::IDEMPOTENCY_KEY: {
                        "name": headers::IDEMPOTENCY_KEY,
                        "in": "header",
                        "description": "One random value for one intention: sent again with it, a request is done once.",
                        "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
                    },
                    headers::IDEMPOTENCY_ATTEMPT: {
                        "name": headers::IDEMPOTENCY_ATTEMPT,
                        "in": "header",
                        "description": "Which attempt of that intention this is. A higher one withdraws a secret that the one before made and nobody used.",
                        "schema": {"type": "integer", "minimum": 1, "maximum": u32::MAX},
                    },
                },
                "headers": {
                    headers::REQUEST_ID: header(true, "Names the request in the platform's log and audit.", json!({"type": "string"})),
                    headers::REFUSAL: header(
                        false,
                        "Why, told to who holds the real token.",
                        json!({"type": "string", "enum": [headers::REFUSAL_EXPIRED]}),
                    ),
                    headers::LOG_OFFSET: header(true, "Where in the log the answer begins.", json!({"type": "integer", "minimum": 0})),
                    headers::LOG_FINAL: header(true, "Whether nothing will follow.", json!({"type": "string", "enum": ["true", "false"]})),
                    headers::LOG_GAP: header(
                        false,
                        "Where the answer ends because the bytes that follow were dropped; ask from there for the rest.",
                        json!({"type": "integer", "minimum": 0}),
                    ),
                    headers::LOG_DROPPED: header(
                        false,
                        "So many bytes behind the offset that was asked for the answer begins, because they were dropped.",
                        json!({"type": "integer", "minimum": 1}),
                    ),
                    "retry-after": header(true, "Seconds until another request is welcome.", json!({"type": "integer", "minimum": 1})),
                    "www-authenticate": header(true, "What is asked for.", json!({"type": "string"})),
                },
                "securitySchemes": {
                    "session": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "A session token; create_session gives one for an access token.",
                    },
                    "token": {
                        "type": "apiKey",
                        "in": "header",
                        "name": headers::AUTH_TOKEN,
                        "description": "The same in the vendor's header.",
                    },
                },
            },
        });
        plain(&mut document);
        match document {
            Value::Object(document) => document,
            _ => Map::new(),
        }
    }
}

/// The refusals that a route knows.
fn refusals(route: &Route) -> Vec<ErrorCode> {
    let post = route.method == Method::POST;
    let changes = route.method != Method::GET;
    let knows = |code: &ErrorCode| match code {
        ErrorCode::BadRequest | ErrorCode::InternalServerError | ErrorCode::ServiceUnavailable => true,
        ErrorCode::Unauthorized => route.access != Access::Public || route.is_form(),
        ErrorCode::Forbidden | ErrorCode::TooManyRequests => route.access != Access::Public || post,
        ErrorCode::NotFound => changes || route.path.contains('{'),
        ErrorCode::Conflict => changes,
        ErrorCode::RequestTimeout | ErrorCode::PayloadTooLarge | ErrorCode::UnsupportedMediaType => post,
        // It is an answer of the path, to the methods that it has no operation for.
        ErrorCode::MethodNotAllowed => false,
    };
    ErrorCode::ALL.iter().copied().filter(knows).collect()
}

fn security(access: Access) -> Value {
    match access.scope() {
        None => json!([]),
        Some(scope) => json!([{"session": [scope]}, {"token": [scope]}]),
    }
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}

fn answer_headers(names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), reference("headers", name))).collect::<Map<_, _>>().into()
}

fn header(required: bool, description: &str, schema: Value) -> Value {
    json!({"required": required, "description": description, "schema": schema})
}

fn content(schema: Value) -> Value {
    json!({"application/json": {"schema": schema}})
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(fields) = object {
        fields.insert(key.to_owned(), value);
    }
}

fn names(list: Option<&Value>) -> Vec<String> {
    let names = list.and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Names of Rust things are links in its documentation; here they are names.
fn plain(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if key == "description" => {
                        *text = text.replace("[`crate::", "`").replace("[`", "`").replace("`]", "`");
                    }
                    _ => plain(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        _ => {}
    }
}

/// A parameter that is left out is not there; no text stands for null.
fn without_null(mut schema: Value) -> Value {
    let null = json!({"type": "null"});
    if let Some(kinds) = schema.get_mut("type").and_then(Value::as_array_mut) {
        kinds.retain(|kind| kind != "null");
    }
    if let Some(choices) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        choices.retain(|choice| *choice != null);
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::ROUTES;

    /// Every `$ref` of the document, with what it stands in.
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_route_is_described_and_nothing_is_missing() {
        let document = Value::Object(document("1.2.3"));
        for route in ROUTES {
            let operation = &document["paths"][route.path][route.method.as_str().to_ascii_lowercase()];
            assert_eq!(operation["operationId"], route.name);
            assert_eq!(operation["security"] == json!([]), route.access == Access::Public);
        }
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > ROUTES.len());
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn fields_stand_where_the_route_puts_them() {
        let document = document("1");
        let place = |path: &str, method: &str| {
            let operation = &document["paths"][path][method];
            let parameters = operation["parameters"].as_array().unwrap().iter();
            let parameters = parameters.filter_map(|p| Some(format!("{} {}", p["in"].as_str()?, p["name"].as_str()?)));
            let body = &operation["requestBody"]["content"]["application/json"]["schema"]["properties"];
            let body = body.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>());
            (parameters.collect::<Vec<_>>(), body.unwrap_or_default())
        };
        let (parameters, body) = place("/v1_0/magnum/{cluster_id}/delete-time", "post");
        assert_eq!((parameters, body), (vec!["path cluster_id".to_owned()], vec!["minutes".to_owned()]));
        let (parameters, body) = place("/v1_0/magnum/{cluster_id}/secrets", "get");
        assert_eq!(parameters, ["path cluster_id", "query namespace", "query limit", "query cursor"]);
        assert!(body.is_empty());
    }
}
