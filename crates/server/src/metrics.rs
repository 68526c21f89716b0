//! The listener of its own that metrics are scraped from, on this machine alone.

use std::{
    net::{SocketAddr, TcpListener},
    ops::RangeInclusive,
    sync::Arc,
};

use axum::{
    Router,
    extract::{ConnectInfo, State},
    response::{IntoResponse, Response},
    routing::get,
};
use axum_server::accept::DefaultAcceptor;
use http::{StatusCode, header};
use hyper_util::rt::TokioTimer;

use mlplatform_api::proxies::Proxies;
use mlplatform_api::refusal::refusal;
use mlplatform_platform::{app::App, concurrency::ConcurrencyLimit, metrics::CONTENT_TYPE};

use crate::{
    listen::{ConnectionLimits, LimitedAcceptor},
    peer,
    start::StartError,
};

/// Connections. Prometheus has one; a second one asks by hand.
const CONNECTIONS: usize = 16;
/// The most that is read of a request's head.
const LARGEST_HEAD: usize = 16 * 1024;

/// Where metrics are served.
#[derive(Debug)]
pub(crate) struct MetricsListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl MetricsListener {
    /// Takes a socket that listens on this machine alone: metrics tell nobody's secrets, but they are not for strangers,
    /// and whoever scrapes is asked for nothing here.
    ///
    /// # Errors
    /// When others can reach it.
    pub(crate) fn new(listener: TcpListener) -> Result<Self, StartError> {
        let address =
            listener.local_addr().map_err(|error| StartError::System("the metrics listener failed", error))?;
        if address.ip().to_canonical().is_loopback() {
            return Ok(Self { listener, address });
        }
        Err(StartError::Listen {
            address: address.to_string(),
            problem: "metrics are served without a token there, so only to this machine: give 127.0.0.1:PORT, and scrape \
                      from beside the server, or ask the platform's own address for /metrics with an Administrator's session"
                .to_owned(),
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }
}

/// For as long as the server runs.
pub(crate) async fn serve(app: App, listening: MetricsListener, job_users: Option<RangeInclusive<u32>>) {
    let MetricsListener { listener, address } = listening;
    let limits = *app.limits();
    let service = Router::new()
        .route("/metrics", get(metrics))
        .with_state((app, address, job_users.clone()))
        .into_make_service_with_connect_info::<SocketAddr>();
    let mut server = match axum_server::from_tcp(listener) {
        Ok(server) => server,
        Err(error) => return tracing::error!("metrics are not served: {error}"),
    };
    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(LARGEST_HEAD);
    let gate = ConnectionLimits {
        patience: limits.head,
        stall: limits.stall,
        permits: ConcurrencyLimit::new(CONNECTIONS),
        http2: ConcurrencyLimit::new(0),
        proxies: Arc::new(Proxies::default()),
        job_users,
    };
    if let Err(error) = server.acceptor(LimitedAcceptor::new(DefaultAcceptor::new(), gate)).serve(service).await {
        tracing::error!("metrics are not served any more: {error}");
    }
}

async fn metrics(
    State((app, here, job_users)): State<(App, SocketAddr, Option<RangeInclusive<u32>>)>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
) -> Response {
    if let Some(users) = job_users {
        match peer::owner(peer, here).await {
            Ok(Some(owner)) if !users.contains(&owner) => {}
            _ => return (StatusCode::FORBIDDEN, "metrics are not for jobs\n").into_response(),
        }
    }
    match app.metrics().scrape(&app).await {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")], text).into_response(),
        Err(error) => refusal(error),
    }
}
