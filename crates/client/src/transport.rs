//! One request over HTTP, sent as often as is safe, until its deadline.

use std::time::Duration;

use mlplatform_protocol::{Endpoint, ErrorBody, Repeat, Route, Secret, headers, routes::DeleteIssuerTokens};
use reqwest::{
    Client as Http, RequestBuilder, Response, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect,
};
use serde_json::{Map, Value};
use tokio::time::{sleep, timeout_at};

use crate::{
    config::Config,
    deadline::Deadline,
    error::Error,
    failure::{Problem, causes},
    proxy::{Proxy, ProxyChoice},
    retry::{Decision, Outcome, decide},
    tls,
    upload::{self, OnSent},
};

/// Longer than any healthy connection takes, short enough that a dead address is told within the call.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The platform answers in milliseconds; a connection that is silent for this long is dead, and there may be time for another.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Below what proxies and load balancers commonly allow an idle connection (60 s), so that we close it first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// The largest answer that is read, and that of one call which tells in one answer all that it has done: 100,000 tokens. A
/// page of the longest list has a tenth of the first, the largest config map three quarters. Whoever sends more is not the
/// platform. (What is read takes up to 16 times as much memory: a list of zeros in a job's description does.)
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;
const LARGEST_RECORD: usize = 32 * 1024 * 1024;
/// The largest refusal that is read. The platform's have a kilobyte; portals have pages, which are told as such.
const LARGEST_REFUSAL: usize = 1024 * 1024;
/// The longest log, or part of one, that is held in memory. A notebook has a few gigabytes, and Python's text of it
/// takes as much again.
const LARGEST_STREAM: usize = 512 * 1024 * 1024;

/// An answer, and the number of bytes that it came in.
pub(crate) struct Received<T> {
    pub(crate) answer: T,
    pub(crate) bytes: usize,
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
    /// Is called while the body of an attempt is sent.
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

/// What is said of a part of a log before it comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// Where it begins.
    pub(crate) offset: u64,
    /// Nothing follows.
    pub(crate) last: bool,
    /// It ends here, where the platform has dropped bytes, and behind them is more.
    pub(crate) gap: Option<u64>,
}

/// What a stream has brought so far.
#[derive(Debug, Default)]
pub(crate) struct Streamed {
    /// Where in the whole it begins.
    begin: Option<u64>,
    pub(crate) bytes: Vec<u8>,
    /// Nothing follows.
    pub(crate) last: bool,
    /// What follows are bytes that the platform has dropped, and behind them more.
    pub(crate) gap: bool,
}

impl Streamed {
    /// What is to be asked for next.
    pub(crate) fn next(&self) -> Option<u64> {
        self.begin.map(|begin| begin.saturating_add(self.bytes.len() as u64))
    }

    /// Whether so many bytes more are still held.
    fn has_room(&self, more: u64) -> bool {
        more <= LARGEST_STREAM.saturating_sub(self.bytes.len()) as u64
    }
}

/// An answer, or why there is none, before it is decided whether to try again.
enum Attempt {
    Answer { status: u16, headers: HeaderMap, body: Vec<u8> },
    Failure { outcome: Outcome, error: Error },
}

impl Transport {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        // One provider in the whole graph. When another part of the process was first, it is the same one.
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
                // There reqwest asks the operating system.
                None if cfg!(any(windows, target_os = "macos")) && matches!(config.proxy, ProxyChoice::Unset) => {
                    builder
                }
                None => builder.no_proxy(),
            }
        };
        let http = match &config.ca_bundle {
            Some(path) => builder().tls_certs_only(tls::authorities(path)?).build(),
            // Machines without a store of authorities exist (slim containers): the bundled ones serve there.
            None => builder().build().or_else(|_| builder().tls_certs_only(tls::bundled_authorities()).build()),
        };
        Ok(Self { http: http.map_err(cannot_be_set_up)?, base: config.url.clone(), proxy })
    }

    /// Sends until there is an answer that is final, or no time.
    pub(crate) async fn call<E: Endpoint>(
        &self,
        request: &E::Request,
        bearer: Option<&Secret>,
        attempts: &mut Attempts,
        deadline: Deadline,
    ) -> Result<Received<E::Response>, Error> {
        let route = E::ROUTE;
        let prepared = self.prepare(&route, request, bearer)?;
        let mut last = None;
        loop {
            let builder = prepared.try_clone().ok_or_else(|| Error::internal("a request that cannot be repeated"))?;
            let sending = self.send(attempts.next(builder), &route);
            let Ok(attempt) = timeout_at(deadline.at(), sending).await else {
                let doing = format!("attempt {} of {}", attempts.made, route.name);
                return Err(deadline.passed(&doing).following(last.as_ref()).after(attempts.made, None));
            };
            let (outcome, ending) = match attempt {
                Attempt::Failure { outcome, error } => (outcome, Err(error.after(attempts.made, None))),
                Attempt::Answer { status, headers, body } => {
                    let retry_after = retry_after(&headers);
                    let request_id = text_of(&headers, headers::REQUEST_ID);
                    let ending = self.read::<E>(status, &headers, &body, retry_after);
                    let ending = ending.map(|answer| Received { answer, bytes: body.len() });
                    let ending = ending.map_err(|error| error.after(attempts.made, request_id));
                    (Outcome::Answered { status, retry_after }, ending)
                }
            };
            match decide(attempts.made, outcome, deadline.left(), chance()) {
                Decision::Stop { .. } => return ending,
                Decision::Again { pause, .. } => sleep(pause).await,
            }
            last = ending.err();
        }
    }

    /// Like [`call`](Self::call), for an answer that is no JSON and may have any length: its bytes are added to `into`
    /// as they come. When it breaks, what is missing is asked for: `request` makes the request for what follows so many
    /// bytes of the whole, `None` at the first.
    pub(crate) async fn stream<E: Endpoint>(
        &self,
        request: impl Fn(Option<u64>) -> E::Request,
        bearer: Option<&Secret>,
        attempts: &mut Attempts,
        deadline: Deadline,
        into: &mut Streamed,
    ) -> Result<(), Error> {
        let route = E::ROUTE;
        loop {
            let prepared = self.prepare(&route, &request(into.next()), bearer)?;
            let before = into.bytes.len();
            let streaming = self.stream_once(attempts.next(prepared), route.success, into);
            let Ok(attempt) = timeout_at(deadline.at(), streaming).await else {
                return Err(deadline
                    .passed(&format!("attempt {} of {}", attempts.made, route.name))
                    .after(attempts.made, None));
            };
            let (outcome, error) = match attempt {
                Ok(()) => return Ok(()),
                Err(attempt) => self.told::<E>(attempt, attempts.made),
            };
            if into.bytes.len() > before {
                // It went on: the patience is for attempts that bring nothing.
                attempts.made = 1;
            }
            match decide(attempts.made, outcome, deadline.left(), chance()) {
                Decision::Again { pause, .. } => sleep(pause).await,
                Decision::Stop { .. } => return Err(error),
            }
        }
    }

    /// Begins an answer that is a stream: its head, and the response that brings the rest. `asked` is the byte that was
    /// asked for.
    pub(crate) async fn open<E: Endpoint>(
        &self,
        request: &E::Request,
        asked: Option<u64>,
        bearer: Option<&Secret>,
        attempts: &mut Attempts,
        deadline: Deadline,
    ) -> Result<(Response, Head), Error> {
        let route = E::ROUTE;
        loop {
            let prepared = attempts.next(self.prepare(&route, request, bearer)?);
            let Ok(attempt) = timeout_at(deadline.at(), self.open_once(prepared, route.success, asked)).await else {
                let doing = format!("attempt {} of {}", attempts.made, route.name);
                return Err(deadline.passed(&doing).after(attempts.made, None));
            };
            let (outcome, error) = match attempt {
                Ok(opened) => return Ok(opened),
                Err(attempt) => self.told::<E>(attempt, attempts.made),
            };
            match decide(attempts.made, outcome, deadline.left(), chance()) {
                Decision::Again { pause, .. } => sleep(pause).await,
                Decision::Stop { .. } => return Err(error),
            }
        }
    }

    /// An attempt that brought no stream.
    fn told<E: Endpoint>(&self, attempt: Attempt, made: u32) -> (Outcome, Error) {
        match attempt {
            Attempt::Failure { outcome, error } => (outcome, error.after(made, None)),
            Attempt::Answer { status, headers, body } => {
                let retry_after = retry_after(&headers);
                let request_id = text_of(&headers, headers::REQUEST_ID);
                let error = match self.read::<E>(status, &headers, &body, retry_after) {
                    Err(error) => error,
                    Ok(_) => self.foreign(status, &headers, &body),
                };
                (Outcome::Answered { status, retry_after }, error.after(made, request_id))
            }
        }
    }

    /// A stream that broke.
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
            let what = "it sent another part of the log than was asked for";
            return Err(hopeless(Error::foreign(status, what, &self.address())));
        }
        let last = text_of(&headers, headers::LOG_FINAL).as_deref() == Some("true");
        Ok((response, Head { offset, last, gap: number(headers::LOG_GAP) }))
    }

    async fn stream_once(&self, request: RequestBuilder, success: u16, into: &mut Streamed) -> Result<(), Attempt> {
        let (mut response, Head { offset, last, gap }) = self.open_once(request, success, into.next()).await?;
        if !into.has_room(response.content_length().unwrap_or(0)) {
            return Err(hopeless(Error::too_long(success, LARGEST_STREAM)));
        }
        into.begin = Some(offset.saturating_sub(into.bytes.len() as u64));
        while let Some(chunk) = response.chunk().await.map_err(|problem| self.failure(problem))? {
            if !into.has_room(chunk.len() as u64) {
                return Err(hopeless(Error::too_long(success, LARGEST_STREAM)));
            }
            into.bytes.extend_from_slice(&chunk);
        }
        into.last = last;
        into.gap = gap.is_some_and(|gap| gap > offset && Some(gap) == into.next());
        Ok(())
    }

    fn prepare<R: serde::Serialize>(
        &self,
        route: &Route,
        request: &R,
        bearer: Option<&Secret>,
    ) -> Result<RequestBuilder, Error> {
        let fields = match serde_json::to_value(request).map_err(Error::internal)? {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        let (path, rest) = route.fill(fields);
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        let mut builder = self.http.request(route.method.clone(), url);
        builder = if route.method == http::Method::POST {
            builder.json(&rest)
        } else if rest.is_empty() {
            builder
        } else {
            builder.query(&rest)
        };
        if let Some(token) = bearer {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
                .map_err(|_| Error::internal("the platform gave a session that no header can carry"))?;
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
            Ok(None) => hopeless(self.endless(status, largest)),
            Err(problem) => self.failure(problem),
        }
    }

    fn failure(&self, problem: reqwest::Error) -> Attempt {
        let problem = problem.without_url();
        let causes = causes(&problem);
        // Plain http is forwarded by a proxy: the connection is to the proxy, and no other is seen from here.
        let is_forwarded = self.proxy.is_some() && self.base.scheme() == "http";
        let what = Problem::of(&problem, &causes, is_forwarded);
        let error = Error::connection(&self.address(), what, self.proxy.as_ref(), causes);
        Attempt::Failure { outcome: what.outcome(), error }
    }

    fn read<E: Endpoint>(
        &self,
        status: u16,
        headers: &HeaderMap,
        body: &[u8],
        retry_after: Option<Duration>,
    ) -> Result<E::Response, Error> {
        if status == E::ROUTE.success {
            // Nothing in it says that this is the platform's, and portals answer 204 to everybody.
            if body.is_empty() && !headers.contains_key(headers::REQUEST_ID) {
                return Err(self.foreign(status, headers, body));
            }
            // An answer without content is JSON's null: `()`.
            let body = if body.is_empty() { b"null" } else { body };
            return serde_json::from_slice(body).map_err(|_| self.foreign(status, headers, body));
        }
        match serde_json::from_slice::<ErrorBody>(body) {
            Ok(error) if error.status == status => {
                let expired = text_of(headers, headers::REFUSAL).as_deref() == Some(headers::REFUSAL_EXPIRED);
                Err(Error::refused(error, expired, retry_after.map(|wait| wait.as_secs())))
            }
            _ => Err(self.foreign(status, headers, body)),
        }
    }

    /// Says what the address seems to be. Of the answer itself nothing is shown: a portal's page may hold anything.
    fn foreign(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Error {
        let kind = text_of(headers, "content-type").unwrap_or_default();
        let what = if (300..400).contains(&status) {
            "it redirects elsewhere (a portal, a sign-in page or a missing 's' in http); redirects are not followed, because a token would go along"
        } else if status == 407 {
            "a proxy wants a user name and password (write them into the variable that names it, HTTPS_PROXY or HTTP_PROXY, or name the host in NO_PROXY)"
        } else if matches!(status, 502..=504) {
            "a proxy or load balancer in front of it says that the platform behind is out of reach; try again later"
        } else if kind.starts_with("text/html") || body.trim_ascii_start().starts_with(b"<") {
            "it sent a web page (a portal, a proxy, or another service at this address)"
        } else if body.is_empty() {
            "it sent nothing"
        } else if kind.starts_with("application/json") {
            "it sent JSON of another form (another service, or a version that this client does not know)"
        } else {
            "it sent something else"
        };
        Error::foreign(status, what, &self.address())
    }

    /// An answer that goes on and on.
    fn endless(&self, status: u16, largest: usize) -> Error {
        let what = format!("its answer does not end: it has more than {} MiB", largest / 1024 / 1024);
        Error::foreign(status, &what, &self.address())
    }

    /// A cursor that no address can hold.
    pub(crate) fn no_cursor(&self, length: usize) -> Error {
        Error::foreign(200, &format!("the cursor of its list's next page has {length} bytes"), &self.address())
    }

    /// A list whose pages lead back to one that was read already.
    pub(crate) fn circling(&self) -> Error {
        Error::foreign(200, "the pages of its list lead back to one that was read already", &self.address())
    }

    /// Scheme, host and port: enough to find the mistake, and never a secret.
    fn address(&self) -> String {
        self.base.origin().ascii_serialization()
    }
}

fn cannot_be_set_up(problem: reqwest::Error) -> Error {
    let causes = causes(&problem.without_url()).join(": ");
    Error::configuration(format!("the HTTP client cannot be set up: {causes}"))
}

/// Another attempt would get the same.
fn hopeless(error: Error) -> Attempt {
    Attempt::Failure { outcome: Outcome::Hopeless, error }
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
        // More than a number can hold is still longer than anybody waits.
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

/// A random number from 0 to 1; without randomness, pauses are not spread, and that is all.
fn chance() -> f64 {
    getrandom::u32().map_or(1.0, |number| f64::from(number) / f64::from(u32::MAX))
}
