//! The page of a job, where `ui_url` leads: its state, why it is so, its pods, its log and its events.
//!
//! It is brought up to date by asking for it again: when somebody says so, or every few seconds once somebody has said
//! that. No script takes part, and whoever reads slowly is not interrupted.

use axum::{
    extract::{Path, Query},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use maud::{Markup, html};
use mlplatform_api::job_handlers::log_response;
use mlplatform_platform::{
    error::{Error, Result},
    jobs::{
        logs,
        story::{JobStory, Pods, job_story},
    },
    sessions::exchange,
    text::readable,
};
use mlplatform_protocol::{
    ErrorCode, EventKind, JobEvent, JobState, Open, Route,
    jobs::JobRequest,
    routes::{Endpoint, SparkJobInfo, SparkJobLogs},
};
use serde::Deserialize;

use crate::{
    layout::{self, Icon, Page, icon},
    links,
    texts::{T, fill, plural},
    visitor::{Answer, Visitor},
};

/// Seconds between two looks, for whoever wants the page to be brought up to date by itself.
const EVERY: u8 = 5;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    /// Anything: the page is brought up to date by itself.
    refresh: String,
}

pub(crate) async fn page(
    visitor: Visitor,
    Path((cluster_id, job_name)): Path<(String, String)>,
    Query(asked): Query<Params>,
) -> Answer {
    allow(&visitor, &SparkJobInfo::ROUTE).await?;
    let request = JobRequest { cluster_id, job_name };
    let story = match job_story(&visitor.app, &request).await {
        Err(Error::Refused { code: ErrorCode::NotFound, field, .. }) => return Ok(missing(&visitor, &field)),
        story => story?,
    };
    let path = format!("/clusters/{}/{}", links::escape_query(&request.cluster_id), story.detail.info.job_name);
    let refreshes = !asked.refresh.is_empty() && !story.is_over;
    let main = html! {
        header.head {
            div {
                h1 { bdi { (story.detail.info.job_name) } " " (state(&story)) }
                p.lead { (T.job_lead) " " bdi { (story.cluster) } }
            }
            @if !story.is_over {
                div.buttons {
                    @if refreshes {
                        a.button href={ (path) "/jobs/" } { (T.stop_refreshing) }
                    } @else {
                        a.button href={ (path) "/jobs/" } { (T.refresh) }
                        a.button href={ (path) "/jobs/?refresh=1" } { (fill(T.refresh_always, "{seconds}", &EVERY.to_string())) }
                    }
                }
            }
        }
        (why(&story))
        section.card { (facts(&story)) }
        (pods(&story))
        (log(&story, &path))
        (events(&story.events))
    };
    let title = story.detail.info.job_name.as_str();
    let mut response = Page { title, visitor: Some(&visitor), section: None, main }.into_response();
    if refreshes {
        response.headers_mut().insert(header::REFRESH, HeaderValue::from(u16::from(EVERY)));
    }
    Ok(response)
}

/// The whole log, as a text.
pub(crate) async fn whole_log(visitor: Visitor, Path((cluster_id, job_name)): Path<(String, String)>) -> Answer {
    allow(&visitor, &SparkJobLogs::ROUTE).await?;
    Ok(log_response(logs::full_log(&visitor.app, JobRequest { cluster_id, job_name }).await?))
}

/// Whoever may ask the API may ask for its page.
async fn allow(visitor: &Visitor, route: &Route) -> Result<()> {
    exchange::require(&visitor.app, &visitor.context, &visitor.caller, route.access, route.name).await
}

fn missing(visitor: &Visitor, why: &str) -> Response {
    let main = html! {
        section.window {
            h1 { (T.job_gone_title) }
            p { (T.job_gone) }
            p.hint { (why) }
            p.buttons { a.button href="/" { (T.back_to_start) } }
        }
    };
    let page = Page { title: T.job_gone_title, visitor: Some(visitor), section: None, main };
    (StatusCode::NOT_FOUND, page).into_response()
}

fn state(story: &JobStory) -> Markup {
    let status = &story.detail.info.status;
    let kind = match status {
        Open::Known(JobState::Completed) => "good",
        Open::Known(JobState::Failed) => "danger",
        Open::Known(JobState::Failing | JobState::SubmissionFailed | JobState::PendingRerun) => "warning",
        Open::Known(JobState::Running) => "strong",
        Open::Known(JobState::Submitted) | Open::Unknown(_) => "",
    };
    html! {
        span class={ "badge " (kind) } { (status.name()) }
        @if story.deleted_at.is_some() { " " span.badge { (T.job_deleted) } }
    }
}

/// The explanation; where something is wrong, with what it follows from and what to do.
fn why(story: &JobStory) -> Markup {
    let told = &story.explanation;
    let failed = matches!(
        told.status,
        Open::Known(JobState::Failed | JobState::Failing | JobState::SubmissionFailed | JobState::PendingRerun)
    );
    let waits = matches!(told.cause.as_str(), "too-large" | "no-capacity");
    if story.deleted_at.is_some() || !(failed || waits) {
        return html! { p.lead { (told.sentence) } };
    }
    let (kind, sign) = if failed && story.is_over { ("danger", Icon::Stop) } else { ("warning", Icon::Warning) };
    html! {
        section class={ "message " (kind) } aria-label=(T.job_why) {
            (icon(sign))
            div.told {
                p { strong { (told.sentence) } }
                ul { @for line in &told.evidence { li { code { (line) } } } }
                p { (T.job_remedy) " " (told.remedy) }
            }
        }
    }
}

fn facts(story: &JobStory) -> Markup {
    html! {
        dl.facts {
            div { dt { (T.job_submitted) } dd { (layout::time(story.detail.info.created_at)) } }
            div { dt { (T.job_started) } dd { (layout::time_or(story.started_at, T.not_yet)) } }
            div { dt { (T.job_ended) } dd { (layout::time_or(story.ended_at, T.not_yet)) } }
            @if let Some(at) = story.deleted_at { div { dt { (T.job_deleted) } dd { (layout::time(at)) } } }
            div { dt { (T.job_runs) } dd { (story.runs) } }
        }
    }
}

fn pods(story: &JobStory) -> Markup {
    let detail = &story.detail;
    let all = [&detail.pod_status, &detail.pod_status_reason, &detail.pod_state, &detail.pod_state_reason];
    let status = all.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" · ");
    let rows: [(&str, &Option<Pods>, &str); 2] =
        [(T.driver, &story.driver, status.as_str()), (T.executors, &story.executors, T.executors_are_threads)];
    html! {
        h2 { (T.pods) }
        table role="table" {
            caption.hidden { (T.pods) }
            (head(&[T.pod, T.pod_count, T.pod_cores, T.pod_memory, T.state]))
            tbody role="rowgroup" {
                @for (name, pods, status) in rows {
                    @if let Some(pods) = pods {
                        tr role="row" {
                            th scope="row" role="rowheader" { (name) @if name == T.driver { code { (story.pod) } } }
                            td role="cell" data-label=(T.pod_count) { (pods.count) }
                            td role="cell" data-label=(T.pod_cores) { (pods.cores) }
                            td role="cell" data-label=(T.pod_memory) { (pods.memory) }
                            td.whole role="cell" data-label=(T.state) {
                                (if status.is_empty() { "–" } else { status })
                                @if name == T.driver && let Some(message) = &detail.pod_state_reason_message {
                                    span.note { (message) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn log(story: &JobStory, path: &str) -> Markup {
    let end = &story.log;
    let size = end.from.saturating_add(end.bytes.len() as u64);
    html! {
        div.head.below {
            h2 #log { (T.log) }
            @if size > 0 { a href={ (path) "/log" } { (fill(T.whole_log, "{size}", &bytes(size))) } }
        }
        @if size == 0 {
            p.empty { (if story.is_over { T.log_empty } else { T.log_empty_yet }) }
        } @else {
            @if end.from > 0 { p.hint { (fill(T.log_end_only, "{size}", &bytes(end.bytes.len() as u64))) } }
            pre.log tabindex="0" role="region" aria-labelledby="log" { (readable(&end.bytes)) }
        }
    }
}

fn events(events: &[JobEvent]) -> Markup {
    html! {
        h2 { (T.events) }
        table role="table" {
            caption.hidden { (T.events) }
            (head(&[T.when, T.event, T.event_message]))
            tbody role="rowgroup" {
                @for event in events.iter().rev() {
                    tr role="row" {
                        th.when scope="row" role="rowheader" { (layout::time(event.at)) }
                        td.whole role="cell" data-label=(T.event) {
                            @if event.kind == Open::Known(EventKind::Warning) {
                                span.badge.warning { (icon(Icon::Warning)) (event.reason) }
                            } @else {
                                (event.reason)
                            }
                        }
                        td.whole role="cell" data-label=(T.event_message) { (event.message) }
                    }
                }
            }
        }
    }
}

fn head(heads: &[&str]) -> Markup {
    html! {
        thead role="rowgroup" {
            tr role="row" { @for head in heads { th scope="col" role="columnheader" { (head) } } }
        }
    }
}

/// A size in the unit that keeps it short.
fn bytes(size: u64) -> String {
    let units = [(1 << 30, T.gib), (1 << 20, T.mib), (1 << 10, T.kib)];
    match units.into_iter().find(|(unit, _)| size >= *unit) {
        Some((unit, name)) => fill(name, "{count}", &format!("{}.{}", size / unit, size % unit * 10 / unit)),
        None => plural(T.byte_one, T.bytes_many, i64::try_from(size).unwrap_or(i64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let sizes = [0, 1, 1023, 1024, 1_572_864, 200 << 20, 3 << 30].map(bytes);
        assert_eq!(sizes, ["0 bytes", "1 byte", "1023 bytes", "1.0 KiB", "1.5 MiB", "200.0 MiB", "3.0 GiB"]);
    }
}
