//! Rotating a token: a new value under the old name. An Administrator rotates any, a User its own.

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use maud::{Markup, html};
use mlplatform_platform::{
    error::Error,
    idempotency::Key,
    sessions::exchange,
    tokens::{rotate, search},
};
use mlplatform_protocol::{
    Access, ErrorCode, TokenInfo, TokenName,
    tokens::{RotateTokenRequest, RotatedToken},
};

use crate::{
    confirm::{self, Sensitive},
    fields::{Sent, either},
    layout::{self, Page, Section},
    texts::T,
    tokens::gone,
    visitor::{Answer, Failure, Visitor},
};

/// The token that the page is about, if the visitor may rotate it.
async fn found(visitor: &Visitor, id: &str, action: &'static str) -> Result<Option<TokenInfo>, Failure> {
    if id != visitor.caller.id() {
        let Visitor { app, context, caller, .. } = visitor;
        exchange::require(app, context, caller, Access::Administrator, action).await?;
    }
    Ok(search::living_token(&visitor.app, id).await?)
}

/// Where the visitor came from.
fn home(visitor: &Visitor) -> (&'static str, Section) {
    if visitor.caller.may(Access::Administrator) { ("/tokens", Section::Tokens) } else { ("/me", Section::Own) }
}

pub(crate) async fn page(visitor: Visitor, Path(id): Path<String>) -> Answer {
    let Some(info) = found(&visitor, &id, "open_page").await? else { return Ok(gone(&visitor)) };
    let sent = Sent { number: "24".to_owned(), unit: "h".to_owned(), ..Sent::fresh()? };
    Ok(form(&visitor, StatusCode::OK, &info, &sent, None))
}

/// What is wrong is with the overlap.
fn form(visitor: &Visitor, status: StatusCode, info: &TokenInfo, sent: &Sent, problem: Option<&str>) -> Response {
    let (home, _) = home(visitor);
    let own = info.id == visitor.caller.id();
    let main = html! {
        section.window {
            h1 { (layout::with_name(T.rotate_title, &info.name)) }
            p { (T.rotate_lead) }
            @if own { (layout::caution(&html! { (T.rotate_own) })) }
            form method="post" action={ "/tokens/" (info.id) "/rotate" } data-once {
                (layout::form_token(visitor))
                (layout::nonce_field(&sent.nonce))
                (either(T.old_value, [T.ends_at_once, T.ends_at_once_hint, T.ends_later], sent, problem))
                (confirm::field(visitor))
                div.buttons {
                    button.primary type="submit" { (T.rotate) }
                    a.button href=(home) { (T.cancel) }
                }
            }
        }
    };
    window(visitor, status, &layout::naming(T.rotate_title, &info.name), main)
}

fn window(visitor: &Visitor, status: StatusCode, title: &str, main: Markup) -> Response {
    let (_, section) = home(visitor);
    (status, Page { title, visitor: Some(visitor), section: Some(section), main }).into_response()
}

pub(crate) async fn rotate(mut visitor: Visitor, Path(id): Path<String>, sent: Sensitive<Sent>) -> Answer {
    let Some(info) = found(&visitor, &id, "send_form").await? else { return Ok(gone(&visitor)) };
    let sent = match sent.confirmed(&mut visitor, "rotate_token").await? {
        Ok(sent) => sent,
        Err(asked) => {
            let page = form(&visitor, StatusCode::OK, &info, &asked.fields, None);
            return Ok(asked.on(page));
        }
    };
    let bad = |status, text: &str| Ok(form(&visitor, status, &info, &sent, Some(text)));
    let overlap = match sent.lifetime() {
        Ok(overlap) => overlap,
        Err(text) => return bad(StatusCode::BAD_REQUEST, &text),
    };
    let Ok(token_name) = TokenName::new(&info.name) else { return Ok(gone(&visitor)) };
    let Visitor { app, context, caller, .. } = &visitor;
    let key = Key::of_form(&sent.nonce);
    let request = RotateTokenRequest { token_name, overlap };
    match rotate::rotate_token(app, context, caller, Some(&key), request).await {
        Ok(made) => Ok(shown(&visitor, &made)),
        Err(Error::Refused { code: ErrorCode::Conflict, field, .. }) => {
            if rotate::made_with(app, caller, &key).await? {
                return Ok(made_before(&visitor));
            }
            bad(StatusCode::CONFLICT, &field)
        }
        Err(Error::Refused { code: ErrorCode::BadRequest, field, .. }) => bad(StatusCode::BAD_REQUEST, &field),
        Err(Error::Refused { code: ErrorCode::NotFound, .. }) => Ok(gone(&visitor)),
        Err(error) => Err(error.into()),
    }
}

fn shown(visitor: &Visitor, made: &RotatedToken) -> Response {
    let (home, _) = home(visitor);
    let main = html! {
        section.window {
            h1 { (T.rotated_title) }
            p.lead { (layout::with_name(T.rotated_lead, &made.info.name)) }
            (layout::secret("value", T.access_token, made.refresh_token.expose()))
            (layout::caution(&html! { (T.shown_once) }))
            div.buttons { a.button.primary href=(home) { (T.ready) } }
        }
    };
    window(visitor, StatusCode::CREATED, T.rotated_title, main)
}

fn made_before(visitor: &Visitor) -> Response {
    let (home, _) = home(visitor);
    let main = html! {
        section.window {
            h1 { (T.rotated_before_title) }
            p { (T.rotated_before_lead) }
            div.buttons { a.button.primary href=(home) { (T.ready) } }
        }
    };
    window(visitor, StatusCode::CONFLICT, T.rotated_before_title, main)
}
