//! The gateway for Spark Connect, given the platform's tokens and servers.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::HeaderValue;
use mlplatform_connect::{
    Settings,
    access::{Access, Answer, Backend, Begun, Call, Check, Operation, User},
    method::RELEASE_SESSION,
    release, serve, server_ended,
    status::{Code, Status},
};
use mlplatform_platform::{
    app::App,
    concurrency::ConcurrencyLimit,
    connect::{
        calls::{self, BegunCall, CallKind, ConnectUser},
        live::{CallEnd, LiveCall, Server},
        watch::{LOOK, Watch},
    },
    error::{Error, causes},
    request::RequestContext,
};
use mlplatform_protocol::{ErrorCode, error::FIELD_FORBIDDEN};
use rustix::process::geteuid;
use secrecy::{ExposeSecret, SecretString};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use crate::{peer, start::StartError};

/// Connections, of which one address has half at most.
const MOST_CONNECTIONS: usize = 4096;

/// A listener for Spark Connect.
pub struct ConnectListener {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl ConnectListener {
    /// Takes a bound listener.
    pub(crate) fn new(listener: TcpListener, tls: Option<Arc<rustls::ServerConfig>>) -> Result<Self, StartError> {
        let failed = |error| StartError::System("the listener of Spark Connect failed", error);
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, tls })
    }

    pub(crate) fn is_loopback(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }

    /// What a client is given, but for the token.
    pub(crate) fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        format!("sc://{address}/{}", if self.tls.is_some() { ";use_ssl=true" } else { "" })
    }
}

/// The gateway while it is served.
pub(crate) struct Gateway {
    stop: watch::Sender<bool>,
    drain: Duration,
    tasks: [JoinHandle<()>; 2],
}

impl Gateway {
    /// Returns when it is over; calls in progress have a while.
    pub(crate) async fn stop(self) {
        let [serving, watching] = self.tasks;
        self.stop.send_replace(true);
        if timeout(self.drain.saturating_add(LOOK), serving).await.is_err() {
            tracing::warn!("calls of Spark Connect were cut off");
        }
        watching.abort();
    }
}

/// Serves, and watches tokens and sessions.
pub(crate) fn start(app: &App, listener: ConnectListener, job_uids: Option<RangeInclusive<u32>>) -> Gateway {
    let (stop, stopped) = watch::channel(false);
    app.connect().listens(listener.address.port());
    let permits = ConcurrencyLimit::new(MOST_CONNECTIONS);
    app.metrics().watch_limit("connect_connections", &permits);
    let platform = Arc::new(Platform { app: app.clone(), permits, job_uids: job_uids.clone() });
    let (patience, drain) = (app.limits().head, app.limits().drain);
    let settings = Settings { tls: listener.tls, patience, drain };
    let serving = tokio::spawn(async move {
        match tokio::net::TcpListener::from_std(listener.listener) {
            Ok(listener) => serve(listener, platform, settings, stopped).await,
            Err(error) => tracing::error!("Spark Connect is not served: its listener failed: {error}"),
        }
    });
    let watching = tokio::spawn(keep_watch(app.clone(), job_uids));
    Gateway { stop, drain, tasks: [serving, watching] }
}

async fn keep_watch(app: App, job_uids: Option<RangeInclusive<u32>>) {
    let mut watch = Watch::default();
    loop {
        let _ = timeout(LOOK, app.connect().woken()).await;
        if let Err(error) = watch.look(&app).await {
            tracing::error!("sessions of Spark Connect could not be looked after: {error}: {:?}", causes(&error));
        }
        for closed in app.connect().take_releases() {
            let backend = backend(&closed.server, job_uids.as_ref());
            tokio::spawn(async move {
                let Ok(backend) = backend else { return };
                if let Err(status) = release(&backend, &closed.token_id, &closed.session_id).await {
                    tracing::warn!("a Connect server could not be told that a session is over: {status}");
                }
            });
        }
    }
}

/// The platform, as the gateway sees it.
struct Platform {
    app: App,
    permits: Arc<ConcurrencyLimit>,
    job_uids: Option<RangeInclusive<u32>>,
}

/// The token that calls.
#[derive(Clone)]
struct Token(ConnectUser);

impl User for Token {
    fn id(&self) -> &str {
        self.0.id()
    }
}

impl Access for Platform {
    type User = Token;

    fn connection(&self, peer: IpAddr) -> Option<Box<dyn Send>> {
        self.permits.acquire(peer.into()).ok().map(|permit| Box::new(permit) as Box<dyn Send>)
    }

    fn authenticate(&self, token: SecretString, peer: IpAddr) -> Answer<'_, Token> {
        Box::pin(async move {
            let context = Arc::new(RequestContext::new(peer.to_canonical().to_string()));
            let user = calls::authenticate(&self.app, Arc::clone(&context), token.expose_secret()).await;
            if context.is_delayed() {
                tokio::time::sleep(self.app.limits().refusal_delay).await;
            }
            user.map(Token).map_err(|error| status(&error))
        })
    }

    fn begin(&self, Token(user): Token, call: Call) -> Answer<'_, Begun> {
        Box::pin(async move {
            let kind = CallKind { runs: call.method.runs, opens: call.method.opens };
            let begun = calls::begin(&self.app, &user, call.cluster.as_deref(), &call.session_id, kind).await;
            let BegunCall { server, call: live, ended } = begun.map_err(|error| status(&error))?;
            let releases = call.method.name == RELEASE_SESSION;
            let operation = Box::new(InProgress { app: self.app.clone(), live: Some(live), releases });
            let server = Arc::new(backend(&server, self.job_uids.as_ref())?);
            Ok(Begun { server, ended: Box::pin(end(ended)), operation })
        })
    }
}

struct InProgress {
    app: App,
    live: Option<LiveCall>,
    /// Its success is the session's end.
    releases: bool,
}

impl Operation for InProgress {
    fn succeeded(&mut self) {
        if let Some(live) = self.live.as_ref().filter(|_| self.releases) {
            live.released();
        }
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            live.end(self.app.clock().now().as_microsecond());
        }
    }
}

/// Resolves when the platform ends a call.
async fn end(mut ended: watch::Receiver<Option<CallEnd>>) -> Status {
    match ended.wait_for(Option::is_some).await.ok().and_then(|end| end.clone()) {
        Some(CallEnd::Token(reason)) => {
            let text = format!("the access token of this session was {reason}: connect again with one that is good");
            Status::new(Code::Unauthenticated, text)
        }
        Some(CallEnd::Closed(reason)) => {
            Status::new(Code::FailedPrecondition, format!("the session was closed: {reason}; make a new SparkSession"))
        }
        Some(CallEnd::Server) => server_ended(),
        // Whoever could say it has gone: then nobody does.
        None => std::future::pending().await,
    }
}

struct Owner(Option<u32>);

impl Check for Owner {
    fn is_server(&self, address: SocketAddr) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            match self.0 {
                Some(user) => peer::is_listener(address, user).await,
                None => false,
            }
        })
    }
}

fn backend(server: &Server, job_uids: Option<&RangeInclusive<u32>>) -> Result<Backend, Status> {
    let owner = match (server.user_id, job_uids) {
        (Some(user), _) => Some(user),
        (None, Some(users)) => Some(*users.start()).filter(|user| user == users.end()),
        (None, None) => Some(geteuid().as_raw()),
    };
    let authorization = HeaderValue::from_str(&format!("Bearer {}", server.secret.expose()));
    let mut authorization =
        authorization.map_err(|_| Status::new(Code::Internal, "the secret of a Connect server is none"))?;
    authorization.set_sensitive(true);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port));
    Ok(Backend { address, authorization, check: Box::new(Owner(owner)) })
}

/// An error as gRPC says it.
fn status(error: &Error) -> Status {
    if let Some(text) = error.temporary() {
        return Status::new(Code::Unavailable, text);
    }
    match error {
        Error::Refused { code, field, .. } => {
            let code = match code {
                ErrorCode::BadRequest => Code::InvalidArgument,
                ErrorCode::Unauthorized => Code::Unauthenticated,
                ErrorCode::Forbidden if field == FIELD_FORBIDDEN => Code::Unauthenticated,
                ErrorCode::Forbidden => Code::PermissionDenied,
                ErrorCode::NotFound => Code::NotFound,
                ErrorCode::TooManyRequests => Code::ResourceExhausted,
                ErrorCode::ServiceUnavailable => Code::Unavailable,
                _ => Code::FailedPrecondition,
            };
            Status::new(code, field)
        }
        Error::TooMany { retry_after } => {
            let text =
                format!("too many tokens that are not good came from this address: try again in {retry_after} seconds");
            Status::new(Code::ResourceExhausted, text)
        }
        error => {
            let error: &dyn std::error::Error = error;
            tracing::error!("a call of Spark Connect failed: {error}: {:?}", causes(error));
            Status::new(Code::Internal, io::Error::other("the platform failed; its log says why").to_string())
        }
    }
}
