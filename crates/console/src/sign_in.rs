//! Signing in, with a token or with a link of `mlplatform-server open`, and out.

use axum::{
    extract::Query,
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use maud::{Markup, html};
use mlplatform_platform::{error::Error, sessions::sign_in};
use mlplatform_protocol::{
    ErrorCode, Secret, TokenKind,
    token::{Shape, shape},
};
use serde::Deserialize;

use crate::{
    layout::{self, Page},
    site::Site,
    texts::T,
    visitor::{Anonymous, Answer, Failure, Form, OpenForm, Visitor, set_cookie},
};

/// Where somebody wanted to go.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    next: String,
    /// A form was sent after the session had ended.
    lost: Option<String>,
    out: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
}

pub(crate) async fn page(anonymous: Anonymous, headers: HeaderMap, Query(way): Query<Params>) -> Answer {
    if let Some(session) = &anonymous.session
        && sign_in::signed_in(&anonymous.app, &anonymous.context, session).await?.is_some()
    {
        return Ok(Redirect::to(local(&way.next)).into_response());
    }
    let message = if way.lost.is_some() {
        layout::caution(&html! { (T.form_lost) })
    } else if way.out.is_some() {
        layout::done(T.signed_out)
    } else if local(&way.next) != "/" {
        layout::caution(&html! { (T.session_ended) })
    } else {
        html! {}
    };
    let mut response = form(StatusCode::OK, message, &way.next);
    if anonymous.session.is_none()
        && is_from_notebook(&headers, &way.next)
        && let Ok(again) = HeaderValue::from_str(&format!("0; url={}", way.next))
    {
        response.headers_mut().insert(header::REFRESH, again);
    }
    Ok(response)
}

/// A job's `ui_url` is followed from notebooks, which are mostly pages of another site: browsers then keep the cookie to
/// themselves, and whoever is signed in would be asked for the token. A second look from this page brings the cookie.
fn is_from_notebook(headers: &HeaderMap, next: &str) -> bool {
    let cross = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    cross && local(next).starts_with("/clusters/")
}

fn form(status: StatusCode, message: Markup, next: &str) -> Response {
    let main = html! {
        section.window.narrow {
            h1 { (T.sign_in) }
            p.lead { (T.sign_in_lead) }
            (message)
            form method="post" action="/sign-in" {
                input type="hidden" name="next" value=(next);
                // What password managers file the token under.
                input type="text" name="username" value=(T.product) autocomplete="username" hidden;
                div.field {
                    label for="token" { (T.access_token) }
                    input #token type="password" name="token" autocomplete="current-password" spellcheck="false"
                        autocapitalize="none" required autofocus aria-describedby="where";
                }
                div.buttons { button.primary type="submit" { (T.sign_in) } }
            }
            p.hint #where { (layout::with_code(T.sign_in_where)) }
        }
    };
    (status, Page { title: T.sign_in, visitor: None, section: None, main }).into_response()
}

pub(crate) async fn with_token(anonymous: Anonymous, OpenForm(sent): OpenForm<Token>) -> Answer {
    let refused = |status, text| Ok(form(status, layout::problem(&html! { (text) }), &sent.next));
    let token = Secret::from_pasted(&sent.token);
    if let Some(text) = unlike_access_token(&token) {
        return refused(StatusCode::BAD_REQUEST, text);
    }
    match sign_in::sign_in(&anonymous.app, &anonymous.context, &token).await {
        Ok(session) => signed_in(&anonymous, &session, local(&sent.next)).await,
        Err(Error::Refused { code: ErrorCode::Forbidden, .. }) => refused(StatusCode::FORBIDDEN, T.sign_in_refused),
        Err(error) => Err(error.into()),
    }
}

/// What can be seen by looking at it is no attempt, and is told in the words that help.
pub(crate) fn unlike_access_token(value: &Secret) -> Option<&'static str> {
    match shape(value.expose()) {
        _ if value.expose().is_empty() => Some(T.sign_in_empty),
        Shape::Damaged(_) => Some(T.sign_in_damaged),
        Shape::Whole(TokenKind::Registration) => Some(T.sign_in_registration),
        Shape::Whole(TokenKind::Session) => Some(T.sign_in_session),
        Shape::Whole(TokenKind::Access) | Shape::Opaque => None,
    }
}

/// With a new session; one that the browser had before is ended.
async fn signed_in(anonymous: &Anonymous, session: &Secret, next: &str) -> Answer {
    if let Some(before) = &anonymous.session {
        sign_in::sign_out(&anonymous.app, &anonymous.context, before).await?;
    }
    Ok(with_cookie(&anonymous.site, Some(session), next))
}

fn with_cookie(site: &Site, session: Option<&Secret>, next: &str) -> Response {
    let mut response = Redirect::to(next).into_response();
    if let Ok(mut cookie) = HeaderValue::from_str(&set_cookie(site, session)) {
        cookie.set_sensitive(true);
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// Only a page of ours: whoever sends somebody a link to sign in must not choose where that ends.
fn local(next: &str) -> &str {
    let ours = ["/tokens", "/registration-tokens", "/audit", "/me", "/clusters"];
    let page =
        |page: &&str| next.strip_prefix(*page).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    // No path with two slashes, a backslash or a control character: browsers read hosts out of them.
    let plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') && !next.contains("//");
    if plain && ours.iter().any(page) { next } else { "/" }
}

#[derive(Deserialize)]
pub(crate) struct Code {
    #[serde(default)]
    code: String,
}

/// Asks first: what fetches links ahead of people must not use up the code, and nobody is signed in unawares.
pub(crate) async fn code_page(Query(sent): Query<Code>) -> Answer {
    let main = html! {
        section.window.narrow {
            h1 { (T.code_title) }
            p.lead { (T.code_lead) }
            form method="post" action="/open" {
                input type="hidden" name="code" value=(sent.code);
                div.buttons { button.primary type="submit" autofocus { (T.code_continue) } }
            }
        }
    };
    Ok(Page { title: T.code_title, visitor: None, section: None, main }.into_response())
}

pub(crate) async fn with_code(anonymous: Anonymous, OpenForm(sent): OpenForm<Code>) -> Answer {
    let code = Secret::from_pasted(&sent.code);
    match sign_in::sign_in_with_code(&anonymous.app, &anonymous.context, &code).await {
        Ok(session) => signed_in(&anonymous, &session, "/").await,
        Err(Error::Refused { code: ErrorCode::Forbidden, .. }) => {
            Ok(form(StatusCode::FORBIDDEN, layout::problem(&html! { (T.code_refused) }), ""))
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Deserialize)]
pub(crate) struct EmptyForm {}

pub(crate) async fn sign_out(anonymous: Anonymous, _: Visitor, _: Form<EmptyForm>) -> Answer {
    let session = anonymous.session.as_ref().ok_or(Failure::Elsewhere("/sign-in".to_owned()))?;
    sign_in::sign_out(&anonymous.app, &anonymous.context, session).await?;
    Ok(signed_out(&anonymous.site))
}

/// To the page for signing in, without the cookie.
pub(crate) fn signed_out(site: &Site) -> Response {
    with_cookie(site, None, "/sign-in?out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_ours_follow() {
        for next in ["/tokens", "/tokens/new", "/tokens?q=a%20b", "/audit", "/me", "/clusters/a/b/jobs/"] {
            assert_eq!(local(next), next);
        }
        for next in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/tokensx",
            "/sign-out",
            "/tokens//x",
            "/me\n",
        ] {
            assert_eq!(local(next), "/", "{next:?}");
        }
    }
}
