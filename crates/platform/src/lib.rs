//! The rules of the platform: one function per method of the contract, over one store. No HTTP, no pages.
//!
//! ```text
//! tokens, sessions            access tokens, registration tokens; API sessions, browser sessions
//! clusters, objects           clusters; their secrets (s3_secret: the one that each has) and config maps
//! jobs                        jobs, and the supervisor that has a runner run them
//! app                         the state that requests share
//! transaction                 a change and its audit rows, committed together
//! audit                       the chain of who did what, and reading it
//! request, caller, network    a request's context, who makes it, which client it counts for
//! rate_limit, refusals        failed authentications: their rate limit, their rows in the audit
//! admission, concurrency      how much is worked on at once, in all and of one client
//! limits, policy              what an operator may set
//! idempotency, page           keys of repeated requests; lists in pages
//! secret, vault               making secrets and their digests; encryption of values at rest
//! metrics, readiness          what is counted, for Prometheus; whether this server should get requests
//! restored                    what ends when a backup is restored
//! last_used                   when each token was last used
//! store                       the database
//! private_file                files that nobody else may read
//! error, clock, text          errors, the time, text that is harmless to show
//! ```

// What `#[derive(FromRow)]` names.
extern crate mlplatform_store as sqlx;

pub mod admission;
pub mod app;
pub mod audit;
pub mod caller;
pub mod clock;
pub mod clusters;
pub mod concurrency;
pub mod connect;
pub mod error;
pub mod idempotency;
pub mod jobs;
pub mod keys;
pub mod last_used;
pub mod limits;
pub mod metrics;
pub mod network;
pub mod objects;
mod page;
pub mod policy;
pub mod private_file;
mod rate_limit;
pub mod readiness;
pub mod refusals;
pub mod request;
pub mod restored;
pub mod s3_secret;
pub mod secret;
pub mod sessions;
pub mod store;
pub mod text;
pub mod tokens;
pub mod transaction;
pub mod vault;
