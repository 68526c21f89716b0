//! HTTP requests with retries until a deadline.

use std::time::Duration;

use mlplatform_protocol::{Endpoint, ErrorBody, ErrorCode, Repeat, Route, Secret, headers, routes::DeleteIssuerTokens};
use reqwest::{
    Client as Http, RequestBuilder, Response, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tokio::time::{sleep, timeout_at};

use crate::{
    config::Config,
    credential::encoded,
    deadline::Deadline,
    error::Error,
    failure::{Problem, causes},
    proxy::{Proxy, ProxyChoice},
    retry::{Decision, Outcome, decide},
    tls,
    upload::{self, OnSent},
};

/// Longer than any healthy connection takes, short enough to report a dead address within the call's timeout.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The platform answers in milliseconds. A connection that is silent for this long is dead.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Less than the usual idle timeout of proxies and load balancers (60 s), so that the client closes the connection first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// The largest answer. A page of the longest list has a tenth of it, the largest config map three quarters; a longer answer is
/// not the platform's. (Parsed, it takes up to 16 times as much memory, for instance a list of zeros in a job's description.)
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;
const LARGEST_RECORD: usize = 32 * 1024 * 1024;
/// The largest error answer. The platform's have a kilobyte; pages of portals are larger.
const LARGEST_REFUSAL: usize = 1024 * 1024;
/// The longest log, or part of one, that is held in memory. A notebook has a few gigabytes of memory, and the Python text
/// takes as much again.
const LARGEST_STREAM: usize = 512 * 1024 * 1024;

/// An answer with its size in bytes.
pub(crate) struct Received<T> {
    pub(crate) answer: T,
    pub(crate) bytes: usize,
}

/// A success, unread.
pub(crate) struct Raw {
    status: u16,
    headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    attempts: u32,
}

pub(crate) struct Transport {
    http: Http,
    base: Url,
    proxy: Option<Proxy>,
}

/// The attempts of one operation: their number, and the idempotency key that they share.
pub(crate) struct Attempts {
    key: Option<String>,
    made: u32,
    /// Called while the body of an attempt is sent.
    pub(crate) on_sent: Option<OnSent>,
}

impl Attempts {
    pub(crate) fn of(route: &Route) -> Result<Self, Error> {
        let key = match route.repeat {
            Repeat::Harmless => None,
            Repeat::Keyed => Some(random_key()?),
        };
        Ok(Self { key, made: 0, on_sent: None })
    }

    fn next(&mut self, request: RequestBuilder) -> RequestBuilder {
        self.made += 1;
        let request = match &self.on_sent {
            Some(on_sent) => upload::reporting(request, on_sent),
            None => request,
        };
        match &self.key {
            None => request,
            Some(key) => request.header(headers::IDEMPOTENCY_KEY, key).header(headers::IDEMPOTENCY_ATTEMPT, self.made),
        }
    }
}

/// The headers of a part of a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// The offset of its first byte.
    pub(crate) offset: u64,
    /// Whether the log ends here.
    pub(crate) last: bool,
    /// The part ends at this offset, where the platform has dropped bytes; more follows after them.
    pub(crate) gap: Option<u64>,
}

/// The bytes of a stream received so far.
#[derive(Debug, Default)]
pub(crate) struct Streamed {
    /// The offset of the first byte in the log.
    begin: Option<u64>,
    pub(crate) bytes: Vec<u8>,
    /// Whether the log ends here.
    pub(crate) last: bool,
    /// Whether dropped bytes follow, and more after them.
    pub(crate) gap: bool,
}

impl Streamed {
    /// The offset to request next.
    pub(crate) fn next(&self) -> Option<u64> {
        self.begin.map(|begin| begin.saturating_add(self.bytes.len() as u64))
    }

    /// Whether that many more bytes are within the limit.
    fn has_room(&self, more: u64) -> bool {
        more <= LARGEST_STREAM.saturating_sub(self.bytes.len()) as u64
    }
}

/// The result of one attempt, before the decision to retry.
enum Attempt {
    Answer { status: u16, headers: HeaderMap, body: Vec<u8> },
    Failure { outcome: Outcome, error: Error },
}

impl Transport {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        // An error means that it is installed already; there is only one provider in the dependency graph.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let identity = match &config.client_cert {
            Some(path) => Some(tls::identity(path, config.client_key.as_deref())?),
            None => None,
        };
        let proxy = match &config.proxy {
            ProxyChoice::Through(proxy) => Some(proxy.clone()),
            ProxyChoice::Direct | ProxyChoice::Unset => None,
        };
        let through = proxy.as_ref().map(Proxy::to_reqwest).transpose().map_err(cannot_be_set_up)?;
        let builder = || {
            let mut builder = Http::builder()
                .tls_danger_accept_invalid_certs(!config.verify_tls)
                .user_agent(concat!("mlplatform-client/", env!("CARGO_PKG_VERSION")))
                .redirect(redirect::Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                .pool_idle_timeout(IDLE_TIMEOUT)
                .tcp_nodelay(true);
            if let Some(identity) = &identity {
                builder = builder.identity(identity.clone());
            }
            match &through {
                Some(proxy) => builder.proxy(proxy.clone()),
                // reqwest reads the operating system's setting.
                None if cfg!(any(windows, target_os = "macos")) && matches!(config.proxy, ProxyChoice::Unset) => {
                    builder
                }
                None => builder.no_proxy(),
            }
        };
        let http = match &config.ca_bundle {
            Some(path) => builder().tls_certs_only(tls::authorities(path)?).build(),
            // Slim containers have no certificate store: use the bundled authorities there.
            None => builder().build().or_else(|_| builder().tls_certs_only(tls::bundled_authorities()).build()),
        };
        Ok(Self { http: http.map_err(cannot_be_set_up)?, base: config.url.clone(), proxy })
    }

    /// Sends a request until an answer is final or the deadline has passed. One function for all routes: a copy for each
    /// would be most of the library's size.
    pub(crate) async fn call(
        &self,
        route: &Route,
        fields: Map<String, Value>,
        authorization: Option<&Secret>,
        attempts: &mut Attempts,
        deadline: Deadline,
    ) -> Result<Raw, Error> {
        let prepared = self.prepare(route, fields, authorization)?;
        let mut last = None;
        loop {
            let builder = prepared.try_clone().ok_or_else(|| Error::internal("a request that cannot be repeated"))?;
            let sending = self.send(attempts.next(builder), route);
            let Ok(attempt) = timeout_at(deadline.at(), sending).await else {
                let doing = format!("attempt {} of {}", attempts.made, route.name);
                return Err(deadline.passed(&doing).with_previous(last.as_ref()).after(attempts.made, None));
            };
            let (outcome, ending) = match attempt {
                Attempt::Failure { outcome, error } => (outcome, Err(error.after(attempts.made, None))),
                Attempt::Answer { status, headers, body } => {
                    let outcome = Outcome::Answered { status, retry_after: retry_after(&headers) };
                    (outcome, self.checked(route, status, headers, body, attempts.made))
                }
            };
            match decide(attempts.made, outcome, deadline.left(), random_fraction()) {
                Decision::Stop { .. } => return ending,
                Decision::Again { pause, .. } => sleep(pause).await,
            }
            last = ending.err();
        }
    }

    /// The content of a success.
    pub(crate) fn parse<T: DeserializeOwned>(&self, raw: &Raw) -> Result<T, Error> {
        // An answer without content is read as null: `()`.
        let body = if raw.body.is_empty() { b"null" } else { raw.body.as_slice() };
        serde_json::from_slice(body).map_err(|_| self.unreadable(raw))
    }

    fn unreadable(&self, Raw { status, headers, body, attempts }: &Raw) -> Error {
        self.foreign(*status, headers, body).after(*attempts, text_of(headers, headers::REQUEST_ID))
    }

    /// Like [`call`](Self::call), for a byte stream of any length, which is appended to `into`. After a broken connection, the
    /// missing part is requested: `request` makes the request from an offset, `None` at first.
    pub(crate) async fn stream<E: Endpoint>(
        &self,
        request: impl Fn(Option<u64>) -> E::Request,
        authorization: Option<&Secret>,
        attempts: &mut Attempts,
        deadline: Deadline,
        into: &mut Streamed,
    ) -> Result<(), Error> {
        let route = E::ROUTE;
        loop {
            let prepared = self.prepare(&route, fields(&request(into.next()))?, authorization)?;
            let before = into.bytes.len();
            let streaming = self.stream_once(attempts.next(prepared), route.success, into);
            let Ok(attempt) = timeout_at(deadline.at(), streaming).await else {
                return Err(deadline
                    .passed(&format!("attempt {} of {}", attempts.made, route.name))
                    .after(attempts.made, None));
            };
            let (outcome, error) = match attempt {
                Ok(()) => return Ok(()),
                Err(attempt) => self.failed_attempt(&route, attempt, attempts.made),
            };
            if into.bytes.len() > before {
                // Only attempts without progress count.
                attempts.made = 1;
            }
            match decide(attempts.made, outcome, deadline.left(), random_fraction()) {
                Decision::Again { pause, .. } => sleep(pause).await,
                Decision::Stop { .. } => return Err(error),
            }
        }
    }

    /// Begins a streamed answer: its headers, and the response to read the rest from. `asked` is the requested offset.
    pub(crate) async fn open<E: Endpoint>(
        &self,
        request: &E::Request,
        asked: Option<u64>,
        authorization: Option<&Secret>,
        attempts: &mut Attempts,
        deadline: Deadline,
    ) -> Result<(Response, Head), Error> {
        let route = E::ROUTE;
        loop {
            let prepared = attempts.next(self.prepare(&route, fields(request)?, authorization)?);
            let Ok(attempt) = timeout_at(deadline.at(), self.open_once(prepared, route.success, asked)).await else {
                let doing = format!("attempt {} of {}", attempts.made, route.name);
                return Err(deadline.passed(&doing).after(attempts.made, None));
            };
            let (outcome, error) = match attempt {
                Ok(opened) => return Ok(opened),
                Err(attempt) => self.failed_attempt(&route, attempt, attempts.made),
            };
            match decide(attempts.made, outcome, deadline.left(), random_fraction()) {
                Decision::Again { pause, .. } => sleep(pause).await,
                Decision::Stop { .. } => return Err(error),
            }
        }
    }

    /// The outcome and the error of a failed attempt.
    fn failed_attempt(&self, route: &Route, attempt: Attempt, made: u32) -> (Outcome, Error) {
        match attempt {
            Attempt::Failure { outcome, error } => (outcome, error.after(made, None)),
            Attempt::Answer { status, headers, body } => {
                let outcome = Outcome::Answered { status, retry_after: retry_after(&headers) };
                let error = match self.checked(route, status, headers, body, made) {
                    Err(error) => error,
                    Ok(raw) => self.unreadable(&raw),
                };
                (outcome, error)
            }
        }
    }

    /// The error of a broken stream.
    pub(crate) fn lost(&self, problem: reqwest::Error) -> Error {
        match self.failure(problem) {
            Attempt::Failure { error, .. } => error,
            Attempt::Answer { status, headers, body } => self.foreign(status, &headers, &body),
        }
    }

    async fn open_once(
        &self,
        request: RequestBuilder,
        success: u16,
        asked: Option<u64>,
    ) -> Result<(Response, Head), Attempt> {
        let mut response = request.send().await.map_err(|problem| self.failure(problem))?;
        let status = response.status().as_u16();
        let headers = response.headers_mut().clone();
        let number = |name| text_of(&headers, name).and_then(|text| text.parse::<u64>().ok());
        let Some(offset) = number(headers::LOG_OFFSET).filter(|_| status == success) else {
            let body = read_body(response, LARGEST_REFUSAL).await.map_err(|problem| self.failure(problem))?;
            return Err(Attempt::Answer { status, headers, body: body.unwrap_or_default() });
        };
        let dropped = number(headers::LOG_DROPPED).unwrap_or(0);
        if asked.is_some_and(|asked| asked.checked_add(dropped) != Some(offset)) {
            let what = "it sent another part of the log than requested";
            return Err(permanent(Error::foreign(status, what, &self.address())));
        }
        let last = text_of(&headers, headers::LOG_FINAL).as_deref() == Some("true");
        Ok((response, Head { offset, last, gap: number(headers::LOG_GAP) }))
    }

    async fn stream_once(&self, request: RequestBuilder, success: u16, into: &mut Streamed) -> Result<(), Attempt> {
        let (mut response, Head { offset, last, gap }) = self.open_once(request, success, into.next()).await?;
        if !into.has_room(response.content_length().unwrap_or(0)) {
            return Err(permanent(Error::too_long(success, LARGEST_STREAM)));
        }
        into.begin = Some(offset.saturating_sub(into.bytes.len() as u64));
        while let Some(chunk) = response.chunk().await.map_err(|problem| self.failure(problem))? {
            if !into.has_room(chunk.len() as u64) {
                return Err(permanent(Error::too_long(success, LARGEST_STREAM)));
            }
            into.bytes.extend_from_slice(&chunk);
        }
        into.last = last;
        into.gap = gap.is_some_and(|gap| gap > offset && Some(gap) == into.next());
        Ok(())
    }

    fn prepare(
        &self,
        route: &Route,
        fields: Map<String, Value>,
        authorization: Option<&Secret>,
    ) -> Result<RequestBuilder, Error> {
        let (path, rest) = route.fill(fields);
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        let mut builder = self.http.request(route.method.clone(), url);
        builder = if route.is_form() {
            builder.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form(&rest))
        } else if route.method == http::Method::POST {
            builder.json(&rest)
        } else if rest.is_empty() {
            builder
        } else {
            builder.query(&rest)
        };
        if let Some(authorization) = authorization {
            let mut value = HeaderValue::try_from(authorization.expose())
                .map_err(|_| Error::internal("the platform returned a session that is not valid in a header"))?;
            value.set_sensitive(true);
            builder = builder.header(AUTHORIZATION, value);
        }
        Ok(builder)
    }

    async fn send(&self, request: RequestBuilder, route: &Route) -> Attempt {
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(problem) => return self.failure(problem),
        };
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let largest = match route.name {
            _ if status != route.success => LARGEST_REFUSAL,
            name if name == DeleteIssuerTokens::ROUTE.name => LARGEST_RECORD,
            _ => LARGEST_ANSWER,
        };
        match read_body(response, largest).await {
            Ok(Some(body)) => Attempt::Answer { status, headers, body },
            Ok(None) => permanent(self.answer_too_large(status, largest)),
            Err(problem) => self.failure(problem),
        }
    }

    fn failure(&self, problem: reqwest::Error) -> Attempt {
        let problem = problem.without_url();
        let causes = causes(&problem);
        // A proxy forwards plain http: the only visible connection is the one to the proxy.
        let is_forwarded = self.proxy.is_some() && self.base.scheme() == "http";
        let what = Problem::of(&problem, &causes, is_forwarded);
        let error = Error::connection(&self.address(), what, self.proxy.as_ref(), causes);
        Attempt::Failure { outcome: what.outcome(), error }
    }

    /// A success, or the error that an answer is.
    fn checked(
        &self,
        route: &Route,
        status: u16,
        headers: HeaderMap,
        body: Vec<u8>,
        attempts: u32,
    ) -> Result<Raw, Error> {
        // Portals answer 204 to every request; the platform's answers have a request id.
        if status == route.success && (!body.is_empty() || headers.contains_key(headers::REQUEST_ID)) {
            return Ok(Raw { status, headers, body, attempts });
        }
        let refused = (status != route.success).then(|| refusal(route, status, &body)).flatten();
        let error = match refused {
            Some(error) => {
                let expired = text_of(&headers, headers::REFUSAL).as_deref() == Some(headers::REFUSAL_EXPIRED);
                Error::refused(error, expired, retry_after(&headers).map(|wait| wait.as_secs()))
            }
            None => self.foreign(status, &headers, &body),
        };
        Err(error.after(attempts, text_of(&headers, headers::REQUEST_ID)))
    }

    /// Guesses what answered. The error contains nothing of the answer, because a portal's page may contain anything.
    fn foreign(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Error {
        let kind = text_of(headers, "content-type").unwrap_or_default();
        let what = if (300..400).contains(&status) {
            "it redirects elsewhere (a portal, a sign-in page or a missing 's' in http); redirects are not followed, because they would receive the token"
        } else if status == 407 {
            "a proxy requires a user name and password (add them to the variable that names it, HTTPS_PROXY or HTTP_PROXY, or list the host in NO_PROXY)"
        } else if matches!(status, 502..=504) {
            "a proxy or load balancer in front of the platform cannot reach it; try again later"
        } else if kind.starts_with("text/html") || body.trim_ascii_start().starts_with(b"<") {
            "it sent a web page (a portal, a proxy, or another service at this address)"
        } else if body.is_empty() {
            "it sent an empty answer"
        } else if kind.starts_with("application/json") {
            "it sent JSON in another format (another service, or a version that this client does not know)"
        } else {
            "it sent an unknown format"
        };
        Error::foreign(status, what, &self.address())
    }

    /// An answer beyond the size limit.
    fn answer_too_large(&self, status: u16, largest: usize) -> Error {
        let what = format!("its answer is longer than {} MiB", largest / 1024 / 1024);
        Error::foreign(status, &what, &self.address())
    }

    /// A cursor beyond the size limit.
    pub(crate) fn cursor_too_long(&self, length: usize) -> Error {
        Error::foreign(200, &format!("the cursor of its list's next page has {length} bytes"), &self.address())
    }

    /// A list with a repeated cursor.
    pub(crate) fn repeated_cursor(&self) -> Error {
        Error::foreign(200, "a page of its list refers back to an earlier page", &self.address())
    }

    /// Scheme, host and port, without secrets.
    fn address(&self) -> String {
        self.base.origin().ascii_serialization()
    }
}

fn cannot_be_set_up(problem: reqwest::Error) -> Error {
    let causes = causes(&problem.without_url()).join(": ");
    Error::configuration(format!("the HTTP client cannot be set up: {causes}"))
}

/// The error of an answer in the platform's form, or, from another token service, in that of RFC 6749 §5.2.
fn refusal(route: &Route, status: u16, body: &[u8]) -> Option<ErrorBody> {
    let body: Value = serde_json::from_slice(body).ok()?;
    if let Some(error) = ErrorBody::deserialize(&body).ok().filter(|error| error.status == status) {
        return Some(error);
    }
    let text = |key| body.get(key).and_then(Value::as_str);
    let error = text("error").filter(|_| route.is_form())?;
    let code = ErrorCode::ALL.iter().find(|code| code.status() == status)?;
    Some(ErrorBody::new(*code, format!("{error}: {}", text("error_description").unwrap_or_default())))
}

/// The fields as a form.
fn form(fields: &Map<String, Value>) -> String {
    let pairs = fields.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_str()?))));
    pairs.collect::<Vec<_>>().join("&")
}

/// The fields of a request.
pub(crate) fn fields<R: Serialize>(request: &R) -> Result<Map<String, Value>, Error> {
    match serde_json::to_value(request).map_err(Error::internal)? {
        Value::Object(fields) => Ok(fields),
        _ => Ok(Map::new()),
    }
}

/// A failure that another attempt would repeat.
fn permanent(error: Error) -> Attempt {
    Attempt::Failure { outcome: Outcome::Permanent, error }
}

async fn read_body(mut response: Response, largest: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len().saturating_add(chunk.len()) > largest {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Seconds or an HTTP date (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = text_of(headers, RETRY_AFTER.as_str())?;
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that overflows is longer than any timeout.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let then = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(then.duration_since(jiff::Timestamp::now())).unwrap_or_default())
}

fn random_key() -> Result<String, Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(Error::internal)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A random number from 0 to 1; without a random source the pauses are not spread.
fn random_fraction() -> f64 {
    getrandom::u32().map_or(1.0, |number| f64::from(number) / f64::from(u32::MAX))
}
