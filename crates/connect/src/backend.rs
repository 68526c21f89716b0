//! The connections to the clusters' servers that belong to a client's connection. Each client has its own: one that does
//! not read its results holds up nobody else.

use std::{collections::HashMap, net::SocketAddr};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::Mutex};

use crate::{
    access::Backend,
    request::{Refusal, RequestBody},
    response::lost,
    status::{Code, Status},
    windows::{CONNECTION_WINDOW, SEND_BUFFER, STREAM_WINDOW},
};

/// Servers that one connection has had calls to.
const MOST: usize = 16;

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
        let failed = |error: &dyn std::error::Error| {
            tracing::debug!("a Connect server cannot be reached: {error}");
            lost(&Refusal::default())
        };
        let stream = TcpStream::connect(server.address).await.map_err(|error| failed(&error))?;
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        if !server.check.leads_to_server(&stream) {
            tracing::error!("another program listens on {}, the address of a cluster's Connect server", server.address);
            let text = "another program has taken the port of the cluster's Connect server: delete the job 'spark-connect', \
                        and connect again";
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
        all.retain(|_, sender| !sender.is_closed());
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(server.address, sender.clone());
        Ok(sender)
    }
}
