//! The page of one's own token, and the redirect from `/`.

use axum::{
    extract::Query,
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use mlplatform_platform::sessions::sign_in::{self, BrowserSession};
use mlplatform_protocol::{Access, Open, Role};
use serde::Deserialize;

use crate::{
    confirm::{self, Sensitive},
    layout::{self, Page, Section},
    sign_in::EmptyForm,
    texts::T,
    visitor::{Answer, Visitor},
};

/// An Administrator begins with everybody's tokens, a User with its own.
pub(crate) async fn start(visitor: Visitor) -> Response {
    Redirect::to(if visitor.caller.may(Access::Administrator) { "/tokens" } else { "/me" }).into_response()
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    /// The other browsers were just signed out.
    alone: Option<String>,
}

pub(crate) async fn page(visitor: Visitor, Query(asked): Query<Params>) -> Answer {
    let browsers = sign_in::browsers(&visitor.app, &visitor.caller).await?;
    let info = visitor.caller.info();
    let may = match info.role {
        Open::Known(Role::Administrator) => T.administrator_may,
        Open::Known(Role::User) => T.user_may,
        Open::Unknown(_) => "",
    };
    let main = html! {
        header.head {
            div { h1 { (T.own_token) } p.lead { (T.own_lead) } }
            a.button href={ "/tokens/" (info.id) "/rotate" } { (T.rotate) }
        }
        @if asked.alone.is_some() && browsers.len() == 1 { (layout::done(T.others_signed_out)) }
        (layout::own_expiry(&visitor))
        section.card {
            dl.facts {
                div { dt { (T.name) } dd { bdi { (info.name) } } }
                div { dt { (T.id) } dd { code { (info.id) } } }
                div { dt { (T.role) } dd { (layout::role(&info.role)) p.hint { (may) } } }
                div { dt { (T.created) } dd { (layout::time(info.created_at)) } }
                div { dt { (T.expires) } dd { (layout::expiry(info.exp, visitor.app.clock().now())) } }
                div { dt { (T.last_used) } dd { (layout::last_used(info)) } }
                div { dt { (T.issued_by) } dd { bdi { (info.issuer_name) } } }
            }
        }
        (signed_in(&browsers))
    };
    Ok(Page { title: T.own_token, visitor: Some(&visitor), section: Some(Section::Own), main }.into_response())
}

/// The browsers that are signed in with this token.
fn signed_in(browsers: &[BrowserSession]) -> Markup {
    html! {
        div.head.below {
            h2 #browsers { (T.browsers) }
            @if browsers.len() > 1 {
                a.button href="/me/sign-out-others" { (T.sign_out_others) }
            }
        }
        section.card aria-labelledby="browsers" {
            dl.facts {
                @for browser in browsers {
                    div {
                        dt { (if browser.this { T.this_browser } else { T.another_browser }) }
                        dd {
                            (T.browser_since) " " (layout::time(browser.since))
                            @if !browser.this { p.hint { (T.last_used) " " (layout::time(browser.last_seen)) } }
                        }
                    }
                }
            }
        }
    }
}

pub(crate) async fn confirm_sign_out_others(visitor: Visitor) -> Answer {
    Ok(others(&visitor))
}

fn others(visitor: &Visitor) -> Response {
    let main = html! {
        section.window {
            h1 { (T.sign_out_others_title) }
            p { (T.sign_out_others_effect) }
            form method="post" action="/me/sign-out-others" {
                (layout::form_token(visitor))
                (confirm::field(visitor))
                div.buttons {
                    button.danger type="submit" { (T.confirm) }
                    a.button href="/me" { (T.cancel) }
                }
            }
        }
    };
    let title = T.sign_out_others_title;
    Page { title, visitor: Some(visitor), section: Some(Section::Own), main }.into_response()
}

pub(crate) async fn sign_out_others(mut visitor: Visitor, sent: Sensitive<EmptyForm>) -> Answer {
    if let Err(asked) = sent.confirmed(&mut visitor, "sign_out").await? {
        return Ok(asked.on(others(&visitor)));
    }
    sign_in::sign_out_others(&visitor.app, &visitor.context, &visitor.caller).await?;
    Ok(Redirect::to("/me?alone").into_response())
}
