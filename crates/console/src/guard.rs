//! Request checks (host, origin) and security headers of every page: it is asked for at an address of ours, its forms
//! come from pages of ours, and no other page may show, frame or read it.

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use mlplatform_api::{context::context, input, outgoing, refusal::refusal};
use mlplatform_platform::{
    concurrency::Permit,
    error::{Error, Result},
    request::RequestContext,
};
use mlplatform_protocol::ErrorCode;

use crate::state::Console;

/// The largest form: names and tokens are a hundredth of it.
const LARGEST_FORM: usize = 16 * 1024;

/// The origin that a request was sent to, once it was found to be ours.
#[derive(Clone, Debug)]
pub(crate) struct Origin(pub(crate) String);

/// Before anything else is looked at.
pub(crate) async fn check(State(console): State<Console>, mut request: Request, next: Next) -> Response {
    let Some(origin) = console.site.origin(request.uri(), request.headers()) else {
        let text = "the console does not answer to this address: open the one that the platform printed when it \
                    started, or start it with --public-url and the address that you use";
        return refusal(Error::refused(ErrorCode::BadRequest, text));
    };
    if request.method() != Method::GET
        && request.method() != Method::HEAD
        && !console.site.is_from_here(&origin, request.headers())
    {
        let text = "this form was not sent from a page of the console: nothing was done";
        return refusal(Error::refused(ErrorCode::Forbidden, text));
    }
    request.extensions_mut().insert(Origin(origin));
    next.run(request).await
}

/// A page takes its place among the requests that are worked on, as those of the API do. A form is read before that:
/// whoever sends one slowly keeps nobody out.
pub(crate) async fn admit(State(console): State<Console>, request: Request, next: Next) -> Response {
    let admitted = async {
        let context = context(request.extensions())?;
        let (request, room) = if request.method() == Method::POST {
            let (request, room) = read(&console, &context, request).await?;
            (request, Some(room))
        } else {
            (request, None)
        };
        Ok::<_, Error>((request, room, console.app.admission().request(&context)?))
    };
    match admitted.await {
        Ok((request, _room, permit)) => {
            let mut response = next.run(request).await;
            outgoing::hold_permit(&mut response, permit);
            response
        }
        Err(error) => refusal(error),
    }
}

async fn read(console: &Console, context: &RequestContext, request: Request) -> Result<(Request, Permit)> {
    let (parts, body) = request.into_parts();
    let length = input::content_length(&parts.headers);
    let (form, room) = input::read_body(&console.app, context, length, body, LARGEST_FORM).await?;
    Ok((Request::from_parts(parts, Body::from(form)), room))
}

/// The header of every answer, of the API's too, where the platform is reached by HTTPS.
pub(crate) fn set_hsts(headers: &mut HeaderMap) {
    let year = HeaderValue::from_static("max-age=31536000; includeSubDomains");
    headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
}

const PAGE: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; \
         frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    // For browsers that do not know frame-ancestors.
    (header::X_FRAME_OPTIONS, "DENY"),
    // `no-referrer` would make the browser send forms with `Origin: null`.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=(), clipboard-read=(), clipboard-write=(self)",
    ),
    (HeaderName::from_static("x-robots-tag"), "noindex"),
];

/// The headers of every page, errors included. (That nothing of it is stored, the outermost layer says.)
pub(crate) fn set_page_headers(headers: &mut HeaderMap) {
    for (name, value) in PAGE {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
