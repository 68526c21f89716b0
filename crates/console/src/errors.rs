//! Error pages. The whole server answers with the envelope of the contract; for whoever reads pages, and asked for
//! something that is none of the contract's, this layer puts a page in its place.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header};
use maud::html;
use mlplatform_platform::request::RequestContext;
use mlplatform_protocol::{ErrorBody, ErrorCode, routes};

use crate::{guard, layout::Page, site::Site, texts::T};

/// Around everything, so that a refusal by any layer becomes a page.
pub async fn error_pages(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let reads_pages = accepts_html(request.headers()) && !routes::is_below_one(request.uri().path());
    let context = request.extensions().get::<Arc<RequestContext>>().cloned();
    let response = next.run(request).await;
    let is_page = |headers: &HeaderMap| {
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
    };
    // What the framework refuses by itself has a status alone.
    let bare = || ErrorBody { status: response.status().as_u16(), ..ErrorBody::new(ErrorCode::BadRequest, "") };
    let body = match response.extensions().get::<ErrorBody>() {
        None if response.status().as_u16() >= 400 && !is_page(response.headers()) => Some(bare()),
        body => body.cloned(),
    };
    let mut response = match &body {
        Some(body) if reads_pages => {
            let page = page(body, context.as_deref());
            let mut paged = page.into_response();
            *paged.status_mut() = response.status();
            for (name, value) in response.headers() {
                if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
                    paged.headers_mut().insert(name, value.clone());
                }
            }
            paged
        }
        _ => response,
    };
    if is_page(response.headers()) {
        guard::set_page_headers(response.headers_mut());
    }
    if site.is_secure() {
        guard::set_hsts(response.headers_mut());
    }
    response
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

fn page(body: &ErrorBody, context: Option<&RequestContext>) -> Response {
    let (title, text) = match body.status {
        400 => (T.error_bad_request, body.field().unwrap_or_default()),
        403 => (T.error_forbidden, T.error_forbidden_text),
        404 | 405 => (T.error_not_found, T.error_not_found_text),
        408 | 413 | 415 => (T.error_form, T.error_form_text),
        409 => (T.error_conflict, body.field().unwrap_or_default()),
        429 => (T.error_too_many, T.error_too_many_text),
        503 => (T.error_busy, T.error_busy_text),
        _ => (T.error_failed, T.error_failed_text),
    };
    let main = html! {
        section.window {
            h1 { (title) }
            p { (text) }
            @if body.status == 403 { p.hint { (body.field().unwrap_or_default()) } }
            @if body.status >= 500 && let Some(context) = context { p.hint { (T.request_id) " " code { (context.request_id()) } } }
            p.buttons { a.button href="/" { (T.back_to_start) } }
        }
    };
    Page { title, visitor: None, section: None, main }.into_response()
}
