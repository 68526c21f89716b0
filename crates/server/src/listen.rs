//! The listener and its limits: which addresses may be listened on, how many connections one address may have, and for
//! how long one may be silent or deaf.

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    ops::RangeInclusive,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Extension, middleware::AddExtension};
use axum_server::accept::Accept;
use mlplatform_api::{
    connection::{Connection, StallTimeout},
    proxies::Proxies,
};
use mlplatform_platform::{
    concurrency::{ConcurrencyLimit, LimitReached, Permit},
    network::Network,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};
use tower_layer::Layer;

use crate::{peer, start::StartError};

/// Connections that wait to be taken.
const BACKLOG: i32 = 4096;

/// Binds `HOST:PORT`. Without TLS, tokens may cross no network: every address that the host stands for must then be
/// one of this machine alone.
///
/// # Errors
/// When the address is none, is taken, or must not be listened on without TLS.
pub fn bind(address: &str, tls: bool) -> Result<TcpListener, StartError> {
    let failed =
        |problem: String| StartError::Listen { address: mlplatform_platform::text::harmless(address), problem };
    let found = address.to_socket_addrs().map_err(|error| {
        failed(format!("{error}; give HOST:PORT, such as 127.0.0.1:8765, localhost:0 (any free port) or [::1]:8765"))
    })?;
    let addresses: Vec<SocketAddr> = found.collect();
    if !tls && let Some(public) = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback()) {
        let ip = public.ip();
        return Err(failed(format!(
            "{ip} can be reached from other machines, and without TLS tokens would cross the network as plain text: \
             give --tls-cert and --tls-key, or listen on 127.0.0.1"
        )));
    }
    let listener = TcpListener::bind(addresses.as_slice()).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => failed("something listens there already: stop it, or give another port".to_owned()),
        io::ErrorKind::PermissionDenied => {
            failed("ports below 1024 need a permission that this process lacks: give a higher port".to_owned())
        }
        _ => failed(error.to_string()),
    })?;
    // Longer than the standard library's, and as long as Linux allows by default: who dials in a crowd is not lost in it.
    rustix::net::listen(&listener, BACKLOG).map_err(|error| failed(error.to_string()))?;
    listener.set_nonblocking(true).map_err(|error| failed(error.to_string()))?;
    Ok(listener)
}

/// Connections that there are at most, whatever the system allows: each costs memory, a head that is half sent most of all.
const MOST_CONNECTIONS: usize = 12_288;
/// Of them, those of HTTP/2: each may have as many requests as there are streams.
pub(crate) const MOST_HTTP2: usize = 1024;
/// What the system takes for a connection beyond what is on its way: of an answer that is not read, no more than that
/// leaves this process, and that it is not read is seen.
const NOT_SENT: u32 = 128 * 1024;

/// Lets this process have as many files open as the system allows it at most, and says how many connections that makes.
pub(crate) fn raise_file_limit() -> usize {
    let allowed = getrlimit(Resource::Nofile);
    // Where that cannot be, what there is has to do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: allowed.maximum, ..allowed });
    let files = getrlimit(Resource::Nofile).current.and_then(|files| files.try_into().ok());
    files.unwrap_or(MOST_CONNECTIONS).min(MOST_CONNECTIONS)
}

/// Wraps another acceptor: a connection that has not said enough to tell its protocol in time is closed, and so is one
/// of an address that has more than its share, and one that does not take its answers. (From the first words on, the
/// timeouts of HTTP/1 heads and HTTP/2 pings hold.)
#[derive(Clone, Debug)]
pub(crate) struct LimitedAcceptor<A> {
    inner: A,
    limits: Arc<ConnectionLimits>,
}

/// Who is let in, and for how long.
#[derive(Debug)]
pub(crate) struct ConnectionLimits {
    /// For the first words.
    pub(crate) patience: Duration,
    /// For answers to be taken.
    pub(crate) stall: Duration,
    pub(crate) permits: Arc<ConcurrencyLimit>,
    pub(crate) http2: Arc<ConcurrencyLimit>,
    /// They may have any number: they speak for many.
    pub(crate) proxies: Arc<Proxies>,
    /// Jobs run as these users: one of theirs is no proxy, whatever its address.
    pub(crate) job_users: Option<RangeInclusive<u32>>,
}

impl ConnectionLimits {
    /// Its place among the connections (`None`: it need not be counted), and whether it is a job's.
    async fn admit(&self, stream: &TcpStream) -> io::Result<(Option<Permit>, bool)> {
        let peer = stream.peer_addr()?;
        let permit = self.permits.acquire(peer.ip().into());
        if !self.proxies.include(peer.ip()) {
            return permit.map(|permit| (Some(permit), false)).map_err(full);
        }
        let Some(users) = self.job_users.as_ref().filter(|_| peer.ip().to_canonical().is_loopback()) else {
            return Ok((None, false));
        };
        // Counted while it is not known.
        let permit = permit.map_err(full)?;
        let owner = peer::owner(peer, stream.local_addr()?).await?;
        let is_from_job = owner.is_none_or(|owner| users.contains(&owner));
        Ok((is_from_job.then_some(permit), is_from_job))
    }
}

fn full(_: LimitReached) -> io::Error {
    io::ErrorKind::QuotaExceeded.into()
}

impl<A> LimitedAcceptor<A> {
    pub(crate) fn new(inner: A, limits: ConnectionLimits) -> Self {
        Self { inner, limits: Arc::new(limits) }
    }
}

impl<A, S> Accept<TcpStream, S> for LimitedAcceptor<A>
where
    A: Accept<StallTimeout<TcpStream>, AddExtension<S, Arc<Connection>>> + Clone + Send + Sync + 'static,
    A::Future: Send + 'static,
    S: Send + 'static,
{
    type Stream = LimitedStream<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let (inner, limits) = (self.inner.clone(), Arc::clone(&self.limits));
        Box::pin(async move {
            let (permit, is_from_job) = limits.admit(&stream).await?;
            stream.set_nodelay(true)?;
            SockRef::from(&stream).set_tcp_notsent_lowat(NOT_SENT)?;
            let network = permit.is_some().then_some(stream.peer_addr()?.ip().into());
            let connection = Connection::new(is_from_job);
            let service = Extension(Arc::clone(&connection)).layer(service);
            let stream = StallTimeout::new(stream, connection, limits.stall);
            let (inner, service) = inner.accept(stream, service).await?;
            let deadline = Some(Box::pin(sleep(limits.patience)));
            let http2 = network.map(|network| (Arc::clone(&limits.http2), network));
            Ok((LimitedStream { inner, seen: 0, deadline, http2, permits: [permit, None] }, service))
        })
    }
}

/// What a connection of HTTP/2 begins with, and no request of HTTP/1.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Hardly any request of HTTP/1 has fewer bytes.
const ENOUGH: usize = HTTP2.len();

/// A stream whose first bytes have a deadline, and tell whether it is one of HTTP/2.
pub(crate) struct LimitedStream<S> {
    inner: S,
    seen: usize,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Where it is counted, if it turns out to be one of HTTP/2.
    http2: Option<(Arc<ConcurrencyLimit>, Network)>,
    permits: [Option<Permit>; 2],
}

impl<S> LimitedStream<S> {
    /// Looks at what was just read, as long as it may be the beginning of HTTP/2.
    fn look(&mut self, bytes: &[u8]) -> io::Result<()> {
        let expected = HTTP2.get(self.seen..).unwrap_or_default();
        let common = expected.len().min(bytes.len());
        if expected.get(..common) != bytes.get(..common) {
            self.http2 = None;
        }
        self.seen = self.seen.saturating_add(bytes.len());
        if self.seen >= ENOUGH {
            self.deadline = None;
            if let Some((permits, network)) = self.http2.take() {
                let [_, permit] = &mut self.permits;
                *permit = Some(permits.acquire(network).map_err(full)?);
            }
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LimitedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if let Some(deadline) = &mut self.deadline {
            if polled.is_pending() {
                ready!(deadline.as_mut().poll(cx));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.look(buf.filled().get(before..).unwrap_or_default())?;
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LimitedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http2_is_known_by_its_first_words_however_they_come() {
        let http2 = ConcurrencyLimit::new(2);
        let network = Network::of("192.0.2.1");
        let is_http2 = |pieces: &[&[u8]]| {
            let entry = Some((Arc::clone(&http2), network));
            let mut stream = LimitedStream { inner: (), seen: 0, deadline: None, http2: entry, permits: [None, None] };
            pieces.iter().try_for_each(|piece| stream.look(piece)).map(|()| stream.permits[1].is_some())
        };
        let bytes: Vec<_> = HTTP2.chunks(1).collect();
        assert!(is_http2(&[HTTP2]).unwrap() && is_http2(&bytes).unwrap());
        assert!(is_http2(&[&HTTP2[..3], &HTTP2[3..], b"more"]).unwrap());
        assert!(!is_http2(&[b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]).unwrap());
        assert!(!is_http2(&[b"PRI * HTTP/1.1\r\nHost: x\r\n\r\n"]).unwrap());
        let _one = http2.acquire(network).unwrap();
        assert_eq!(is_http2(&[HTTP2]).unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
    }

    #[test]
    fn loopback_needs_no_tls() {
        for address in ["127.0.0.1:0", "localhost:0", "127.1.2.3:0"] {
            assert!(bind(address, false).unwrap().local_addr().unwrap().ip().is_loopback(), "{address}");
        }
    }

    #[test]
    fn a_public_address_is_refused_with_reason_and_remedy() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
            let message = bind(address, false).unwrap_err().to_string();
            assert!(message.contains("plain text") && message.contains("--tls-cert"), "{message}");
        }
        assert!(bind("0.0.0.0:0", true).is_ok());
    }

    #[test]
    fn what_is_no_address_or_taken_says_so() {
        for address in ["", "8765", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:x"] {
            assert!(bind(address, false).unwrap_err().to_string().contains("HOST:PORT"), "{address}");
        }
        let taken = bind("127.0.0.1:0", false).unwrap();
        let message = bind(&taken.local_addr().unwrap().to_string(), false).unwrap_err().to_string();
        assert!(message.contains("another port"), "{message}");
    }
}
