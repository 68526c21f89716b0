//! The calls of a connection: who makes them, where they go.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{HeaderMap, HeaderName, Method as HttpMethod, Request, Response, header::CONTENT_TYPE};
use hyper::body::Incoming;

use crate::{
    access::{Access, Begun, Call, User},
    backend::{Backends, gateway_request},
    credential, method, request,
    response::{self, ResponseBody},
    status::{Code, GRPC, Status},
};

const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// `;cluster=…` in a connection string.
const CLUSTER: HeaderName = HeaderName::from_static("cluster");
/// Bytes of a cluster's id or name.
const LONGEST_CLUSTER: usize = 255;

/// A client's connection.
pub(crate) struct Gateway<A> {
    access: Arc<A>,
    peer: IpAddr,
    backends: Backends,
    known: AtomicBool,
}

impl<A: Access> Gateway<A> {
    pub(crate) fn new(access: Arc<A>, peer: IpAddr) -> Self {
        Self { access, peer, backends: Backends::default(), known: AtomicBool::new(false) }
    }

    /// Whether a good token has come along.
    pub(crate) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Answers a call.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<ResponseBody> {
        self.pass_on(request).await.unwrap_or_else(|status| status.response())
    }

    async fn pass_on(&self, request: Request<Incoming>) -> Result<Response<ResponseBody>, Status> {
        let (head, incoming) = request.into_parts();
        let is_grpc = head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(GRPC.as_bytes()));
        let Some(method) = method::of_path(head.uri.path()).filter(|_| is_grpc && head.method == HttpMethod::POST)
        else {
            let text = "this is the gateway for Spark Connect, and no method of spark.connect.SparkConnectService that it knows";
            return Err(Status::new(Code::Unimplemented, text));
        };
        if head.headers.get(GRPC_ENCODING).is_some_and(|encoding| encoding != "identity") {
            let text = "compressed messages are not supported: turn compression off in the client";
            return Err(Status::new(Code::Unimplemented, text));
        }
        let token = credential::find(&head.headers)?;
        let cluster = cluster(&head.headers)?;
        let user = self.access.authenticate(token, self.peer).await?;
        self.known.store(true, Ordering::Relaxed);
        let (body, session_id) = request::begin(incoming, user.id()).await?;
        let call = Call { cluster, session_id, method };
        let Begun { server, mut ended, operation } = self.access.begin(user, call).await?;
        let refusal = body.refusal();
        let request = gateway_request(&server, method.name, &head.headers, body)?;
        let response = tokio::select! {
            biased;
            status = &mut ended => return Err(status),
            response = self.backends.send(&server, &refusal, request) => response?,
        };
        Ok(response::pass_on(response, ended, refusal, operation))
    }
}

fn cluster(headers: &HeaderMap) -> Result<Option<String>, Status> {
    let Some(value) = headers.get(CLUSTER) else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes()).ok();
    text.filter(|text| text.len() <= LONGEST_CLUSTER).map(|text| Some(text.to_owned())).ok_or_else(|| {
        let text = format!("the metadata 'cluster' is no id or name of a cluster: it has more than {LONGEST_CLUSTER} bytes, or is no text");
        Status::new(Code::InvalidArgument, text)
    })
}
