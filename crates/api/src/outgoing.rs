//! Memory accounting of response bodies. An answer counts until its last byte was taken: the permit of its request
//! among those that are worked on, and its bytes among those that its address may have waiting. Whoever asks and does
//! not read soon gets no more.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};
use mlplatform_platform::{admission::RequestPermit, app::App, concurrency::Permit, request::RequestContext};

use crate::{
    connection::{Connection, PendingPiece},
    refusal::refusal,
};

/// What an answer costs beside its bytes: its head, its stream, and who sends it.
const OVERHEAD: usize = 4096;
/// What an answer of any length takes while it is read and sent piece by piece.
const STREAM: usize = 256 * 1024;

/// The bytes of this answer are not its own.
#[derive(Clone, Copy)]
struct Shared;

/// The right to work, kept until the answer was taken.
pub fn hold_permit(response: &mut Response, permit: RequestPermit) {
    response.extensions_mut().insert(Arc::new(permit));
}

/// An answer that is the same for everybody: its bytes are there once, and count for nobody.
pub fn shared<const N: usize>(headers: [(HeaderName, &'static str); N], bytes: Bytes) -> Response {
    let mut response = Body::from(bytes).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.extensions_mut().insert(Shared);
    response
}

/// Counts an answer from now on; if there is no room for it, another takes its place.
pub(crate) fn account(
    app: &App,
    context: &RequestContext,
    connection: Option<Arc<Connection>>,
    response: Response,
) -> Response {
    let mut response = response;
    let permit = response.extensions_mut().remove::<Arc<RequestPermit>>();
    let shared = response.extensions_mut().remove::<Shared>().is_some();
    if response.body().is_end_stream() {
        return response;
    }
    let (weight, goes_on) = match response.body().size_hint().exact() {
        Some(_) if shared => (OVERHEAD, false),
        Some(length) => (usize::try_from(length).unwrap_or(usize::MAX).saturating_add(OVERHEAD), false),
        None => (OVERHEAD.saturating_add(STREAM), true),
    };
    let room = match app.admission().answer(context, weight) {
        Ok(room) => Some(room),
        Err(error) => {
            response = refusal(error);
            None
        }
    };
    // A log that is followed waits most of its time for the job, and its piece of memory is what it takes; an answer that
    // is late is no work any more.
    let permit = permit.filter(|_| !goes_on && !context.is_delayed() && room.is_some());
    let held = Arc::new(Held { _permit: permit, _room: room });
    let owed = connection.as_ref().map(Connection::pending);
    response.map(|inner| Body::new(Outgoing { inner, held, connection, owed }))
}

struct Held {
    _permit: Option<Arc<RequestPermit>>,
    _room: Option<Permit>,
}

struct Outgoing {
    inner: Body,
    held: Arc<Held>,
    connection: Option<Arc<Connection>>,
    /// Until the first piece has its own, or there is none yet.
    owed: Option<PendingPiece>,
}

/// A piece of an answer. It is gone when the last of its bytes were given to the system.
struct Piece {
    bytes: Bytes,
    _held: Arc<Held>,
    _owed: Option<PendingPiece>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if polled.is_pending() {
            // Now the client waits for us.
            self.owed = None;
        }
        let Some(frame) = ready!(polled).transpose()? else { return Poll::Ready(None) };
        let owed = self.owed.take().or_else(|| self.connection.as_ref().map(Connection::pending));
        let held = Arc::clone(&self.held);
        let wrap = |bytes| Bytes::from_owner(Piece { bytes, _held: held, _owed: owed });
        Poll::Ready(Some(Ok(frame.map_data(wrap))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
