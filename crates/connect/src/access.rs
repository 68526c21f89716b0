//! What the gateway asks about tokens, clusters and their servers.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use http::HeaderValue;
use secrecy::SecretString;

use crate::{method::Method, status::Status};

/// Answers, or the status that the client is told.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Status>>;

/// Who may call, and which server answers.
pub trait Access: Send + Sync + 'static {
    /// A token's identity.
    type User: User;

    /// The place of a connection among all: dropped when it ends. `None`: there are too many of its address.
    fn connection(&self, peer: IpAddr) -> Option<Box<dyn Send>>;

    /// Whose token it is. Asked for every call: one that has ended is not good for another.
    fn authenticate(&self, token: SecretString, peer: IpAddr) -> Answer<'_, Self::User>;

    /// Begins a call of a session, with a server that is ready. It may take as long as a server takes to start.
    fn begin(&self, user: Self::User, call: Call) -> Answer<'_, Begun>;
}

/// Who calls.
pub trait User: Clone + Send + Sync + 'static {
    /// What the server knows the user by; public, and of at most 100 bytes.
    fn id(&self) -> &str;
}

/// A call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Id or name of the cluster, if the client gave one.
    pub cluster: Option<String>,
    /// The session, as the client calls it: a UUID.
    pub session_id: String,
    /// What is called.
    pub method: Method,
}

/// A call that may go on.
pub struct Begun {
    /// The cluster's server.
    pub server: Arc<Backend>,
    /// Resolves when the call must end, whatever it is doing.
    pub ended: BoxFuture<'static, Status>,
    /// Told when it is over.
    pub operation: Box<dyn Operation>,
}

/// A call in progress; dropped when it is over.
pub trait Operation: Send + Sync {
    /// The server has answered with success.
    fn succeeded(&mut self);
}

/// A cluster's server.
pub trait Check: Send + Sync {
    /// Whether it is the server that listens on that address, and nobody who has taken its port.
    fn is_server(&self, address: SocketAddr) -> BoxFuture<'_, bool>;
}

/// Where a server is, and what it lets the gateway in by.
pub struct Backend {
    /// Its address.
    pub address: SocketAddr,
    /// The whole value of `authorization`, marked as sensitive.
    pub authorization: HeaderValue,
    /// Before anything is sent to it.
    pub check: Box<dyn Check>,
}
