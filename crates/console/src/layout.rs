//! Page layout: the frame of a page, and the pieces that pages are made of.

use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};
use mlplatform_platform::tokens::search::ResultPage;
use mlplatform_protocol::{Access, Lifetime, Open, Role, TokenInfo};

use crate::{
    assets::{ICON, SCRIPT, STYLE},
    links::query_string,
    texts::{T, fill, plural},
    visitor::Visitor,
};

/// Expiry is pointed out this many days before; the nearer, the louder.
const WARNINGS: [(i64, &str); 3] = [(1, "danger"), (7, "warning"), (14, "notice")];
/// The first of them.
pub(crate) const FIRST_WARNING_DAYS: i64 = 14;

/// The parts of the console, as the navigation shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Tokens,
    RegisterTokens,
    Audit,
    Own,
}

impl Section {
    const ALL: [Self; 4] = [Self::Tokens, Self::RegisterTokens, Self::Audit, Self::Own];

    const fn path(self) -> &'static str {
        match self {
            Self::Tokens => "/tokens",
            Self::RegisterTokens => "/registration-tokens",
            Self::Audit => "/audit",
            Self::Own => "/me",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tokens => T.tokens,
            Self::RegisterTokens => T.register_tokens,
            Self::Audit => T.audit,
            Self::Own => T.own_token,
        }
    }

    /// In whose navigation it is; an Administrator comes to its own token by its name.
    const fn is_for(self, administrator: bool) -> bool {
        matches!(self, Self::Own) != administrator
    }
}

/// A whole page.
pub(crate) struct Page<'a> {
    pub(crate) title: &'a str,
    /// Whose page; nobody's has no navigation.
    pub(crate) visitor: Option<&'a Visitor>,
    pub(crate) section: Option<Section>,
    pub(crate) main: Markup,
}

impl IntoResponse for Page<'_> {
    fn into_response(self) -> Response {
        Html(self.markup().into_string()).into_response()
    }
}

impl Page<'_> {
    fn markup(self) -> Markup {
        html! {
            (DOCTYPE)
            html lang=(T.language) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · " (T.product) }
                    link rel="stylesheet" href=(STYLE.path);
                    link rel="icon" type="image/svg+xml" href=(ICON.path);
                    script src=(SCRIPT.path) defer {}
                }
                body {
                    a.skip href="#main" { (T.skip) }
                    header.bar {
                        div.inner {
                            a.brand href="/" { (mark()) span { (T.product) } }
                            @if let Some(visitor) = self.visitor { (navigation(visitor, self.section)) }
                        }
                    }
                    main #main tabindex="-1" { (self.main) }
                }
            }
        }
    }
}

fn navigation(visitor: &Visitor, current: Option<Section>) -> Markup {
    let caller = &visitor.caller;
    let administrator = caller.may(Access::Administrator);
    html! {
        nav aria-label=(T.product) {
            ul {
                @for section in Section::ALL.into_iter().filter(|section| section.is_for(administrator)) {
                    li {
                        a href=(section.path()) aria-current=[(current == Some(section)).then_some("page")] {
                            (section.name())
                        }
                    }
                }
            }
        }
        div.who {
            a href=(Section::Own.path()) title=(T.own_token) { span.hidden { (T.signed_in_as) " " } bdi { (caller.name()) } }
            form method="post" action="/sign-out" {
                (form_token(visitor))
                button.quiet type="submit" { (T.sign_out) }
            }
        }
    }
}

/// The hidden field that every form of somebody who is signed in holds.
pub(crate) fn form_token(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name="form_token" value=(visitor.form_token); }
}

/// Says once which form this is: sent twice, it does nothing twice.
pub(crate) fn nonce_field(nonce: &str) -> Markup {
    html! { input type="hidden" name="nonce" value=(nonce); }
}

/// A message about what was done.
pub(crate) fn done(text: &str) -> Markup {
    html! { div.message.good role="status" { (icon(Icon::Check)) p { (text) } } }
}

/// A message about what cannot be done.
pub(crate) fn problem(text: &Markup) -> Markup {
    html! { div.message.danger role="alert" { (icon(Icon::Stop)) p { (text) } } }
}

/// A message that somebody should read before going on.
pub(crate) fn caution(text: &Markup) -> Markup {
    html! { div.message.warning { (icon(Icon::Warning)) p { (text) } } }
}

pub(crate) fn role(role: &Open<Role>) -> Markup {
    match role {
        Open::Known(Role::Administrator) => html! { span.badge.strong { (T.administrator) } },
        Open::Known(Role::User) => html! { span.badge { (T.user) } },
        Open::Unknown(name) => html! { span.badge { (name) } },
    }
}

/// A time: the script adds how long ago that was, or how long it is until then.
pub(crate) fn time(at: Timestamp) -> Markup {
    html! {
        time datetime=(at.strftime("%Y-%m-%dT%H:%M:%SZ")) { (at.strftime(T.time_format)) }
    }
}

pub(crate) fn time_or(at: Option<Timestamp>, otherwise: &str) -> Markup {
    at.map_or_else(|| html! { span.muted { (otherwise) } }, time)
}

/// When a token ends, with a warning when that is soon.
pub(crate) fn expiry(exp: Option<Timestamp>, now: Timestamp) -> Markup {
    let Some(exp) = exp else { return html! { span.muted { (T.never) } } };
    html! { (time(exp)) (expiry_warning(exp, now)) }
}

fn expiry_warning(exp: Timestamp, now: Timestamp) -> Markup {
    let left = exp.duration_since(now);
    let (days, hours) = (left.as_hours() / 24, left.as_hours());
    let Some((_, level)) = WARNINGS.into_iter().find(|(within, _)| left.as_secs() <= within * 86_400) else {
        return html! {};
    };
    let text = match (left.as_secs(), days, hours) {
        (..=0, _, _) => T.expired.to_owned(),
        (_, 0, 0) => T.ends_within_the_hour.to_owned(),
        (_, 0, hours) => plural(T.ends_in_one_hour, T.ends_in_hours, hours),
        (_, days, _) => plural(T.ends_in_one_day, T.ends_in_days, days),
    };
    html! { span class={ "warning-badge " (level) } { (icon(Icon::Clock)) (text) } }
}

/// The same for the token that somebody is signed in with, as a message.
pub(crate) fn own_expiry(visitor: &Visitor) -> Markup {
    let Some(exp) = visitor.caller.info().exp else { return html! {} };
    let warning = expiry_warning(exp, visitor.app.clock().now());
    if warning.0.is_empty() {
        return html! {};
    }
    caution(&html! { (T.own_token_ends) " " (warning) })
}

/// A lifetime in words, as far as it is a round one.
pub(crate) fn lifetime(lifetime: Option<Lifetime>) -> String {
    let Some(lifetime) = lifetime else { return T.unlimited.to_owned() };
    let seconds = i64::try_from(lifetime.duration().as_secs()).unwrap_or(i64::MAX);
    let whole = lifetime.duration().subsec_nanos() == 0;
    match seconds {
        days if whole && days % 86_400 == 0 => plural(T.day_one, T.days_many, days / 86_400),
        hours if whole && hours % 3_600 == 0 => plural(T.hour_one, T.hours_many, hours / 3_600),
        minutes if whole && minutes % 60 == 0 => plural(T.minute_one, T.minutes_many, minutes / 60),
        _ => lifetime.to_string(),
    }
}

/// A value that is shown this once.
pub(crate) fn secret(id: &str, label: &str, value: &str) -> Markup {
    html! {
        div.secret {
            p.label id={ (id) "-label" } { (label) }
            pre #(id) tabindex="0" data-secret role="textbox" aria-readonly="true" aria-multiline="true"
                aria-labelledby={ (id) "-label" } { (value) }
            div.copy hidden {
                button type="button" data-copy=(id) data-copied=(T.copied) data-failed=(T.copy_failed) {
                    (icon(Icon::Copy)) (T.copy)
                }
                span role="status" {}
            }
        }
    }
}

/// Links to the pages beside this one.
pub(crate) fn pager<T>(path: &str, filter: &[(&str, &str)], found: &ResultPage<T>) -> Markup {
    let link = |field: &str, seq: i64| {
        let seq = seq.to_string();
        format!("{path}?{}", query_string(filter.iter().copied().chain([(field, seq.as_str())])))
    };
    html! {
        @if found.newer.is_some() || found.older.is_some() {
            nav.pager aria-label=(T.pages) {
                @if let Some(newer) = found.newer { a.button rel="prev" href=(link("newer", newer)) { (T.newer) } }
                @if let Some(older) = found.older { a.button rel="next" href=(link("older", older)) { (T.older) } }
            }
        }
    }
}

/// Looking for a name in a list; what else narrows it stays.
pub(crate) fn search_form(path: &str, label: &str, text: &str, filter: (&str, &str)) -> Markup {
    let without_text = query_string([filter].into_iter());
    html! {
        form.search role="search" method="get" action=(path) {
            label for="q" { (label) }
            div.row {
                input #q type="search" name="q" value=(text) autocomplete="off" spellcheck="false";
                @if !filter.1.is_empty() { input type="hidden" name=(filter.0) value=(filter.1); }
                button type="submit" { (T.search) }
                @if !text.is_empty() { a href={ (path) "?" (without_text) } { (T.clear) } }
            }
        }
    }
}

// Narrow screens lay the cells out anew, and some browsers then forget what they are: so roles say it, here and there.
/// The heads of a table, and one for the menus.
pub(crate) fn table_head(heads: &[&str]) -> Markup {
    html! {
        thead role="rowgroup" {
            tr role="row" {
                @for head in heads { th scope="col" role="columnheader" { (head) } }
                th scope="col" role="columnheader" { span.hidden { (T.actions) } }
            }
        }
    }
}

/// What can be done with the thing of that name: path, word, and whether it destroys.
pub(crate) fn menu(name: &str, items: &[(&str, &str, bool)]) -> Markup {
    html! {
        details.menu {
            summary aria-label=(naming(T.actions_for, name)) { (icon(Icon::More)) }
            ul {
                @for (path, word, destroys) in items {
                    li { a.dangerous[*destroys] href=(path) { (word) } }
                }
            }
        }
    }
}

pub(crate) fn from_address(address: &str) -> String {
    fill(T.from_address, "{address}", address)
}

/// When a token was last used, and from where.
pub(crate) fn last_used(info: &TokenInfo) -> Markup {
    html! {
        (time_or(info.last_used_at, T.not_yet))
        @if let Some(address) = &info.last_used_address { span.note { (from_address(address)) } }
    }
}

/// A sentence with a name in it, which stands out.
pub(crate) fn with_name(text: &str, name: &str) -> Markup {
    let (before, after) = text.split_once("{name}").unwrap_or((text, ""));
    html! { (before) bdi.named { (name) } (after) }
}

/// A text in which commands and files stand between backticks.
pub(crate) fn with_code(text: &str) -> Markup {
    let parts = text.split('`').enumerate();
    html! { @for (place, part) in parts { @if place % 2 == 1 { code { (part) } } @else { (part) } } }
}

/// The same as plain text, for titles and labels.
pub(crate) fn naming(text: &str, name: &str) -> String {
    fill(text, "{name}", name)
}

#[derive(Clone, Copy)]
pub(crate) enum Icon {
    Check,
    Clock,
    Copy,
    Download,
    More,
    Plus,
    Stop,
    Warning,
}

/// Always beside a text that says the same.
pub(crate) fn icon(icon: Icon) -> Markup {
    let path = match icon {
        Icon::Check => "M3.5 8.5l3 3 6-7",
        Icon::Clock => "M8 4.5V8l2.5 1.5M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0z",
        Icon::Copy => {
            "M6 6V3.5A1 1 0 0 1 7 2.5h5.5a1 1 0 0 1 1 1V9a1 1 0 0 1-1 1H10M3.5 6H9a1 1 0 0 1 1 1v5.5a1 1 0 0 1-1 1H3.5a1 1 0 0 1-1-1V7a1 1 0 0 1 1-1z"
        }
        Icon::Download => "M8 2.5v7.5M4.8 7 8 10.2 11.2 7M3 13.2h10",
        Icon::More => "M3.5 8h.01M8 8h.01M12.5 8h.01",
        Icon::Plus => "M8 3v10M3 8h10",
        Icon::Stop => "M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0zM5.8 5.8l4.4 4.4M10.2 5.8l-4.4 4.4",
        Icon::Warning => "M8 6v3M8 11.5h.01M8 2.2l6.3 11H1.7z",
    };
    html! {
        svg.icon viewBox="0 0 16 16" width="16" height="16" fill="none" stroke="currentColor" stroke-width="1.6"
            stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false" { path d=(path) {} }
    }
}

fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" focusable="false" {
            rect width="24" height="24" rx="6" {}
            path d="M6 16.5v-9l6 5.5 6-5.5v9" fill="none" stroke-width="2.2" stroke-linecap="round" stroke-linejoin="round" {}
        }
    }
}
