//! The listener's connections, and for how long one may be a stranger's.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper::{server::conn::http2::Builder, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use crate::{
    access::Access,
    gateway::Gateway,
    windows::{CONNECTION_WINDOW, SEND_BUFFER, STREAM_WINDOW},
};

/// Calls that a connection has at once: more wait in the client.
const MOST_STREAMS: u32 = 100;
/// Of a call's metadata.
const LARGEST_HEAD: u32 = 16 * 1024;
/// A connection is asked whether it is still there this often …
const PING_EVERY: Duration = Duration::from_secs(30);
/// … and closed when it has not answered for this long.
const PING_PATIENCE: Duration = Duration::from_secs(20);
/// After a failure to take a connection: no file is left, mostly.
const PAUSE: Duration = Duration::from_millis(100);

/// How the gateway treats connections.
#[derive(Clone)]
pub struct Settings {
    /// With it, TLS is spoken, and nothing else.
    pub tls: Option<Arc<ServerConfig>>,
    /// Until a good token must have come, and for a TLS handshake.
    pub patience: Duration,
    /// For calls in progress, when the gateway stops.
    pub drain: Duration,
}

/// Serves until `stop` changes, or its sender is dropped; then calls in progress have a while.
pub async fn serve<A: Access>(
    listener: TcpListener,
    access: Arc<A>,
    settings: Settings,
    mut stop: watch::Receiver<bool>,
) {
    let tls = settings.tls.as_ref().map(|config| {
        let mut config = ServerConfig::clone(config);
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    });
    let mut connections = JoinSet::new();
    let stopped = stop.clone();
    loop {
        let accepted = tokio::select! {
            _ = stop.changed() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (access, settings, tls, stopped) =
                    (Arc::clone(&access), settings.clone(), tls.clone(), stopped.clone());
                connections.spawn(async move {
                    if let Err(error) = connection(stream, peer, access, &settings, tls, stopped).await {
                        tracing::debug!("a connection for Spark Connect was not taken: {error}");
                    }
                });
            }
            Err(error) => {
                tracing::debug!("a connection for Spark Connect cannot be taken: {error}");
                sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    let _ = timeout(settings.drain, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection<A: Access>(
    stream: TcpStream,
    peer: SocketAddr,
    access: Arc<A>,
    settings: &Settings,
    tls: Option<TlsAcceptor>,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let Some(_place) = access.connection(peer.ip()) else { return Ok(()) };
    stream.set_nodelay(true)?;
    let gateway = Arc::new(Gateway::new(access, peer.ip()));
    match tls {
        None => calls(stream, gateway, settings, stop).await,
        Some(tls) => {
            let stream = timeout(settings.patience, tls.accept(stream)).await??;
            calls(stream, gateway, settings, stop).await;
        }
    }
    Ok(())
}

async fn calls<A: Access>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    gateway: Arc<Gateway<A>>,
    settings: &Settings,
    mut stop: watch::Receiver<bool>,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE)
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(LARGEST_HEAD)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER);
    let answering = Arc::clone(&gateway);
    let service = service_fn(move |request| {
        let gateway = Arc::clone(&answering);
        async move { Ok::<_, Infallible>(gateway.answer(request).await) }
    });
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = stranger(&gateway, settings.patience) => return,
        _ = stop.changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("a connection for Spark Connect has ended: {error}");
    }
}

/// Resolves when no good token has come in time.
async fn stranger<A: Access>(gateway: &Gateway<A>, patience: Duration) {
    sleep(patience).await;
    if gateway.is_known() {
        std::future::pending::<()>().await;
    }
}
