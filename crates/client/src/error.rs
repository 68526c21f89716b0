//! What can go wrong, told apart by what the user can do about it.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use mlplatform_protocol::{ErrorBody, ErrorCode, Explanation, Route, headers, token};
use serde_json::Value;

use crate::{failure::Problem, proxy::Proxy, settings};

/// An error of a call. Cheap to clone: callers that waited for one exchange share its error.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    message: String,
    hint: Option<String>,
    /// From the outermost to the innermost cause; without addresses, without values.
    causes: Vec<String>,
    attempts: u32,
    request_id: Option<String>,
}

/// The families of errors. Each is one Python class, or one for each error code of the platform.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// An argument breaks a rule; nothing was sent.
    Argument,
    /// A setting is wrong; nothing was sent.
    Configuration,
    /// The call needs an access token and none was given; nothing was sent.
    TokenMissing,
    /// The platform said no, in its envelope.
    Refused(ErrorBody),
    /// Somebody answered who is not the platform: a portal, another service, a wrong path.
    Foreign {
        /// Its HTTP status.
        status: u16,
    },
    /// No connection, or it broke.
    Connection,
    /// The time for the call was used up.
    Timeout,
    /// `stop()` or `close()` ended the call.
    Closed,
    /// A fault of this package or of the machine (no randomness, a task that died).
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
    /// Errors repeat what was given and what was answered: a token that was pasted in the wrong place, or that whoever
    /// answers sends back, is masked, in whatever part of an error it stands.
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

    fn hinting(self, hint: impl Into<String>) -> Self {
        self.with(|inner| inner.hint = Some(hint.into()))
    }

    /// An argument that breaks a rule of the protocol.
    pub fn argument(name: &str, problem: impl fmt::Display) -> Self {
        Self::new(Kind::Argument, &format!("{name}: {problem}"))
    }

    /// A setting with a value that cannot be meant.
    #[must_use]
    pub fn configuration(message: String) -> Self {
        Self::new(Kind::Configuration, &message)
    }

    /// The machine failed us.
    pub fn internal(problem: impl fmt::Display) -> Self {
        Self::new(Kind::Internal, &problem.to_string())
    }

    pub(crate) fn token_missing(route: &Route) -> Self {
        Self::new(Kind::TokenMissing, &format!("{} needs an access token, and none was given", route.name)).hinting(
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
            .hinting(format!(
                "check the platform's address: it comes from url= or the environment variable {}, and ends where '/v1_0/' would begin",
                settings::URL.variable
            ))
    }

    /// A log that is not held in memory.
    pub(crate) fn too_long(status: u16, most: usize) -> Self {
        let text = format!("the log is longer than {} MiB, the most that is held in memory", most / 1024 / 1024);
        Self::new(Kind::Foreign { status }, &text).hinting(
            "read its end: tail=1000 gives the last thousand lines; follow=True goes through all of them, save_spark_job_logs() puts them into a file",
        )
    }

    /// A list that is not held in memory.
    pub(crate) fn too_many_items(items: usize, bytes: usize) -> Self {
        let text = format!(
            "the list is longer than {items} items or {} MiB of JSON, the most that is held in memory",
            bytes / 1024 / 1024
        );
        Self::new(Kind::Foreign { status: 200 }, &text).hinting(
            "if it can be that long, ask for less of it (get_audit: since=, until=, limit=); else check the platform's address: somebody else may answer",
        )
    }

    /// The platform's answer holds a value that cannot be shown.
    #[must_use]
    pub fn beyond(what: &str) -> Self {
        Self::new(Kind::Foreign { status: 200 }, &format!("the platform sent what Python cannot hold: {what}"))
            .hinting("the platform's clock or its store is wrong: tell its administrator")
    }

    pub(crate) fn timeout(seconds: f64, doing: &str) -> Self {
        Self::new(Kind::Timeout, &format!("no answer within {seconds} s ({doing})")).hinting(format!(
            "the platform is slow or out of reach; a longer wait is set with timeout= (seconds) or {}",
            settings::TIMEOUT.variable
        ))
    }

    /// A wait for a job is over, and the job is not where it was to be.
    pub(crate) fn still_waiting(whole: Duration, name: &str, told: &Explanation) -> Self {
        let (seconds, status) = (whole.as_secs_f64(), told.status.name());
        Self::new(
            Kind::Timeout,
            &format!("the job '{name}' is {status} after a wait of {seconds} s. {}", told.sentence),
        )
        .hinting(told.remedy.as_str())
    }

    /// A job is gone that was waited for.
    pub(crate) fn job_deleted(name: &str, status: &str) -> Self {
        let text =
            format!("the job '{name}' was deleted while it was waited for; the last that was seen of it is {status}");
        let code = ErrorCode::NotFound;
        Self::refused(ErrorBody::new(code, text), false, None)
    }

    /// Time ran out during one attempt, but it was the one before that tells what is wrong.
    pub(crate) fn following(self, earlier: Option<&Self>) -> Self {
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
            .hinting(hint)
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

    /// What family it is of.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// From the outermost to the innermost cause.
    #[must_use]
    pub fn causes(&self) -> &[String] {
        &self.0.causes
    }

    /// How often the request was sent; 0 when it was not.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The platform's id of the (last) request, to be found in its log.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// Whether the server did not know the session: the one refusal that a new exchange heals.
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

fn refusal_hint(body: &ErrorBody, expired: bool, retry_after: Option<u64>) -> Option<String> {
    let field = body.field().unwrap_or_default();
    let status = |code: ErrorCode| body.status == code.status();
    let hint = if expired {
        "the token was real, but its lifetime has ended: ask an Administrator for a new registration token".to_owned()
    } else if status(ErrorCode::Forbidden) && field.contains("does not contain the following scopes") {
        "this needs a token with the role Administrator: ask one, or use such a token".to_owned()
    } else if status(ErrorCode::Forbidden) && field.contains("already redeemed") {
        "a registration token works once: if it was not you who redeemed it, tell the Administrator who issued it; ask for a new one".to_owned()
    } else if status(ErrorCode::Forbidden) {
        "the token is unknown here, expired, deleted, or was given a new value (rotate_token): check that it belongs to this platform and was copied whole; else ask an Administrator for a new registration token".to_owned()
    } else if status(ErrorCode::Unauthorized) {
        "the platform did not accept the session that it had just given: its clock or its address may have changed; try again".to_owned()
    } else if status(ErrorCode::Conflict) && field.contains("a job named '") {
        "rename it (manifest.job_name = \"…\"), or delete the other one first (spark_delete_job)".to_owned()
    } else if let Some(seconds) = retry_after {
        format!("the platform asks to come again after {seconds} s")
    } else if status(ErrorCode::InternalServerError) {
        format!("the platform failed; give its administrator the request id (header {})", headers::REQUEST_ID)
    } else {
        return None;
    };
    Some(hint)
}
