//! The server's answer on its way to the client. The gateway can end it at any time, with a status.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, Response, header::CONTENT_TYPE, response::Parts};
use http_body::{Body, Frame};
use hyper::body::Incoming;

use crate::{
    access::Operation,
    request::Refusal,
    status::{Code, GRPC_MESSAGE, GRPC_STATUS, Status},
};

/// What of the server's headers and trailers a client is told.
const PASSED_ON: [HeaderName; 5] = [
    CONTENT_TYPE,
    HeaderName::from_static("grpc-encoding"),
    GRPC_STATUS,
    GRPC_MESSAGE,
    HeaderName::from_static("grpc-status-details-bin"),
];

/// The messages of an answer; the default has none.
#[derive(Default)]
pub(crate) struct ResponseBody(Option<Answer>);

struct Answer {
    incoming: Incoming,
    ended: BoxFuture<'static, Status>,
    refusal: Refusal,
    operation: Box<dyn Operation>,
}

/// Why the server's answer ended early, or did not begin.
pub(crate) fn lost(refusal: &Refusal) -> Status {
    refusal.get().cloned().unwrap_or_else(server_ended)
}

/// The answer to a call whose server is not there any more.
#[must_use]
pub fn server_ended() -> Status {
    Status::new(
        Code::Unavailable,
        "the Connect server of the cluster has ended, and its sessions with it: make a new SparkSession, which starts \
         another server; spark_job_explain(cluster_id, 'spark-connect') says why it ended",
    )
}

/// Passes an answer on.
pub(crate) fn pass_on(
    response: Response<Incoming>,
    ended: BoxFuture<'static, Status>,
    refusal: Refusal,
    mut operation: Box<dyn Operation>,
) -> Response<ResponseBody> {
    let (Parts { headers, status, .. }, incoming) = response.into_parts();
    note(&headers, operation.as_mut());
    // Without messages the status is among the headers, which must then be all there is.
    let answer = (!incoming.is_end_stream()).then_some(Answer { incoming, ended, refusal, operation });
    let mut passed = Response::new(ResponseBody(answer));
    *passed.status_mut() = status;
    *passed.headers_mut() = filtered(&headers);
    passed
}

fn filtered(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(PASSED_ON.len());
    for name in PASSED_ON {
        if let Some(value) = headers.get(&name) {
            kept.insert(name, value.clone());
        }
    }
    kept
}

fn note(headers: &HeaderMap, operation: &mut dyn Operation) {
    if headers.get(GRPC_STATUS).is_some_and(|status| status == "0") {
        operation.succeeded();
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(answer) = &mut self.0 else { return Poll::Ready(None) };
        let status = match answer.ended.as_mut().poll(cx) {
            Poll::Ready(status) => status,
            Poll::Pending => match ready!(Pin::new(&mut answer.incoming).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let frame = match frame.into_trailers() {
                        Ok(trailers) => {
                            note(&trailers, answer.operation.as_mut());
                            // The operation is over before the client knows.
                            self.0 = None;
                            Frame::trailers(filtered(&trailers))
                        }
                        Err(frame) => frame,
                    };
                    return Poll::Ready(Some(Ok(frame)));
                }
                None if answer.incoming.is_end_stream() => {
                    self.0 = None;
                    return Poll::Ready(None);
                }
                None | Some(Err(_)) => lost(&answer.refusal),
            },
        };
        // With what is left of the server's stream, which ends it there.
        self.0 = None;
        Poll::Ready(Some(Ok(Frame::trailers(status.trailers()))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}
