//! The gateway for Spark Connect: an HTTP/2 proxy that lets a client in by its access token and passes its calls on to
//! the Connect server of a cluster.
//!
//! ```text
//! gateway      the calls of a connection: who makes them, where they go
//! connections  the listener's connections, and for how long one may be a stranger's
//! access       what the gateway asks about tokens and servers
//! backend      the connection to a cluster's server
//! request      the request's messages on their way to the server
//! response     the server's answer on its way to the client
//! rewrite      a stream of messages, the caller's identity put in
//! credential   the token among the metadata
//! method       the methods that are known
//! status       gRPC's status codes, as responses and trailers
//! windows      how much of a stream is held
//! ```
//!
//! Nothing of Spark is compiled in. All that the gateway knows of its protocol is that each request message has the
//! session's id as field 1 and the user as field 2, which tests compare with the clients' own description. The crate knows
//! no database either: whoever runs it implements [`access::Access`].

pub mod access;
mod backend;
mod connections;
mod credential;
mod gateway;
pub mod method;
mod request;
mod response;
mod rewrite;
pub mod status;
mod windows;

pub use backend::release;
pub use connections::{Settings, serve};
pub use response::server_ended;
