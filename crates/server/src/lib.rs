//! The ML platform on one machine: the token service over SQLite, served by axum.
//!
//! ```text
//! main, cli        the command: flags, logs, signals
//! server           a listener, a configuration and a shutdown become a running platform
//! listen, tls      which addresses may be listened on, and with which certificate
//! connection       one connection: what it has to take, and its end when it does not
//! concurrency      how much of something one client has at once
//! peer             whose process holds the other end of a connection within this machine
//! console          pages for people, over the same service functions; no rules, no SQL
//! site             the addresses that browsers reach it at
//! http             from a request to a service function and back; no rules of the platform
//! service          the rules of the platform; no HTTP
//! app              what requests share; a change = one transaction with its audit rows
//! audit            the chain of who did what
//! policy           what the operator allows: lifetimes, numbers
//! metrics          what is counted, for Prometheus
//! readiness        whether this server should get requests
//! last_used        when and from where each token was used
//! vault            the values of secrets, encrypted
//! strangers        limits on callers whose secret nobody knows, and the tally of refusals
//! backup           a copy that another platform can be started from
//! store, data_dir  SQLite, and the folder that everything lives in
//! ```
//!
//! The wire itself (paths, messages, error texts that scripts match on) is the crate `mlplatform-protocol`. A Rust test
//! starts the whole with [`Server::start`] on a listener of its own.

pub mod audit;
pub mod service;
pub mod spark;

mod app;
mod backup;
mod clock;
mod concurrency;
mod connection;
mod console;
mod data_dir;
mod error;
#[cfg(test)]
mod fuzz;
mod http;
mod last_used;
mod listen;
mod metrics;
mod peer;
mod policy;
mod proxies;
mod readiness;
mod safe_path;
mod server;
mod site;
mod start;
mod store;
mod strangers;
mod text;
mod tls;
mod vault;

pub use app::{App, Limits, RequestContext};
pub use backup::{Made, Restored, backup, restore};
pub use clock::Clock;
pub use data_dir::{DataDir, DirLock};
pub use error::{Error, Result};
pub use listen::bind;
pub use policy::{Policy, TOKENS_PER_ISSUER};
pub use proxies::{Cidr, Proxies};
pub use server::{Config, Ready, Server};
pub use service::{
    admin::admin_token,
    cluster_form::{Capacity, Memory},
    clusters::{cluster_add, cluster_list},
    sign_in::sign_in_link,
};
pub use site::PublicUrl;
pub use start::StartError;
pub use store::Store;
pub use text::harmless;
pub use tls::TlsFiles;
