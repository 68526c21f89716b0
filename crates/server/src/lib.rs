//! The ML platform as a server: a data directory, a listener and a configuration become a running platform.
//!
//! The rules are in `mlplatform-platform`, the routes in `mlplatform-api`, the pages in `mlplatform-console`. A test starts
//! the whole with [`Server::start`](server::Server::start) on a listener of its own.
//!
//! ```text
//! server       starts and stops it
//! router       the routes and pages, and the layers around them
//! connect      the gateway for Spark Connect, given the platform's tokens and servers
//! listen, tls  which addresses may be listened on, and with which certificate; the limit of connections
//! peer         whose process holds the other end of a connection within this machine
//! commands     commands on the machine, beside a server
//! storage      where the state is: SQLite in the data directory, or PostgreSQL and files of keys
//! audit_mark   the mark of the audit on PostgreSQL, written outside of it
//! local_jobs   the runners of jobs, given their folders and settings
//! kubernetes   clusters on Kubernetes: flags, runners, check
//! metrics      the listener of metrics
//! backup       backup and restore
//! copy         from SQLite to PostgreSQL
//! start        start-up errors
//! ```

mod audit_mark;
pub mod backup;
pub mod commands;
pub mod connect;
pub mod copy;
pub mod data_dir;
pub mod kubernetes;
pub mod listen;
mod local_jobs;
mod metrics;
mod peer;
mod router;
mod safe_path;
pub mod server;
pub mod start;
pub mod storage;
pub mod tls;
