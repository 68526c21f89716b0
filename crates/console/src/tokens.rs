//! The list of access tokens, and deleting one.

use axum::{
    extract::{Path, Query},
    response::{IntoResponse, Redirect, Response},
};
use http::StatusCode;
use maud::{Markup, html};
use mlplatform_platform::tokens::{
    access,
    search::{self, PagePosition, ResultPage, Search, TokenFilter},
};
use mlplatform_protocol::TokenInfo;
use serde::Deserialize;

use crate::{
    confirm::{self, Sensitive},
    layout::{self, FIRST_WARNING_DAYS, Icon, Page, Section, icon},
    links, sign_in,
    texts::{T, fill},
    visitor::{Administrator, Anonymous, Answer, Visitor},
};

/// Rows on a page: a screen or two.
pub(crate) const ROWS: usize = 25;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    q: String,
    /// Only those that end soon.
    ending: String,
    newer: String,
    older: String,
    /// Id of a token that was just deleted.
    deleted: String,
}

/// A place in a list, as the links of [`layout::pager`] carry it. What is none is the beginning.
pub(crate) fn place(newer: &str, older: &str) -> PagePosition {
    match (newer.parse(), older.parse()) {
        (Ok(newer), _) => PagePosition::NewerThan(newer),
        (_, Ok(older)) => PagePosition::OlderThan(older),
        _ => PagePosition::Newest,
    }
}

pub(crate) async fn list(Administrator(visitor): Administrator, Query(asked): Query<Params>) -> Answer {
    let app = &visitor.app;
    let soon = search::in_days(app, FIRST_WARNING_DAYS);
    let text: String = asked.q.trim().chars().take(64).collect();
    let ending = !asked.ending.is_empty();
    let what = Search {
        text: text.clone(),
        only: if ending { TokenFilter::EndingBefore(soon) } else { TokenFilter::Living },
        place: place(&asked.newer, &asked.older),
        limit: ROWS,
    };
    let found = search::search_tokens(app, &what).await?;
    let count = if ending { 0 } else { search::count_ending(app, soon).await? };
    let deleted = if asked.deleted.is_empty() { None } else { search::deleted_name(app, &asked.deleted).await? };
    let filter: [(&str, &str); 2] = [("q", text.as_str()), ("ending", if ending { "1" } else { "" })];
    let days = FIRST_WARNING_DAYS.to_string();
    let main = html! {
        header.head {
            div { h1 { (T.tokens) } p.lead { (T.tokens_lead) } }
            a.button.primary href="/tokens/new" { (icon(Icon::Plus)) (T.create_access_token) }
        }
        @if let Some(name) = deleted { (layout::done(&layout::naming(T.deleted, &name))) }
        (layout::own_expiry(&visitor))
        @if count > 0 { (ending_soon(count, &days)) }
        (layout::search_form("/tokens", T.search_tokens, &text, filter[1]))
        @if ending { p.filter { (fill(T.only_ending, "{days}", &days)) " · " a href="/tokens" { (T.show_all) } } }
        @if found.items.is_empty() { (empty(&text, ending)) } @else { (table(&visitor, &found)) }
        (layout::pager("/tokens", &filter, &found))
    };
    Ok(Page { title: T.tokens, visitor: Some(&visitor), section: Some(Section::Tokens), main }.into_response())
}

fn ending_soon(count: i64, days: &str) -> Markup {
    let text = match count {
        1 => T.ending_soon_one,
        search::COUNTED => T.ending_soon_many,
        _ => T.ending_soon,
    };
    let text = fill(&fill(text, "{days}", days), "{count}", &count.to_string());
    layout::caution(&html! { (text) " " a href="/tokens?ending=1" { (T.show_them) } })
}

fn empty(text: &str, ending: bool) -> Markup {
    let said = if !text.is_empty() {
        layout::naming(T.nothing_found, text)
    } else if ending {
        T.nothing_ends.to_owned()
    } else {
        T.no_more_tokens.to_owned()
    };
    html! { p.empty { (said) } }
}

fn table(visitor: &Visitor, found: &ResultPage<TokenInfo>) -> Markup {
    let now = visitor.app.clock().now();
    let heads = [T.name, T.role, T.created, T.expires, T.last_used, T.issued_by];
    html! {
        table role="table" {
            caption.hidden { (T.tokens) }
            (layout::table_head(&heads))
            tbody role="rowgroup" {
                @for info in &found.items {
                    tr role="row" {
                        th scope="row" role="rowheader" {
                            bdi.title { (info.name) }
                            @if info.id == visitor.caller.id() { " " span.badge { (T.you) } }
                            code { (info.id) }
                        }
                        td role="cell" data-label=(T.role) { (layout::role(&info.role)) }
                        td role="cell" data-label=(T.created) { (layout::time(info.created_at)) }
                        td role="cell" data-label=(T.expires) { (layout::expiry(info.exp, now)) }
                        td role="cell" data-label=(T.last_used) { (layout::last_used(info)) }
                        td role="cell" data-label=(T.issued_by) { bdi { (info.issuer_name) } }
                        td.actions role="cell" {
                            @let path = format!("/tokens/{}", info.id);
                            (layout::menu(&info.name, &[
                                (&format!("{path}/rotate"), T.rotate, false),
                                (&format!("{path}/delete"), T.delete, true),
                            ]))
                        }
                    }
                }
            }
        }
    }
}

pub(crate) async fn confirm_delete(Administrator(visitor): Administrator, Path(id): Path<String>) -> Answer {
    let Some(info) = search::living_token(&visitor.app, &id).await? else { return Ok(gone(&visitor)) };
    Ok(deletion(&visitor, &info))
}

fn deletion(visitor: &Visitor, info: &TokenInfo) -> Response {
    let main = html! {
        section.window {
            h1 { (layout::with_name(T.delete_title, &info.name)) }
            p { (T.delete_effect) }
            p { (T.delete_issued) }
            @if info.id == visitor.caller.id() { (layout::caution(&layout::with_code(T.delete_own))) }
            dl.facts {
                div { dt { (T.id) } dd { code { (info.id) } } }
                div { dt { (T.role) } dd { (layout::role(&info.role)) } }
                div { dt { (T.issued_by) } dd { bdi { (info.issuer_name) } } }
            }
            form method="post" action={ "/tokens/" (info.id) "/delete" } {
                (layout::form_token(visitor))
                (confirm::field(visitor))
                div.buttons {
                    button.danger type="submit" { (T.confirm) }
                    a.button href="/tokens" { (T.cancel) }
                }
            }
        }
    };
    let title = layout::naming(T.delete_title, &info.name);
    Page { title: &title, visitor: Some(visitor), section: Some(Section::Tokens), main }.into_response()
}

pub(crate) async fn delete(
    anonymous: Anonymous,
    Administrator(mut visitor): Administrator,
    Path(id): Path<String>,
    sent: Sensitive<sign_in::EmptyForm>,
) -> Answer {
    if let Err(asked) = sent.confirmed(&mut visitor, "delete_token").await? {
        let Some(info) = search::living_token(&visitor.app, &id).await? else { return Ok(gone(&visitor)) };
        return Ok(asked.on(deletion(&visitor, &info)));
    }
    access::delete_token_by_id(&visitor.app, &visitor.context, &visitor.caller, &id).await?;
    if id == visitor.caller.id() {
        return Ok(sign_in::signed_out(&anonymous.site));
    }
    let query = links::query_string([("deleted", id.as_str())].into_iter());
    Ok(Redirect::to(&format!("/tokens?{query}")).into_response())
}

/// Instead of a page about a token that has ended.
pub(crate) fn gone(visitor: &Visitor) -> Response {
    let main = html! {
        section.window {
            h1 { (T.token_gone_title) }
            p { (T.token_gone) }
            p.buttons { a.button href="/" { (T.back_to_start) } }
        }
    };
    let page = Page { title: T.token_gone_title, visitor: Some(visitor), section: Some(Section::Tokens), main };
    (StatusCode::NOT_FOUND, page).into_response()
}
