//! Endpoints: a handler is registered by the type of its [`Endpoint`], with [`Api::mount`].
//!
//! Method, path, access, success status and the types of request and answer come from there, so that this crate holds no
//! path, and a handler cannot forget the access check: it runs only after it, and before a byte of the body is read.

use std::{future::Future, sync::Arc};

use axum::{
    Json, Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use http::{Method, StatusCode};
use mlplatform_platform::{
    app::App,
    caller::Caller,
    concurrency::Permit,
    error::{Error, Result},
    idempotency::Key,
    request::RequestContext,
    sessions::exchange,
};
use mlplatform_protocol::{Access, Endpoint, Repeat, headers};

use crate::{
    basic::Basic,
    context::context,
    credential,
    header::single,
    input::{self, Read},
    outgoing,
    refusal::refusal,
};

/// A request of a known kind, let in and understood.
pub(crate) struct Call<E: Endpoint> {
    pub(crate) app: App,
    pub(crate) context: Arc<RequestContext>,
    pub(crate) request: E::Request,
    pub(crate) key: Option<Key>,
    /// Of a route whose body is a form.
    pub(crate) basic: Option<Basic>,
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
    pub(crate) router: Router<App>,
    pub(crate) mounted: Vec<&'static str>,
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
    pub(crate) fn mount_stream<E, H, F>(self, handler: H) -> Self
    where
        E: Endpoint + 'static,
        H: Fn(Call<E>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response>> + Send + 'static,
    {
        self.mount_with(handler, refusal)
    }

    /// The same with errors of another form.
    pub(crate) fn mount_with<E, H, F>(mut self, handler: H, refusal: fn(Error) -> Response) -> Self
    where
        E: Endpoint + 'static,
        H: Fn(Call<E>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response>> + Send + 'static,
    {
        let Ok(method) = MethodFilter::try_from(E::ROUTE.method) else { return self };
        let respond = move |State(app): State<App>, request: Request| {
            let handler = handler.clone();
            async move { answer::<E, H, F>(app, request, handler).await.unwrap_or_else(refusal) }
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
    let context = context(request.extensions())?;
    let mut permit = Some(app.admission().request(&context)?);
    let caller = match route.access {
        Access::Public => None,
        Access::User | Access::Administrator => {
            let credential = credential::read(request.headers())?;
            Some(exchange::authenticate(&app, &context, &route, credential).await?)
        }
    };
    let key = match route.repeat {
        Repeat::Harmless => None,
        Repeat::Keyed => Key::read(
            single(request.headers(), headers::IDEMPOTENCY_KEY)?,
            single(request.headers(), headers::IDEMPOTENCY_ATTEMPT)?,
        )?,
    };
    let basic = if route.is_form() { Basic::read(request.headers())? } else { None };
    // Whoever sends a body takes as long as they like, and a public route reads anybody's: nobody else waits for them.
    if route.method == Method::POST {
        permit = None;
    }
    let Read { request, room } = input::read::<E>(&app, &context, request).await?;
    // Free again when the answer was taken, or the client has gone; but never while there is work.
    let permit = permit.map_or_else(|| app.admission().request(&context), Ok)?;
    let mut response = handler(Call { app, context, request, key, basic, caller, _room: room }).await?;
    outgoing::hold_permit(&mut response, permit);
    Ok(response)
}

fn success<E: Endpoint>(answer: E::Response) -> Result<Response> {
    let status = StatusCode::from_u16(E::ROUTE.success).map_err(|_| Error::Fault("a route's success is no status"))?;
    Ok(if status == StatusCode::NO_CONTENT { status.into_response() } else { (status, Json(answer)).into_response() })
}
