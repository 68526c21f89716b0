//! The ML platform on one machine: the token service over SQLite, served by axum.
//!
//! A test starts the whole with [`Server::start`](server::Server::start) on a listener of its own.

mod admission;
pub mod app;
pub mod audit;
mod caller;
pub mod clock;
pub mod clusters;
pub mod commands;
mod concurrency;
mod connection;
mod console;
pub mod data_dir;
pub mod error;
#[cfg(test)]
mod fuzz;
mod http;
mod idempotency;
mod last_used;
pub mod limits;
pub mod listen;
mod network;
pub mod objects;
mod page;
mod peer;
pub mod policy;
mod private_file;
pub mod proxies;
mod rate_limit;
mod refusals;
pub mod request;
mod s3_secret;
mod safe_path;
mod secret;
pub mod server;
pub mod service;
pub mod sessions;
pub mod site;
pub mod spark;
pub mod start;
pub mod store;
pub mod text;
pub mod tls;
pub mod tokens;
mod transaction;
mod vault;
