//! Middleware of every request: an id, a line in the log, headers that forbid caching and guessing, and an answer even
//! when a handler panics.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::{
    extract::{ConnectInfo, MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderValue, Method, header};
use mlplatform_platform::{app::App, error::Error, request::RequestContext, text};
use mlplatform_protocol::{ROUTES, headers};
use tracing::Instrument;

use crate::{connection::Connection, outgoing, proxies::Proxies, refusal::refusal};

/// Whom a proxy speaks for, and whom the proxy before it spoke for.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The outermost layer: gives the request its context and id, logs its end.
pub async fn request_log(
    State((app, proxies)): State<(App, Arc<Proxies>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let connection = request.extensions().get::<Arc<Connection>>().cloned();
    let address = address(&proxies, connection.as_deref(), &request);
    let context = Arc::new(RequestContext::new(address));
    request.extensions_mut().insert(Arc::clone(&context));
    let (method, path) = (text::harmless(request.method().as_str()), text::harmless(request.uri().path()));
    let (verb, route) = (known(request.method()), route(&request));
    let span = tracing::error_span!("request", id = context.request_id());
    let response = next.run(request).instrument(span.clone()).await;
    let mut response = outgoing::account(&app, &context, connection, response);
    let all = response.headers_mut();
    // Files of the console whose names change with their content say otherwise.
    all.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    all.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(context.request_id()) {
        all.insert(headers::REQUEST_ID, id);
    }
    let (status, took) = (response.status().as_u16(), began.elapsed());
    app.metrics().request(&route, verb, status, took);
    span.in_scope(|| {
        let (ms, token) = (u64::try_from(took.as_millis()).unwrap_or(u64::MAX), context.caller().unwrap_or("-"));
        tracing::info!(%route, status, ms, %token, address = %context.address(), "{method} {path}");
    });
    if context.is_delayed() {
        tokio::time::sleep(app.limits().refusal_delay).await;
    }
    response
}

/// What a request asks for, out of few: the verb of the contract, the pattern of a page, or none of them.
fn route(request: &Request) -> String {
    let Some(pattern) = request.extensions().get::<MatchedPath>() else { return "none".to_owned() };
    let verb = ROUTES.iter().find(|route| route.path == pattern.as_str() && route.method == *request.method());
    verb.map_or(pattern.as_str(), |route| route.name).to_owned()
}

/// Anybody can make up a method.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

/// Where a request comes from. An IPv4 client of a socket for both is shown as what it is.
fn address(proxies: &Proxies, connection: Option<&Connection>, request: &Request) -> String {
    let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else {
        return "unknown".to_owned();
    };
    if connection.is_some_and(Connection::is_from_job) {
        return peer.ip().to_canonical().to_string();
    }
    // What is no text names nobody, and ends the search like any other garbage.
    let forwarded = request.headers().get_all(FORWARDED_FOR).iter().map(|value| value.to_str().unwrap_or_default());
    proxies.client(peer.ip(), forwarded.collect::<Vec<_>>().into_iter()).to_string()
}

/// Runs the handler as a task of its own: when the client hangs up, what was begun is still finished and its audit's
/// mark written; when it panics, there is an answer.
pub async fn isolate(request: Request, next: Next) -> Response {
    match tokio::spawn(next.run(request).in_current_span()).await {
        Ok(response) => response,
        Err(_) => refusal(Error::Fault("the handler panicked")),
    }
}
