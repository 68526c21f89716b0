//! HTTP: from a request to a service function and back.
//!
//! A handler is registered by the type of its [`Endpoint`], with [`Api::mount`]. Method, path, access, success status
//! and the types of request and answer come from there, so that this crate holds no path, and a handler cannot forget
//! the access check: it runs only after it, and before a byte of the body is read.

pub(crate) mod credential;
mod handlers;
pub(crate) mod input;
pub(crate) mod job_handlers;
mod json;
mod layers;
mod merged;
pub(crate) mod outgoing;
mod query;

use std::{future::Future, sync::Arc};

use axum::{
    Json, Router,
    extract::{Request, State},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use mlplatform_protocol::{Access, Endpoint, ErrorCode, Repeat, headers};

use input::Read;

use crate::{
    Error, Proxies, Result,
    app::{App, RequestContext},
    concurrency::Permit,
    console,
    service::{
        key::Key,
        sessions::{self, Caller},
    },
    site::Site,
};

/// A request of a known kind, let in and understood.
pub(crate) struct Call<E: Endpoint> {
    pub(crate) app: App,
    pub(crate) context: Arc<RequestContext>,
    pub(crate) request: E::Request,
    pub(crate) key: Option<Key>,
    caller: Option<Caller>,
    /// What its body takes, as long as it is worked on.
    _room: Option<Permit>,
}

impl<E: Endpoint> Call<E> {
    /// Who calls. Only a public route has nobody, and it does not ask.
    pub(crate) fn caller(&self) -> Result<&Caller> {
        self.caller.as_ref().ok_or(Error::Fault("the handler of a public route asked for its caller"))
    }
}

/// The mounted routes.
#[derive(Default)]
pub(crate) struct Api {
    router: Router<App>,
    mounted: Vec<&'static str>,
}

impl Api {
    /// Registers the handler of an endpoint.
    pub(crate) fn mount<E, H, F>(self, handler: H) -> Self
    where
        E: Endpoint + 'static,
        H: Fn(Call<E>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<E::Response>> + Send + 'static,
    {
        self.mount_stream(move |call: Call<E>| {
            let handler = handler.clone();
            async move { success::<E>(handler(call).await?) }
        })
    }

    /// Registers the handler of an endpoint whose answer is no JSON: it makes the whole answer itself.
    pub(crate) fn mount_stream<E, H, F>(mut self, handler: H) -> Self
    where
        E: Endpoint + 'static,
        H: Fn(Call<E>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response>> + Send + 'static,
    {
        let Ok(method) = MethodFilter::try_from(E::ROUTE.method) else { return self };
        let respond = move |State(app): State<App>, request: Request| {
            let handler = handler.clone();
            async move { answer::<E, H, F>(app, request, handler).await.unwrap_or_else(Error::into_response) }
        };
        self.router = self.router.route(E::ROUTE.path, on(method, respond));
        self.mounted.push(E::ROUTE.name);
        self
    }
}

async fn answer<E, H, F>(app: App, request: Request, handler: H) -> Result<Response>
where
    E: Endpoint,
    H: Fn(Call<E>) -> F,
    F: Future<Output = Result<Response>>,
{
    let route = E::ROUTE;
    let context = RequestContext::of(request.extensions())?;
    let mut place = Some(app.place(&context)?);
    let caller = match route.access {
        Access::Public => None,
        Access::User | Access::Administrator => {
            let credential = credential::read(request.headers())?;
            Some(sessions::authenticate(&app, &context, &route, credential).await?)
        }
    };
    let key = match route.repeat {
        Repeat::Harmless => None,
        Repeat::Keyed => Key::read(
            single(request.headers(), headers::IDEMPOTENCY_KEY)?,
            single(request.headers(), headers::IDEMPOTENCY_ATTEMPT)?,
        )?,
    };
    // Whoever sends a body takes as long as they like, and a public route reads anybody's: nobody else waits for them.
    if route.method == Method::POST {
        place = None;
    }
    let Read { request, room } = input::read::<E>(&app, &context, request).await?;
    // Free again when the answer was taken, or the client has gone; but never while there is work.
    let place = place.map_or_else(|| app.place(&context), Ok)?;
    let mut response = handler(Call { app, context, request, key, caller, _room: room }).await?;
    outgoing::keep(&mut response, place);
    Ok(response)
}

fn success<E: Endpoint>(answer: E::Response) -> Result<Response> {
    let status = StatusCode::from_u16(E::ROUTE.success).map_err(|_| Error::Fault("a route's success is no status"))?;
    Ok(if status == StatusCode::NO_CONTENT { status.into_response() } else { (status, Json(answer)).into_response() })
}

/// A header that may come once: of two, each side of a proxy might believe another.
fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a [u8]>> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(HeaderValue::as_bytes);
    match values.next() {
        None => Ok(value),
        Some(_) => Err(Error::refused(ErrorCode::BadRequest, format!("the header {name} came twice: send it once"))),
    }
}

/// The whole service: every route, and around them what holds for all requests.
pub(crate) fn service(app: &App, proxies: Arc<Proxies>, site: &Arc<Site>) -> Router {
    let outer = (app.clone(), proxies);
    handlers::api()
        .router
        .merge(console::router(app, site))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn(layers::contain))
        .layer(middleware::from_fn_with_state(Arc::clone(site), console::dress))
        .layer(middleware::from_fn_with_state(outer, layers::identify))
        .with_state(app.clone())
}

async fn no_route(request: Request) -> Error {
    let (method, path) = (request.method(), request.uri().path());
    let text = format!("there is no {method} {path} here: is the platform's address right, and is it of this version?");
    Error::refused(ErrorCode::NotFound, text)
}

async fn no_method(request: Request) -> Error {
    let (method, path) = (request.method(), request.uri().path());
    Error::refused(ErrorCode::MethodNotAllowed, format!("{path} is not for {method}: the header Allow says for what"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_of_the_contract_is_mounted() {
        let mut mounted = handlers::api().mounted;
        let mut routes: Vec<_> = mlplatform_protocol::ROUTES.iter().map(|route| route.name).collect();
        mounted.sort_unstable();
        routes.sort_unstable();
        assert_eq!(mounted, routes);
    }
}
