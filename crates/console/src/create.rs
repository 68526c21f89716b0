//! Making an access token directly: a form, and the one page that ever shows its value.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::html;
use mlplatform_platform::{
    error::{Error, Result},
    idempotency::Key,
    tokens::create::{self, CreateTokenRequest},
};
use mlplatform_protocol::{ErrorCode, tokens::CreatedRefreshToken};

use crate::{
    confirm::{self, Sensitive},
    fields::{Problems, Sent, conflict, lifetime_field, name_field, role_field},
    layout::{self, Page, Section},
    texts::T,
    visitor::{Administrator, Answer, Visitor},
};

pub(crate) async fn page(Administrator(visitor): Administrator) -> Answer {
    Ok(form(&visitor, StatusCode::OK, &Sent::fresh()?, &Problems::default()))
}

fn form(visitor: &Visitor, status: StatusCode, sent: &Sent, problems: &Problems) -> Response {
    let main = html! {
        section.window {
            h1 { (T.create_access_token) }
            p.lead { (T.create_lead) }
            @if problems.any() { (layout::problem(&html! { (T.not_created) })) }
            form method="post" action="/tokens/new" data-once {
                (layout::form_token(visitor))
                (layout::nonce_field(&sent.nonce))
                (name_field(T.name, T.name_hint, &sent.name, problems.name.as_deref(), !visitor.prompt.is_wrong()))
                (role_field(&sent.role, problems.role.as_deref()))
                (lifetime_field(T.lifetime, sent, problems.lifetime.as_deref()))
                (confirm::field(visitor))
                div.buttons {
                    button.primary type="submit" { (T.create) }
                    a.button href="/tokens" { (T.cancel) }
                }
            }
        }
    };
    let page = Page { title: T.create_access_token, visitor: Some(visitor), section: Some(Section::Tokens), main };
    (status, page).into_response()
}

fn read(sent: &Sent) -> Result<CreateTokenRequest, Problems> {
    match (sent.name(), sent.role(), sent.lifetime()) {
        (Ok(name), Ok(role), Ok(lifetime)) => Ok(CreateTokenRequest { name, role, lifetime }),
        (name, role, lifetime) => {
            Err(Problems { name: name.err(), role: role.err(), lifetime: lifetime.err(), redeem: None })
        }
    }
}

pub(crate) async fn create(Administrator(mut visitor): Administrator, sent: Sensitive<Sent>) -> Answer {
    let sent = match sent.confirmed(&mut visitor, "create_token").await? {
        Ok(sent) => sent,
        Err(asked) => {
            let page = form(&visitor, StatusCode::OK, &asked.fields, &Problems::default());
            return Ok(asked.on(page));
        }
    };
    let bad = |status, problems: Problems| Ok(form(&visitor, status, &sent, &problems));
    let request = match read(&sent) {
        Ok(request) => request,
        Err(problems) => return bad(StatusCode::BAD_REQUEST, problems),
    };
    let Visitor { app, context, caller, .. } = &visitor;
    let key = Key::of_form(&sent.nonce);
    match create::create_token(app, context, caller, &key, request).await {
        Ok(made) => Ok(shown(&visitor, &made)),
        Err(Error::Refused { code: ErrorCode::Conflict, field, .. }) => {
            if let Some(id) = create::made_with(app, caller, &key).await? {
                return Ok(made_before(&visitor, &id));
            }
            let name = Some(conflict(app, sent.name.trim(), field).await?);
            bad(StatusCode::CONFLICT, Problems { name, ..Problems::default() })
        }
        Err(Error::Refused { code: ErrorCode::BadRequest, field, .. }) => {
            // Of the field that the text begins with.
            let problems = match field.split_once(": ") {
                Some(("refresh_ttl", text)) => Problems { lifetime: Some(text.to_owned()), ..Problems::default() },
                Some(("name", text)) => Problems { name: Some(text.to_owned()), ..Problems::default() },
                _ => Problems { lifetime: Some(field), ..Problems::default() },
            };
            bad(StatusCode::BAD_REQUEST, problems)
        }
        Err(error) => Err(error.into()),
    }
}

fn shown(visitor: &Visitor, made: &CreatedRefreshToken) -> Response {
    let main = html! {
        section.window {
            h1 { (T.created_title) }
            p.lead { (layout::with_name(T.created_lead, &made.info.name)) }
            (layout::secret("value", T.access_token, made.refresh_token.expose()))
            (layout::caution(&html! { (T.shown_once) }))
            dl.facts {
                div { dt { (T.role) } dd { (layout::role(&made.info.role)) } }
                div { dt { (T.expires) } dd { (layout::time_or(made.info.exp, T.never)) } }
            }
            div.buttons { a.button.primary href="/tokens" { (T.ready) } }
        }
    };
    let page = Page { title: T.created_title, visitor: Some(visitor), section: Some(Section::Tokens), main };
    (StatusCode::CREATED, page).into_response()
}

/// The form was sent again: by a reload, a second click, the way back.
fn made_before(visitor: &Visitor, id: &str) -> Response {
    let main = html! {
        section.window {
            h1 { (T.made_before_title) }
            p { (T.made_before_lead) }
            p { (T.made_before_what) }
            div.buttons {
                a.button.primary href="/tokens" { (T.ready) }
                a.button href={ "/tokens/" (id) "/rotate" } { (T.rotate) }
                a.button href={ "/tokens/" (id) "/delete" } { (T.delete) }
            }
        }
    };
    let page = Page { title: T.made_before_title, visitor: Some(visitor), section: Some(Section::Tokens), main };
    (StatusCode::CONFLICT, page).into_response()
}
