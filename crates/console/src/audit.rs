//! The audit: who did what, when, from where; narrowed, and taken along as a file.

use std::convert::Infallible;

use axum::{body::Body, extract::Query, response::IntoResponse};
use futures_util::stream;
use http::header;
use jiff::{Timestamp, civil};
use maud::{Markup, html};
use mlplatform_platform::{app::App, audit::reader::get_audit, error::Error};
use mlplatform_protocol::{
    Open, Page as Rows,
    audit::{AuditEntry, AuditRequest, Outcome},
};
use serde::Deserialize;

use crate::{
    layout::{self, Icon, Page, Section, icon},
    links,
    texts::{ACTIONS, T, action},
    visitor::{Administrator, Answer},
};

/// Rows on a page.
const ROWS: u32 = 50;
/// Rows that an export reads at once.
const EXPORTED_AT_ONCE: u32 = 1000;

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    token: String,
    action: String,
    outcome: String,
    since: String,
    until: String,
    cursor: String,
    /// Of an export: `csv` or `json`.
    format: String,
}

impl Params {
    /// What narrows the rows, for links.
    fn filter(&self) -> String {
        let fields = [
            ("token", &self.token),
            ("action", &self.action),
            ("outcome", &self.outcome),
            ("since", &self.since),
            ("until", &self.until),
        ];
        links::query_string(fields.into_iter().map(|(name, value)| (name, value.trim())))
    }

    /// For the service; `Err`: a time is none.
    fn request(&self, limit: u32) -> Result<AuditRequest, &'static str> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(AuditRequest {
            token: given(&self.token),
            action: given(&self.action),
            outcome: Outcome::from_name(&self.outcome),
            since: moment(&self.since)?,
            until: moment(&self.until)?,
            limit: Some(limit),
            cursor: given(&self.cursor),
        })
    }
}

/// As the field of a form writes it: a day and a minute, in UTC.
fn moment(text: &str) -> Result<Option<Timestamp>, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    // Read as a time without a zone first: with one, the text would mean another moment than the form says.
    let at: civil::DateTime = text.parse().map_err(|_| T.audit_no_time)?;
    format!("{at}Z").parse().map(Some).map_err(|_| T.audit_no_time)
}

pub(crate) async fn page(Administrator(visitor): Administrator, Query(asked): Query<Params>) -> Answer {
    let nothing = |text: String| (Rows { items: Vec::new(), next_cursor: None }, Some(text));
    let (rows, problem) = match asked.request(ROWS) {
        Err(text) => nothing(text.to_owned()),
        Ok(request) => match get_audit(&visitor.app, request).await {
            Ok(rows) => (rows, None),
            Err(Error::Refused { field, .. }) => nothing(field),
            Err(error) => return Err(error.into()),
        },
    };
    let filter = asked.filter();
    let main = html! {
        header.head {
            div { h1 { (T.audit) } p.lead { (layout::with_code(T.audit_lead)) } }
            div.buttons {
                @for format in ["csv", "json"] {
                    @let query = [filter.as_str(), "format="].join("&");
                    a.button href={ "/audit/export?" (query) (format) } download {
                        (icon(Icon::Download)) (T.export) " " (format.to_uppercase())
                    }
                }
            }
        }
        (form(&asked))
        @if let Some(text) = &problem { (layout::problem(&html! { (text) })) }
        @if rows.items.is_empty() && problem.is_none() { p.empty { (T.audit_nothing) } }
        @if !rows.items.is_empty() { (table(&rows.items)) }
        @if !asked.cursor.is_empty() || rows.next_cursor.is_some() {
            nav.pager aria-label=(T.pages) {
                @if !asked.cursor.is_empty() { a.button href={ "/audit?" (filter) } { (T.newest) } }
                @if let Some(cursor) = &rows.next_cursor {
                    a.button rel="next" href={ "/audit?" (filter) "&cursor=" (links::escape_query(cursor)) } { (T.older) }
                }
            }
        }
    };
    Ok(Page { title: T.audit, visitor: Some(&visitor), section: Some(Section::Audit), main }.into_response())
}

fn form(asked: &Params) -> Markup {
    let outcomes = [("", T.any), ("done", T.done), ("refused", T.refused), ("replay", T.replay)];
    let field = |name: &str, label: &str, value: &str, kind: &str| {
        html! {
            div.field {
                label for=(name) { (label) }
                input id=(name) type=(kind) name=(name) value=(value) autocomplete="off" spellcheck="false";
            }
        }
    };
    html! {
        form.narrowed role="search" method="get" action="/audit" {
            (field("token", T.audit_token, &asked.token, "text"))
            div.field {
                label for="action" { (T.action) }
                select #action name="action" {
                    option value="" { (T.any) }
                    // One that this list does not know stays chosen when it came by a link.
                    @if !asked.action.is_empty() && action(&asked.action).is_none() {
                        option value=(asked.action) selected { (asked.action) }
                    }
                    @for (name, said) in ACTIONS { option value=(name) selected[*name == asked.action] { (said) } }
                }
            }
            div.field {
                label for="outcome" { (T.outcome) }
                select #outcome name="outcome" {
                    @for (name, said) in outcomes { option value=(name) selected[name == asked.outcome] { (said) } }
                }
            }
            (field("since", T.since, &asked.since, "datetime-local"))
            (field("until", T.until, &asked.until, "datetime-local"))
            div.buttons {
                button type="submit" { (T.show) }
                @if !asked.filter().is_empty() { a href="/audit" { (T.clear) } }
            }
        }
    }
}

fn table(rows: &[AuditEntry]) -> Markup {
    html! {
        table role="table" {
            caption.hidden { (T.audit) }
            thead role="rowgroup" {
                tr role="row" {
                    @for head in [T.when, T.action, T.outcome, T.who, T.whom, T.from_where] {
                        th scope="col" role="columnheader" { (head) }
                    }
                }
            }
            tbody role="rowgroup" {
                @for row in rows {
                    tr role="row" {
                        th.when scope="row" role="rowheader" {
                            (layout::time(row.at))
                            code { "#" (row.seq) }
                        }
                        td role="cell" data-label=(T.action) {
                            @match action(&row.action) {
                                Some(said) => { (said) span.note { code { (row.action) } } }
                                None => code { (row.action) }
                            }
                        }
                        td role="cell" data-label=(T.outcome) { (outcome(&row.outcome)) (detail(row)) }
                        td role="cell" data-label=(T.who) { (token(row.actor.as_deref(), row.actor_name.as_deref())) }
                        td role="cell" data-label=(T.whom) { (token(row.subject.as_deref(), row.subject_name.as_deref())) }
                        td role="cell" data-label=(T.from_where) { (row.address) }
                    }
                }
            }
        }
    }
}

fn outcome(outcome: &Open<Outcome>) -> Markup {
    match outcome {
        Open::Known(Outcome::Done) => html! { span.badge.good { (icon(Icon::Check)) (T.done) } },
        Open::Known(Outcome::Refused) => html! { span.badge.warning { (icon(Icon::Stop)) (T.refused) } },
        Open::Known(Outcome::Replay) => html! { span.badge.danger { (icon(Icon::Warning)) (T.replay) } },
        Open::Unknown(name) => html! { span.badge { (name) } },
    }
}

fn token(id: Option<&str>, name: Option<&str>) -> Markup {
    html! {
        @match (id, name) {
            (Some(id), name) => {
                a href={ "/audit?token=" (links::escape_query(id)) } { bdi { (name.unwrap_or(id)) } }
            }
            (None, _) => span.muted { "–" }
        }
    }
}

fn detail(row: &AuditEntry) -> Markup {
    html! {
        details.more {
            summary { (T.details) }
            ul.detail {
                @for (name, value) in &row.detail {
                    li { (name) ": " bdi { (value.as_str().map_or_else(|| value.to_string(), str::to_owned)) } }
                }
                li { (T.request_id) " " code { (row.request_id) } }
            }
        }
    }
}

/// All rows that the filter lets through, as a file; read in pieces, so that a long past needs no memory.
pub(crate) async fn export(Administrator(visitor): Administrator, Query(asked): Query<Params>) -> Answer {
    let bad = |text: &str| Error::refused(mlplatform_protocol::ErrorCode::BadRequest, text);
    let mut request = asked.request(EXPORTED_AT_ONCE).map_err(bad)?;
    request.cursor = None;
    let format = Format::of(&asked.format);
    // The first piece before the headers: what is wrong with the filter is still a page then.
    let first = get_audit(&visitor.app, request.clone()).await?;
    let stream = stream::unfold(Export { app: visitor.app, request, format, next: Next::Piece(first, true) }, step);
    let kind = [(header::CONTENT_TYPE, format.kind()), (header::CONTENT_DISPOSITION, format.disposition())];
    Ok((kind, Body::from_stream(stream)).into_response())
}

struct Export {
    app: App,
    request: AuditRequest,
    format: Format,
    next: Next,
}

enum Next {
    /// A piece, and whether it is the first.
    Piece(Rows<AuditEntry>, bool),
    Read(String),
    End,
}

async fn step(mut export: Export) -> Option<(Result<String, Infallible>, Export)> {
    let (rows, first) = match std::mem::replace(&mut export.next, Next::End) {
        Next::End => return None,
        Next::Piece(rows, first) => (rows, first),
        Next::Read(cursor) => {
            export.request.cursor = Some(cursor);
            match get_audit(&export.app, export.request.clone()).await {
                Ok(rows) => (rows, false),
                Err(error) => {
                    // The headers are gone: a file without its end is how the reader learns of it.
                    tracing::error!("an export of the audit ended early: {error}");
                    return None;
                }
            }
        }
    };
    let text = export.format.piece(&rows.items, first, rows.next_cursor.is_none());
    if let Some(cursor) = rows.next_cursor {
        export.next = Next::Read(cursor);
    }
    Some((Ok(text), export))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Json,
}

impl Format {
    fn of(name: &str) -> Self {
        if name == "json" { Self::Json } else { Self::Csv }
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Json => "application/json",
        }
    }

    const fn disposition(self) -> &'static str {
        match self {
            Self::Csv => "attachment; filename=\"audit.csv\"",
            Self::Json => "attachment; filename=\"audit.json\"",
        }
    }

    fn piece(self, rows: &[AuditEntry], first: bool, last: bool) -> String {
        match self {
            Self::Csv => {
                let head = if first { CSV_HEAD } else { "" };
                rows.iter().fold(head.to_owned(), |text, row| text + &csv(row))
            }
            Self::Json => {
                let rows = rows.iter().filter_map(|row| serde_json::to_string(row).ok());
                let rows = rows.collect::<Vec<_>>().join(",\n");
                let (before, after) = (if first { "[\n" } else { ",\n" }, if last { "\n]\n" } else { "" });
                format!("{before}{rows}{after}")
            }
        }
    }
}

const CSV_HEAD: &str = "seq,at,action,outcome,actor,actor_name,subject,subject_name,address,request_id,detail\r\n";

fn csv(row: &AuditEntry) -> String {
    let outcome = match &row.outcome {
        Open::Known(outcome) => outcome.name(),
        Open::Unknown(name) => name,
    };
    let detail = serde_json::to_string(&row.detail).unwrap_or_default();
    let (seq, at) = (row.seq.to_string(), row.at.to_string());
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let cells = [
        seq,
        at,
        row.action.clone(),
        outcome.to_owned(),
        text(&row.actor),
        text(&row.actor_name),
        text(&row.subject),
        text(&row.subject_name),
        row.address.clone(),
        row.request_id.clone(),
        detail,
    ];
    cells.iter().map(|cell| csv_cell(cell)).collect::<Vec<_>>().join(",") + "\r\n"
}

/// Quoted always; a table program takes what begins like a formula for one, and a name is somebody's choice.
fn csv_cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    format!("\"{}{}\"", if formula { "'" } else { "" }, text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_no_formulas() {
        assert_eq!(csv_cell("anna"), "\"anna\"");
        assert_eq!(csv_cell("=1+1"), "\"'=1+1\"");
        assert_eq!(csv_cell("@a\"b"), "\"'@a\"\"b\"");
    }

    #[test]
    fn times_of_the_form() {
        assert_eq!(moment(""), Ok(None));
        assert_eq!(moment("2026-11-24T15:00").unwrap().unwrap().to_string(), "2026-11-24T15:00:00Z");
        assert!(moment("yesterday").is_err());
    }
}
