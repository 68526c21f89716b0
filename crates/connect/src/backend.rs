//! The connections to the clusters' servers that belong to a client's connection. Each client has its own: one that does
//! not read its results holds up nobody else.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, Request, Response, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, TE, USER_AGENT},
};
use http_body::{Body, Frame};
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::Mutex, time::timeout};

use crate::{
    access::Backend,
    method,
    request::{Refusal, RequestBody},
    response::lost,
    rewrite::release_message,
    status::{Code, GRPC, Status},
    windows::{CONNECTION_WINDOW, SEND_BUFFER, STREAM_WINDOW},
};

/// The longest that a server is waited for that is told of a closed session.
const PATIENCE: Duration = Duration::from_secs(10);
/// Servers that one connection has had calls to.
const MOST: usize = 16;

/// What of a call's metadata the server is told.
const PASSED_ON: [HeaderName; 3] =
    [USER_AGENT, HeaderName::from_static("grpc-timeout"), HeaderName::from_static("grpc-accept-encoding")];

/// A call as the server is sent it.
pub(crate) fn gateway_request<B>(
    server: &Backend,
    method: &str,
    headers: &HeaderMap,
    body: B,
) -> Result<Request<B>, Status> {
    let uri = Uri::builder().scheme("http").authority(server.address.to_string()).path_and_query(method::path(method));
    let uri = uri.build().map_err(|_| Status::new(Code::Internal, "the address of a Connect server is none"))?;
    let mut request = Request::new(body);
    *request.method_mut() = HttpMethod::POST;
    *request.uri_mut() = uri;
    let all = request.headers_mut();
    for name in PASSED_ON {
        if let Some(value) = headers.get(&name) {
            all.insert(name, value.clone());
        }
    }
    all.insert(CONTENT_TYPE, GRPC);
    all.insert(TE, HeaderValue::from_static("trailers"));
    all.insert(AUTHORIZATION, server.authorization.clone());
    Ok(request)
}

/// By their addresses.
#[derive(Default)]
pub(crate) struct Backends(Mutex<HashMap<SocketAddr, SendRequest<RequestBody>>>);

impl Backends {
    /// Sends a call.
    pub(crate) async fn send(
        &self,
        server: &Backend,
        refusal: &Refusal,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Status> {
        let mut sender = self.connection(server).await?;
        sender.send_request(request).await.map_err(|error| {
            tracing::debug!("a Connect server has not answered: {error}");
            lost(refusal)
        })
    }

    async fn connection(&self, server: &Backend) -> Result<SendRequest<RequestBody>, Status> {
        let mut all = self.0.lock().await;
        if let Some(sender) = all.get(&server.address).filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let sender = connect(server).await?;
        all.retain(|_, sender| !sender.is_closed());
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(server.address, sender.clone());
        Ok(sender)
    }
}

async fn connect<B>(server: &Backend) -> Result<SendRequest<B>, Status>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let failed = |error: &dyn std::error::Error| {
        tracing::debug!("a Connect server cannot be reached: {error}");
        lost(&Refusal::default())
    };
    let stream = TcpStream::connect(server.address).await.map_err(|error| failed(&error))?;
    stream.set_nodelay(true).map_err(|error| failed(&error))?;
    // While we are connected: whoever listens is who has accepted.
    if !server.check.is_server(server.address).await {
        tracing::error!("another program listens on {}, the address of a cluster's Connect server", server.address);
        let text = "another program has taken the port of the cluster's Connect server: an Administrator has to delete the \
                    job 'spark-connect', and the next call starts another";
        return Err(Status::new(Code::FailedPrecondition, text));
    }
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("the connection to a Connect server has ended: {error}");
        }
    });
    Ok(sender)
}

/// Tells a server that a session is over: what runs in it is interrupted.
///
/// # Errors
/// When the server does not answer.
pub async fn release(server: &Backend, user: &str, session_id: &str) -> Result<(), Status> {
    let message = release_message(user, session_id)?;
    let released = async {
        let mut sender = connect(server).await?;
        let request = gateway_request(server, method::RELEASE_SESSION, &HeaderMap::new(), Once(Some(message)))?;
        sender.send_request(request).await.map_err(|_| lost(&Refusal::default()))
    };
    let late = |_| Status::new(Code::Unavailable, "the Connect server does not answer");
    timeout(PATIENCE, released).await.map_err(late)?.map(drop)
}

/// A body of one piece.
struct Once(Option<Bytes>);

impl Body for Once {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}
