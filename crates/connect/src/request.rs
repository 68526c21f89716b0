//! The request's messages on their way to the server.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::{
    rewrite::Rewriter,
    status::{Code, Status},
};

/// What of a call is read before its session is known: clients write that first.
const LARGEST_HEAD: usize = 64 * 1024;
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a request's messages were not passed on to their end.
pub(crate) type Refusal = Arc<OnceLock<Status>>;

/// Messages with the caller in them.
pub(crate) struct RequestBody {
    incoming: Incoming,
    rewriter: Rewriter,
    /// What may be sent.
    ready: BytesMut,
    ended: bool,
    refusal: Refusal,
}

/// Gives the messages of a call once its session is known, and the session.
pub(crate) async fn begin(incoming: Incoming, user: &str) -> Result<(RequestBody, String), Status> {
    let refusal = Refusal::default();
    let rewriter = Rewriter::new(user)?;
    let mut body = RequestBody { incoming, rewriter, ready: BytesMut::new(), ended: false, refusal };
    let read = async {
        loop {
            if let Some(id) = body.rewriter.session_id() {
                return Ok(id.to_owned());
            }
            if body.ready.len() > LARGEST_HEAD {
                let text =
                    format!("the session's id (field 1) is not among the first {LARGEST_HEAD} bytes of a message");
                return Err(Status::new(Code::InvalidArgument, text));
            }
            if body.ended {
                return Err(Status::new(
                    Code::InvalidArgument,
                    "a request of Spark Connect has a message, and this has none",
                ));
            }
            std::future::poll_fn(|cx| body.poll_more(cx)).await?;
        }
    };
    let late = |_| Status::new(Code::InvalidArgument, "the first message of a request did not come in time");
    let session = timeout(PATIENCE, read).await.map_err(late)??;
    Ok((body, session))
}

impl RequestBody {
    /// Is set when the messages are not passed on to their end.
    pub(crate) fn refusal(&self) -> Refusal {
        Arc::clone(&self.refusal)
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
            Some(Ok(frame)) => {
                // Trailers of a request mean nothing in gRPC.
                if let Ok(data) = frame.into_data() {
                    self.rewriter.push(&data, &mut self.ready)?;
                }
            }
            Some(Err(_)) => return Poll::Ready(Err(Status::new(Code::Unavailable, "the client has gone"))),
            None => {
                self.rewriter.finish()?;
                self.ended = true;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            if !self.ready.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(self.ready.split().freeze()))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if let Err(status) = ready!(self.poll_more(cx)) {
                self.ended = true;
                // What is half of a message must not be sent either: the stream is reset.
                self.ready.clear();
                let _ = self.refusal.set(status.clone());
                return Poll::Ready(Some(Err(status)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.ready.is_empty()
    }
}
