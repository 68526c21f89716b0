//! [`Error`]: the error of a call, with a remedy for the user.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use mlplatform_protocol::{ErrorBody, ErrorCode, Explanation, Route, headers, token};
use serde_json::Value;

use crate::{failure::Problem, proxy::Proxy, settings};

/// An error of a call. Cheap to clone, because callers that share one exchange share its error.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    message: String,
    hint: Option<String>,
    /// From the outermost to the innermost cause, without addresses and values.
    causes: Vec<String>,
    attempts: u32,
    request_id: Option<String>,
}

/// Kinds of errors. Each is one Python class, or one for each error code of the platform.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// An invalid argument; nothing was sent.
    Argument,
    /// An invalid setting; nothing was sent.
    Configuration,
    /// The call needs an access token and none was given; nothing was sent.
    TokenMissing,
    /// An error answer of the platform.
    Refused(ErrorBody),
    /// An answer that is not the platform's: of a portal, another service, a wrong path.
    Foreign {
        /// Its HTTP status.
        status: u16,
    },
    /// No connection, or a broken one.
    Connection,
    /// The call timed out.
    Timeout,
    /// `stop()` or `close()` ended the call.
    Closed,
    /// A fault of this package or of the machine (no randomness, a lost task).
    Internal,
}

impl Inner {
    fn mask(&mut self) {
        let texts = [Some(&mut self.message), self.hint.as_mut(), self.request_id.as_mut()];
        texts.into_iter().flatten().chain(&mut self.causes).for_each(mask);
        if let Kind::Refused(body) = &mut self.kind {
            mask(&mut body.error_code);
            let params = std::mem::take(&mut body.error_params);
            body.error_params = params.into_iter().map(masked).collect();
        }
    }
}

fn mask(text: &mut String) {
    *text = token::mask(text);
}

fn masked((mut name, mut value): (String, Value)) -> (String, Value) {
    mask(&mut name);
    match &mut value {
        Value::String(text) => mask(text),
        Value::Array(items) => {
            for item in items {
                *item = masked((String::new(), item.take())).1;
            }
        }
        Value::Object(fields) => *fields = std::mem::take(fields).into_iter().map(masked).collect(),
        _ => {}
    }
    (name, value)
}

impl Error {
    /// Errors quote arguments and answers. A token in any part of an error is masked: it may have been pasted into the wrong
    /// place, or returned by a server.
    fn new(kind: Kind, message: &str) -> Self {
        let message = message.to_owned();
        let mut inner = Inner { kind, message, hint: None, causes: Vec::new(), attempts: 0, request_id: None };
        inner.mask();
        Self(Arc::new(inner))
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        let inner = Arc::make_mut(&mut self.0);
        change(inner);
        inner.mask();
        self
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        self.with(|inner| inner.hint = Some(hint.into()))
    }

    /// An invalid argument.
    pub fn argument(name: &str, problem: impl fmt::Display) -> Self {
        Self::new(Kind::Argument, &format!("{name}: {problem}"))
    }

    /// An invalid setting.
    #[must_use]
    pub fn configuration(message: String) -> Self {
        Self::new(Kind::Configuration, &message)
    }

    /// A fault of the machine or of this package.
    pub fn internal(problem: impl fmt::Display) -> Self {
        Self::new(Kind::Internal, &problem.to_string())
    }

    pub(crate) fn token_missing(route: &Route) -> Self {
        Self::new(Kind::TokenMissing, &format!("{} needs an access token, and none was given", route.name)).with_hint(
            format!(
                "give it as MLPlatform(\"<access token>\") or in the environment variable {}; \
             who has none redeems a registration token with create_refresh_token(), which needs no token",
                settings::REFRESH_TOKEN.variable
            ),
        )
    }

    /// This client was stopped or closed.
    #[must_use]
    pub fn closed(what: &str) -> Self {
        Self::new(Kind::Closed, what)
    }

    pub(crate) fn refused(body: ErrorBody, expired: bool, retry_after: Option<u64>) -> Self {
        let hint = refusal_hint(&body, expired, retry_after);
        let status = body.status;
        Self::new(Kind::Refused(body), "").with(|inner| {
            if let Kind::Refused(body) = &inner.kind {
                let text = serde_json::to_string(body).unwrap_or_default();
                inner.message = format!("<Response [{status}]>. Info: {text}");
            }
            inner.hint = hint;
        })
    }

    pub(crate) fn foreign(status: u16, what: &str, address: &str) -> Self {
        Self::new(Kind::Foreign { status }, &format!("{address} answered {status}, but not as an ML platform does: {what}"))
            .with_hint(format!(
                "check the platform's address: it comes from url= or the environment variable {}, and ends where '/v1_0/' would begin",
                settings::URL.variable
            ))
    }

    /// A log beyond the memory limit.
    pub(crate) fn too_long(status: u16, most: usize) -> Self {
        let text = format!("the log is longer than {} MiB, the limit in memory", most / 1024 / 1024);
        Self::new(Kind::Foreign { status }, &text).with_hint(
            "read its end (tail=1000: the last thousand lines), iterate over its lines (follow=True), or save it to a file (save_spark_job_logs)",
        )
    }

    /// A list beyond the memory limit.
    pub(crate) fn too_many_items(items: usize, bytes: usize) -> Self {
        let text = format!(
            "the list is longer than {items} items or {} MiB of JSON, the limit in memory",
            bytes / 1024 / 1024
        );
        Self::new(Kind::Foreign { status: 200 }, &text).with_hint(
            "if it can be that long, request a part (get_audit: since=, until=, limit=); otherwise check the platform's address: another service may answer",
        )
    }

    /// The answer contains a value that Python cannot represent.
    #[must_use]
    pub fn out_of_range(what: &str) -> Self {
        Self::new(
            Kind::Foreign { status: 200 },
            &format!("the platform sent a value that Python cannot represent: {what}"),
        )
        .with_hint("the platform's clock or its store is wrong: tell its administrator")
    }

    pub(crate) fn timeout(seconds: f64, doing: &str) -> Self {
        Self::new(Kind::Timeout, &format!("no answer within {seconds} s ({doing})")).with_hint(format!(
            "the platform is slow or unreachable; set a longer timeout with timeout= (seconds) or {}",
            settings::TIMEOUT.variable
        ))
    }

    /// A wait for a job timed out.
    pub(crate) fn still_waiting(whole: Duration, name: &str, told: &Explanation) -> Self {
        let (seconds, status) = (whole.as_secs_f64(), told.status.name());
        Self::new(
            Kind::Timeout,
            &format!("the job '{name}' is {status} after a wait of {seconds} s. {}", told.sentence),
        )
        .with_hint(told.remedy.as_str())
    }

    /// A job was deleted while it was waited for.
    pub(crate) fn job_deleted(name: &str, status: &str) -> Self {
        let text = format!("the job '{name}' was deleted during the wait; its last known state is {status}");
        let code = ErrorCode::NotFound;
        Self::refused(ErrorBody::new(code, text), false, None)
    }

    /// Adds the error of the previous attempt to a timeout: it explains what is wrong.
    pub(crate) fn with_previous(self, earlier: Option<&Self>) -> Self {
        let Some(Self(earlier)) = earlier else { return self };
        self.with(|inner| {
            inner.message = format!("{}; the attempt before it failed: {}", inner.message, earlier.message);
            inner.hint.clone_from(&earlier.hint);
            inner.causes.clone_from(&earlier.causes);
        })
    }

    pub(crate) fn connection(address: &str, problem: Problem, proxy: Option<&Proxy>, causes: Vec<String>) -> Self {
        let hint = match proxy.filter(|_| problem.is_of_proxy()) {
            Some(proxy) => format!("{} names the proxy {}: {}", proxy.variable, proxy.address(), problem.hint()),
            None => problem.hint(),
        };
        Self::new(Kind::Connection, &format!("{address}: {}", problem.text()))
            .with_hint(hint)
            .with(|inner| inner.causes = causes)
    }

    pub(crate) fn after(self, attempts: u32, request_id: Option<String>) -> Self {
        self.with(|inner| {
            inner.attempts = attempts;
            if request_id.is_some() {
                inner.request_id = request_id;
            }
        })
    }

    /// The kind of error.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// The remedy.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// From the outermost to the innermost cause.
    #[must_use]
    pub fn causes(&self) -> &[String] {
        &self.0.causes
    }

    /// The number of attempts; 0 if nothing was sent.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The platform's id of the last request, for its log.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// Whether the platform says that the credential has expired.
    pub(crate) fn is_expired(&self) -> bool {
        self.hint() == Some(EXPIRED)
    }

    /// Whether the session was unknown to the server; a new exchange solves that.
    pub(crate) fn is_unknown_session(&self) -> bool {
        matches!(&self.0.kind, Kind::Refused(body) if body.status == ErrorCode::Unauthorized.status())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("kind", &self.0.kind).field("message", &self.0.message).finish_non_exhaustive()
    }
}

impl StdError for Error {}

const EXPIRED: &str = "the token has expired: ask an Administrator for a new registration token";

fn refusal_hint(body: &ErrorBody, expired: bool, retry_after: Option<u64>) -> Option<String> {
    let field = body.field().unwrap_or_default();
    let status = |code: ErrorCode| body.status == code.status();
    let hint = if expired {
        EXPIRED.to_owned()
    } else if status(ErrorCode::Forbidden) && field.contains("does not contain the following scopes") {
        "this needs a token with the role Administrator: use one, or ask an Administrator".to_owned()
    } else if status(ErrorCode::Forbidden) && field.contains("already redeemed") {
        "a registration token works once: if you did not redeem it, tell the Administrator who issued it, and ask for a new one".to_owned()
    } else if status(ErrorCode::Forbidden) {
        "the token is unknown to this platform, expired, deleted or rotated (rotate_token): check that it belongs to this platform and was copied completely; otherwise ask an Administrator for a new registration token".to_owned()
    } else if status(ErrorCode::Unauthorized) {
        "the platform rejected a session that it had just created: its clock or its address may have changed; try again"
            .to_owned()
    } else if status(ErrorCode::Conflict) && field.contains("a job named '") {
        "rename it (manifest.job_name = \"…\"), or delete the other one first (spark_delete_job)".to_owned()
    } else if let Some(seconds) = retry_after {
        format!("the platform asks to retry after {seconds} s")
    } else if status(ErrorCode::InternalServerError) {
        format!("the platform failed; report the request id (header {}) to its administrator", headers::REQUEST_ID)
    } else {
        return None;
    };
    Some(hint)
}
