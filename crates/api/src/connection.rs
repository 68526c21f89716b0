//! A connection's write-stall timeout: what of its answers is still to be taken, and its end when nothing is.
//!
//! A client that asks and does not read costs memory. How much, is counted elsewhere (`http::outgoing`); for how long, is
//! said here, below HTTP and TLS, since with a closed window of HTTP/2 nobody else looks: a connection that has something
//! to take and takes less than [`LEAST_TAKEN`] of it in a given time is closed.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

/// Bytes. Less than the slowest line that somebody works over takes in any such time, more than a window of HTTP/2 that is
/// opened byte by byte.
const LEAST_TAKEN: u64 = 16 * 1024;

/// What is known of a connection by the requests that come over it.
#[derive(Debug)]
pub struct Connection {
    /// Pieces of answers that were handed over and not sent.
    owed: AtomicUsize,
    /// How often there were none any more.
    settled: AtomicU64,
    /// A job of this platform holds the other end.
    is_from_job: bool,
}

impl Connection {
    /// A new one; whether a job of this platform holds the other end.
    #[must_use]
    pub fn new(is_from_job: bool) -> Arc<Self> {
        Arc::new(Self { owed: AtomicUsize::new(0), settled: AtomicU64::new(0), is_from_job })
    }

    /// One more piece to be taken, until that is dropped.
    pub(crate) fn pending(this: &Arc<Self>) -> PendingPiece {
        this.owed.fetch_add(1, Ordering::Relaxed);
        PendingPiece(Arc::clone(this))
    }

    pub(crate) fn is_from_job(&self) -> bool {
        self.is_from_job
    }
}

/// A piece of an answer that is to be taken.
#[derive(Debug)]
pub(crate) struct PendingPiece(Arc<Connection>);

impl Drop for PendingPiece {
    fn drop(&mut self) {
        if self.0.owed.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.settled.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What can be ended without its peer's doing.
pub trait Abort {
    /// When it is closed, nothing of what it still holds is sent.
    fn abort(&self) -> io::Result<()>;
}

impl Abort for TcpStream {
    fn abort(&self) -> io::Result<()> {
        // Otherwise the system would keep what it holds for somebody who does not take it.
        SockRef::from(self).set_linger(Some(Duration::ZERO))
    }
}

/// The stream of a connection.
pub struct StallTimeout<S> {
    inner: S,
    connection: Arc<Connection>,
    patience: Duration,
    /// Bytes that the system took.
    taken: u64,
    /// It did not take the last ones.
    is_full: bool,
    watch: Option<Watch>,
}

/// Since when the client takes too little.
struct Watch {
    since: Instant,
    taken: u64,
    settled: u64,
    timer: Pin<Box<Sleep>>,
}

impl<S: Abort> StallTimeout<S> {
    /// Closes the connection when less than enough of what waits is taken for so long.
    pub fn new(inner: S, connection: Arc<Connection>, patience: Duration) -> Self {
        Self { inner, connection, patience, taken: 0, is_full: false, watch: None }
    }

    /// To be asked whenever nothing goes on; asks for itself to be asked again in time.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.is_full && self.connection.owed.load(Ordering::Relaxed) == 0 {
            self.watch = None;
            return Ok(());
        }
        let (now, settled) = (Instant::now(), self.connection.settled.load(Ordering::Relaxed));
        let fresh = |timer| Watch { since: now, taken: self.taken, settled, timer };
        let watch = match self.watch.take() {
            None => fresh(Box::pin(sleep(self.patience))),
            Some(watch) if watch.settled != settled || self.taken.saturating_sub(watch.taken) >= LEAST_TAKEN => {
                fresh(watch.timer)
            }
            Some(watch) => watch,
        };
        let watch = self.watch.insert(watch);
        let end = watch.since + self.patience;
        if now >= end {
            tracing::debug!("a connection is closed that does not take its answers");
            self.inner.abort()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        if watch.timer.deadline() != end {
            watch.timer.as_mut().reset(end);
        }
        // Should it have ended this moment, we are asked again.
        if watch.timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    fn checked<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match polled {
            Poll::Pending => match self.check(cx) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            },
            ready @ Poll::Ready(_) => ready,
        }
    }

    fn written(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.is_full = polled.is_pending();
        if let Poll::Ready(Ok(length)) = polled {
            self.taken = self.taken.saturating_add(length as u64);
        }
        self.checked(cx, polled)
    }
}

impl<S: AsyncRead + Abort + Unpin> AsyncRead for StallTimeout<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.checked(cx, polled)
    }
}

impl<S: AsyncWrite + Abort + Unpin> AsyncWrite for StallTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.written(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.written(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.checked(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.checked(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    const PATIENCE: Duration = Duration::from_secs(60);

    impl Abort for DuplexStream {
        fn abort(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pair() -> (StallTimeout<DuplexStream>, DuplexStream, Arc<Connection>) {
        let (inner, client) = duplex(64);
        let connection = Connection::new(false);
        (StallTimeout::new(inner, Arc::clone(&connection), PATIENCE), client, connection)
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_owed_something_and_takes_nothing_is_closed() {
        let (mut stream, _client, connection) = pair();
        let _owed = Connection::pending(&connection);
        let began = Instant::now();
        assert_eq!(stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), PATIENCE);
        let (mut stream, _client, _) = pair();
        assert_eq!(stream.write_all(&[0; 65]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_owed_nothing_may_be_silent() {
        let (mut stream, _client, connection) = pair();
        drop(Connection::pending(&connection));
        assert!(tokio::time::timeout(PATIENCE * 10, stream.read_u8()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_slowly_gets_it_all() {
        let (mut stream, mut client, connection) = pair();
        let reader = tokio::spawn(async move {
            let (mut taken, mut bytes) = (0, [0; 64]);
            while let Ok(length @ 1..) = client.read(&mut bytes).await {
                taken += length;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            taken
        });
        let owed = Connection::pending(&connection);
        stream.write_all(&[0; 200_000]).await.unwrap();
        drop((owed, stream));
        assert_eq!(reader.await.unwrap(), 200_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_that_is_opened_byte_by_byte_buys_no_time() {
        let (mut stream, mut client, connection) = pair();
        let _owed = Connection::pending(&connection);
        tokio::spawn(async move { while client.read_u8().await.is_ok() {} });
        let began = Instant::now();
        let error = loop {
            stream.write_all(b"x").await.unwrap();
            match tokio::time::timeout(Duration::from_secs(1), stream.read_u8()).await {
                Err(_) => {}
                Ok(read) => break read.unwrap_err(),
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < PATIENCE + Duration::from_secs(2));
    }
}
