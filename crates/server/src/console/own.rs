//! The token that somebody is signed in with, and where the console begins.

use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use mlplatform_protocol::{Access, Open, Role};

use super::{
    layout::{self, Page, Section},
    texts::T,
    visitor::{Answer, Visitor},
};

/// An Administrator begins with everybody's tokens, a User with its own.
pub(super) async fn start(visitor: Visitor) -> Response {
    Redirect::to(if visitor.caller.may(Access::Administrator) { "/tokens" } else { "/me" }).into_response()
}

pub(super) async fn page(visitor: Visitor) -> Answer {
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
    };
    Ok(Page { title: T.own_token, visitor: Some(&visitor), section: Some(Section::Own), main }.into_response())
}
