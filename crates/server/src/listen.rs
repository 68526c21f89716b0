//! Which addresses may be listened on, how many connections one address may have, and for how long one may be silent.

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum_server::accept::Accept;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

use crate::{
    Proxies, StartError,
    guests::{Guest, Guests},
};

/// Connections that wait to be taken.
const BACKLOG: i32 = 4096;

/// Binds `HOST:PORT`. Without TLS, tokens may cross no network: every address that the host stands for must then be
/// one of this machine alone.
///
/// # Errors
/// When the address is none, is taken, or must not be listened on without TLS.
pub fn bind(address: &str, tls: bool) -> Result<TcpListener, StartError> {
    let failed = |problem: String| StartError::Listen { address: crate::harmless(address), problem };
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

/// Connections that are counted with at most, whatever the system allows: each costs memory.
const MOST_CONNECTIONS: usize = 16_384;

/// Lets this process have as many files open as the system allows it at most, and says how many connections that makes.
pub(crate) fn raise_file_limit() -> usize {
    let allowed = getrlimit(Resource::Nofile);
    // Where that cannot be, what there is has to do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: allowed.maximum, ..allowed });
    let files = getrlimit(Resource::Nofile).current.and_then(|files| files.try_into().ok());
    files.unwrap_or(MOST_CONNECTIONS).min(MOST_CONNECTIONS)
}

/// Wraps another acceptor: a connection that has not said enough to tell its protocol in time is closed, and so is one
/// of an address that has more than its share. (From the first words on, the timeouts of HTTP/1 heads and HTTP/2 pings
/// hold.)
#[derive(Clone, Debug)]
pub(crate) struct Prompt<A> {
    inner: A,
    patience: Duration,
    guests: Arc<Guests>,
    /// They may have any number: they speak for many.
    proxies: Arc<Proxies>,
}

impl<A> Prompt<A> {
    pub(crate) fn new(inner: A, patience: Duration, guests: Arc<Guests>, proxies: Arc<Proxies>) -> Self {
        Self { inner, patience, guests, proxies }
    }

    /// `Ok(None)`: it need not be counted.
    fn arrive(&self, stream: &TcpStream) -> io::Result<Option<Guest>> {
        let peer = stream.peer_addr()?.ip();
        if self.proxies.include(peer) {
            return Ok(None);
        }
        self.guests.arrive(peer.into()).map(Some).ok_or_else(|| io::ErrorKind::QuotaExceeded.into())
    }
}

impl<A, S> Accept<TcpStream, S> for Prompt<A>
where
    A: Accept<TcpStream, S>,
    A::Future: Send + 'static,
{
    type Stream = PromptStream<A::Stream>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let (guest, patience) = (self.arrive(&stream), self.patience);
        let accepting = self.inner.accept(stream, service);
        Box::pin(async move {
            let _guest = guest?;
            let (inner, service) = accepting.await?;
            Ok((PromptStream { inner, told: 0, deadline: Some(Box::pin(sleep(patience))), _guest }, service))
        })
    }
}

/// HTTP/2 begins with as many bytes, and hardly any request of HTTP/1 has fewer.
const TELLING: usize = 24;

/// A stream whose first bytes have a deadline.
pub(crate) struct PromptStream<S> {
    inner: S,
    told: usize,
    deadline: Option<Pin<Box<Sleep>>>,
    _guest: Option<Guest>,
}

impl<S: AsyncRead + Unpin> AsyncRead for PromptStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if let Some(deadline) = &mut self.deadline {
            if polled.is_pending() {
                ready!(deadline.as_mut().poll(cx));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.told = self.told.saturating_add(buf.filled().len().saturating_sub(before));
            if self.told >= TELLING {
                self.deadline = None;
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PromptStream<S> {
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
