//! Progress of uploads: a request body that reports how much of it has been sent.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use reqwest::{Body, RequestBuilder};

/// Called with the bytes handed to the connection and the size of the body. A retry begins at 0 again.
pub type OnSent = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// The step of the reports.
const CHUNK: usize = 64 * 1024;

/// The same request, with a body that reports.
pub(crate) fn reporting(builder: RequestBuilder, on_sent: &OnSent) -> RequestBuilder {
    // A builder gives no access to its body, so it is taken from a clone. A builder with an error keeps the error.
    let request = builder.try_clone().and_then(|clone| clone.build().ok());
    let body = request.as_ref().and_then(|request| request.body()?.as_bytes()).map(Bytes::copy_from_slice);
    match body {
        Some(rest) => {
            let total = rest.len() as u64;
            builder.body(Body::wrap(Reporting { rest, total, on_sent: Arc::clone(on_sent) }))
        }
        None => builder,
    }
}

struct Reporting {
    rest: Bytes,
    total: u64,
    on_sent: OnSent,
}

impl http_body::Body for Reporting {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(CHUNK);
        let chunk = self.rest.split_to(length);
        (self.on_sent)(self.total.saturating_sub(self.rest.len() as u64), self.total);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
