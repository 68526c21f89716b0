//! The client of the ML platform, without Python.
//!
//! A call goes through four layers, each in its file and each ignorant of the next:
//! a verb ([`tokens`], [`clusters`], [`objects`]) says what is asked; [`Client`] lends it a [`session`] and heals one that the server
//! no longer knows; [`transport`] sends it, as often as is safe ([`retry`]), until the deadline;
//! reqwest speaks HTTP, with the certificates of [`tls`],
//! through the proxy that the environment names ([`proxy`]). What a session is created with is a [`credential`]. Where a value of a setting comes from is [`config`]'s business, what can go wrong and
//! what to do about it is [`error`]'s, for the network [`failure`]'s.

pub mod audit;
mod client;
pub mod clusters;
pub mod config;
pub mod connect;
pub mod credential;
mod deadline;
pub mod error;
mod expiry;
mod failure;
pub mod follow;
pub mod jobs;
pub mod login;
mod object_form;
pub mod objects;
mod outage;
pub mod profile;
mod proxy;
mod retry;
mod session;
pub mod settings;
pub mod sources;
mod tls;
pub mod tokens;
mod transport;
pub mod upload;
pub mod waits;
mod watch;

pub use client::Client;
pub use config::Config;
pub use error::{Error, Kind};
pub use expiry::Expiry;
pub use mlplatform_protocol as protocol;
pub use proxy::{Proxy, ProxyChoice};
pub use sources::Given;

/// The version of this package, sent as `User-Agent: mlplatform-client/VERSION`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
