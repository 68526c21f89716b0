//! Registration tokens: the list with what became of them, making one, withdrawing one.

use axum::{
    extract::{Path, Query},
    response::{IntoResponse, Redirect, Response},
};
use http::StatusCode;
use maud::{Markup, html};
use mlplatform_platform::{
    error::{Error, Result},
    idempotency::Key,
    tokens::{
        registration,
        search::{self, RegistrationFilter, ResultPage, Search},
    },
};
use mlplatform_protocol::{
    ErrorCode, Open, RegisterTokenInfo, RegisterTokenState, TokenId,
    tokens::{CreateRegisterTokenRequest, CreatedRegisterToken, DeleteRegisterTokenRequest},
};
use serde::Deserialize;

use crate::{
    confirm::{self, Sensitive},
    fields::{Problems, Sent, conflict, duration, field_problem, lifetime_field, name_field, role_field},
    layout::{self, FIRST_WARNING_DAYS, Icon, Page, Section, icon},
    links, sign_in,
    texts::{T, fill, plural},
    tokens::{ROWS, place},
    visitor::{Administrator, Answer, Visitor},
};

const PATH: &str = "/registration-tokens";

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    q: String,
    show: String,
    newer: String,
    older: String,
    /// Id of one that was just withdrawn.
    withdrawn: String,
}

/// The filters by the names that links give them.
const FILTERS: [(&str, RegistrationFilter); 3] = [
    ("", RegistrationFilter::All),
    ("waiting", RegistrationFilter::Waiting),
    ("replayed", RegistrationFilter::Replayed),
];

pub(crate) async fn list(Administrator(visitor): Administrator, Query(asked): Query<Params>) -> Answer {
    let app = &visitor.app;
    let text: String = asked.q.trim().chars().take(64).collect();
    let (show, only) = FILTERS.into_iter().find(|(name, _)| *name == asked.show).unwrap_or_default();
    let what = Search { text: text.clone(), only, place: place(&asked.newer, &asked.older), limit: ROWS };
    let found = search::search_register_tokens(app, &what).await?;
    let replayed = match only {
        RegistrationFilter::Replayed => 0,
        _ => search::count_replayed(app, search::in_days(app, -FIRST_WARNING_DAYS)).await?,
    };
    let withdrawn =
        if asked.withdrawn.is_empty() { None } else { search::register_token(app, &asked.withdrawn).await? };
    let withdrawn = withdrawn.filter(|info| info.state == Open::Known(RegisterTokenState::Withdrawn));
    let filter = [("q", text.as_str()), ("show", show)];
    let main = html! {
        header.head {
            div { h1 { (T.register_tokens) } p.lead { (T.register_lead) } }
            a.button.primary href="/registration-tokens/new" { (icon(Icon::Plus)) (T.create_registration_token) }
        }
        @if let Some(info) = withdrawn { (layout::done(&layout::naming(T.withdrawn_done, &info.client_name))) }
        @if replayed > 0 { (replayed_notice(replayed)) }
        div.tools {
            (layout::search_form(PATH, T.search_tokens, &text, ("show", show)))
            (filters(only, &text))
        }
        @if found.items.is_empty() { (empty(&text)) } @else { (table(&found)) }
        (layout::pager(PATH, &filter, &found))
    };
    let section = Some(Section::RegisterTokens);
    Ok(Page { title: T.register_tokens, visitor: Some(&visitor), section, main }.into_response())
}

fn replayed_notice(count: i64) -> Markup {
    let text = plural(T.replayed_notice_one, T.replayed_notice, count);
    let text = fill(&text, "{days}", &FIRST_WARNING_DAYS.to_string());
    let link = if count == 1 { T.show_one } else { T.show_them };
    layout::problem(&html! { (text) " " a href="/registration-tokens?show=replayed" { (link) } })
}

fn filters(only: RegistrationFilter, text: &str) -> Markup {
    let names = [T.all, T.only_waiting, T.only_replayed];
    html! {
        nav.filters aria-label=(T.filter) {
            ul {
                @for ((show, filter), name) in FILTERS.into_iter().zip(names) {
                    @let query = links::query_string([("q", text), ("show", show)].into_iter());
                    li { a href={ (PATH) "?" (query) } aria-current=[(filter == only).then_some("true")] { (name) } }
                }
            }
        }
    }
}

fn empty(text: &str) -> Markup {
    let said =
        if text.is_empty() { T.no_registration_tokens.to_owned() } else { layout::naming(T.nothing_found, text) };
    html! { p.empty { (said) } }
}

fn table(found: &ResultPage<RegisterTokenInfo>) -> Markup {
    let heads = [T.name, T.role, T.state, T.created, T.redeem_until, T.token_lifetime];
    html! {
        table role="table" {
            caption.hidden { (T.register_tokens) }
            (layout::table_head(&heads))
            tbody role="rowgroup" {
                @for info in &found.items {
                    tr role="row" {
                        th scope="row" role="rowheader" { bdi.title { (info.client_name) } code { (info.id) } }
                        td role="cell" data-label=(T.role) { (layout::role(&info.role)) }
                        td.whole role="cell" data-label=(T.state) { (state(info)) }
                        td role="cell" data-label=(T.created) {
                            (layout::time(info.created_at))
                            span.note { (T.by) " " bdi { (info.issuer_name) } }
                        }
                        td role="cell" data-label=(T.redeem_until) { (layout::time(info.exp)) }
                        td role="cell" data-label=(T.token_lifetime) { (layout::lifetime(info.refresh_ttl)) }
                        td.actions role="cell" {
                            @if info.state == Open::Known(RegisterTokenState::Waiting) {
                                @let path = format!("{PATH}/{}/withdraw", info.id);
                                (layout::menu(&info.client_name, &[(&path, T.withdraw, true)]))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The state with its receipt: when, from where; and whoever came second.
fn state(info: &RegisterTokenInfo) -> Markup {
    let badge = match &info.state {
        Open::Known(RegisterTokenState::Waiting) => html! { span.badge.strong { (T.waiting) } },
        Open::Known(RegisterTokenState::Redeemed) => html! { span.badge.good { (T.redeemed) } },
        Open::Known(RegisterTokenState::Expired) => html! { span.badge { (T.expired) } },
        Open::Known(RegisterTokenState::Withdrawn) => html! { span.badge { (T.withdrawn) } },
        Open::Unknown(name) => html! { span.badge { (name) } },
    };
    let replays = i64::try_from(info.replay_count).unwrap_or(i64::MAX);
    html! {
        (badge)
        @if let Some(at) = info.redeemed_at.or(info.withdrawn_at) {
            div.receipt { (layout::time(at)) }
        }
        @if let Some(address) = &info.redeemed_address { span.note { (layout::from_address(address)) } }
        @if replays > 0 {
            div.receipt {
                span.badge.danger { (icon(Icon::Warning)) (plural(T.replayed_once, T.replayed, replays)) }
                @if let Some(at) = info.last_replay_at { span.note { (T.replayed_last) " " (layout::time(at)) } }
            }
        }
    }
}

pub(crate) async fn page(Administrator(visitor): Administrator) -> Answer {
    Ok(form(&visitor, StatusCode::OK, &Sent::fresh()?, &Problems::default()))
}

fn form(visitor: &Visitor, status: StatusCode, sent: &Sent, problems: &Problems) -> Response {
    let main = html! {
        section.window {
            h1 { (T.create_registration_token) }
            p.lead { (T.create_registration_lead) }
            @if problems.any() { (layout::problem(&html! { (T.not_created) })) }
            form method="post" action="/registration-tokens/new" data-once {
                (layout::form_token(visitor))
                (layout::nonce_field(&sent.nonce))
                (name_field(T.access_token_name, T.name_hint, &sent.name, problems.name.as_deref(), !visitor.prompt.is_wrong()))
                (role_field(&sent.role, problems.role.as_deref()))
                (lifetime_field(T.access_token_lifetime, sent, problems.lifetime.as_deref()))
                fieldset.field aria-describedby="redeem-hint" {
                    legend { (T.redeem_within) }
                    p.hint #redeem-hint { (T.redeem_within_hint) }
                    (field_problem("redeem", problems.redeem.as_deref()))
                    (duration("redeem_number", "redeem_unit", &sent.redeem_number, &sent.redeem_unit, None))
                }
                (confirm::field(visitor))
                div.buttons {
                    button.primary type="submit" { (T.create) }
                    a.button href=(PATH) { (T.cancel) }
                }
            }
        }
    };
    window(visitor, status, T.create_registration_token, main)
}

fn window(visitor: &Visitor, status: StatusCode, title: &str, main: Markup) -> Response {
    let page = Page { title, visitor: Some(visitor), section: Some(Section::RegisterTokens), main };
    (status, page).into_response()
}

fn read(sent: &Sent) -> Result<CreateRegisterTokenRequest, Problems> {
    match (sent.name(), sent.role(), sent.lifetime(), sent.redeem_within()) {
        (Ok(client_name), Ok(token_type), Ok(refresh_ttl), Ok(access_ttl)) => {
            Ok(CreateRegisterTokenRequest { client_name, access_ttl, refresh_ttl, token_type })
        }
        (name, role, lifetime, redeem) => {
            Err(Problems { name: name.err(), role: role.err(), lifetime: lifetime.err(), redeem: redeem.err() })
        }
    }
}

pub(crate) async fn create(Administrator(mut visitor): Administrator, sent: Sensitive<Sent>) -> Answer {
    let sent = match sent.confirmed(&mut visitor, "create_register_token").await? {
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
    let name = request.client_name.as_str().to_owned();
    match registration::create_register_token(app, context, caller, Some(&key), request).await {
        Ok(made) => Ok(shown(&visitor, &name, &made)),
        Err(Error::Refused { code: ErrorCode::Conflict, field, .. }) => {
            if registration::made_with(app, caller, &key).await? {
                return Ok(made_before(&visitor));
            }
            let problems = Problems { name: Some(conflict(app, &name, field).await?), ..Problems::default() };
            bad(StatusCode::CONFLICT, problems)
        }
        Err(Error::Refused { code: ErrorCode::BadRequest, field, .. }) => {
            // Of the field that the text begins with.
            let mut problems = Problems::default();
            let (place, text) = field.split_once(": ").unwrap_or(("", &field));
            match place {
                "client_name" => problems.name = Some(text.to_owned()),
                "access_ttl" => problems.redeem = Some(text.to_owned()),
                _ => problems.lifetime = Some(text.to_owned()),
            }
            bad(StatusCode::BAD_REQUEST, problems)
        }
        Err(error) => Err(error.into()),
    }
}

fn shown(visitor: &Visitor, name: &str, made: &CreatedRegisterToken) -> Response {
    let value = made.register_token.expose();
    let script = format!(
        "from mlplatform_client import MLPlatform\nmlp = MLPlatform(url=\"{}\")\nprint(mlp.create_refresh_token(\"{value}\"))",
        visitor.origin
    );
    let main = html! {
        section.window.wide {
            h1 { (T.registration_created_title) }
            p.lead { (layout::with_name(T.registration_created_lead, name)) }
            (layout::secret("value", T.registration_token, value))
            (layout::secret("script", T.for_the_colleague, &script))
            (layout::caution(&html! { (T.registration_shown_once) }))
            dl.facts { div { dt { (T.redeem_until) } dd { (layout::time(made.exp)) } } }
            div.buttons { a.button.primary href=(PATH) { (T.ready) } }
        }
    };
    window(visitor, StatusCode::CREATED, T.registration_created_title, main)
}

/// The form was sent again: by a reload, a second click, the way back.
fn made_before(visitor: &Visitor) -> Response {
    let main = html! {
        section.window {
            h1 { (T.made_before_title) }
            p { (T.registration_made_before_lead) }
            p { (T.registration_made_before_what) }
            div.buttons { a.button.primary href=(PATH) { (T.ready) } }
        }
    };
    window(visitor, StatusCode::CONFLICT, T.made_before_title, main)
}

/// One that can be withdrawn, or was.
async fn waiting(visitor: &Visitor, id: &str) -> Result<Option<RegisterTokenInfo>> {
    let found = search::register_token(&visitor.app, id).await?;
    Ok(found.filter(|info| info.redeemed_at.is_none()))
}

pub(crate) async fn confirm_withdraw(Administrator(visitor): Administrator, Path(id): Path<String>) -> Answer {
    let Some(info) = waiting(&visitor, &id).await? else { return Ok(gone(&visitor)) };
    Ok(withdrawal(&visitor, &info))
}

fn withdrawal(visitor: &Visitor, info: &RegisterTokenInfo) -> Response {
    let main = html! {
        section.window {
            h1 { (layout::with_name(T.withdraw_title, &info.client_name)) }
            p { (T.withdraw_effect) }
            dl.facts {
                div { dt { (T.id) } dd { code { (info.id) } } }
                div { dt { (T.role) } dd { (layout::role(&info.role)) } }
                div { dt { (T.issued_by) } dd { bdi { (info.issuer_name) } } }
            }
            form method="post" action={ (PATH) "/" (info.id) "/withdraw" } {
                (layout::form_token(visitor))
                (confirm::field(visitor))
                div.buttons {
                    button.danger type="submit" { (T.confirm) }
                    a.button href=(PATH) { (T.cancel) }
                }
            }
        }
    };
    let title = layout::naming(T.withdraw_title, &info.client_name);
    window(visitor, StatusCode::OK, &title, main)
}

pub(crate) async fn withdraw(
    Administrator(mut visitor): Administrator,
    Path(id): Path<String>,
    sent: Sensitive<sign_in::EmptyForm>,
) -> Answer {
    let Ok(token_id) = TokenId::new(&id) else { return Ok(gone(&visitor)) };
    if let Err(asked) = sent.confirmed(&mut visitor, "delete_register_token").await? {
        let Some(info) = waiting(&visitor, &id).await? else { return Ok(gone(&visitor)) };
        return Ok(asked.on(withdrawal(&visitor, &info)));
    }
    let Visitor { app, context, caller, .. } = &visitor;
    match registration::delete_register_token(app, context, caller, DeleteRegisterTokenRequest { token_id }).await {
        Ok(()) => {
            let query = links::query_string([("withdrawn", id.as_str())].into_iter());
            Ok(Redirect::to(&format!("{PATH}?{query}")).into_response())
        }
        Err(Error::Refused { code: ErrorCode::NotFound | ErrorCode::Conflict, .. }) => Ok(gone(&visitor)),
        Err(error) => Err(error.into()),
    }
}

fn gone(visitor: &Visitor) -> Response {
    let main = html! {
        section.window {
            h1 { (T.token_gone_title) }
            p { (T.registration_gone) }
            p.buttons { a.button href=(PATH) { (T.register_tokens) } }
        }
    };
    window(visitor, StatusCode::NOT_FOUND, T.token_gone_title, main)
}
