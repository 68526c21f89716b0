//! The rules of the platform: one function per method of the contract, over one store. No HTTP, no pages.
//!
//! ```text
//! tokens, sessions            access tokens, registration tokens; API sessions, browser sessions
//! clusters, objects           clusters; their secrets (s3_secret: the one that each has) and config maps
//! service                     jobs
//! spark                       running jobs on this machine
//! app                         the state that requests share
//! transaction                 a change and its audit rows, committed together
//! audit                       the chain of who did what, and reading it
//! request, caller, network    a request's context, who makes it, which client it counts for
//! rate_limit, refusals        failed authentications: their rate limit, their rows in the audit
//! admission, concurrency      how much is worked on at once, in all and of one client
//! limits, policy              what an operator may set
//! idempotency, page           keys of repeated requests; lists in pages
//! secret, vault               making secrets and their digests; encryption of values at rest
//! last_used                   when each token was last used
//! store                       the database
//! data_dir, safe_path, private_file  the folder that everything lives in, and whom its paths can be trusted to
//! error, clock, text          errors, the time, text that is harmless to show
//! ```

pub mod admission;
pub mod app;
pub mod audit;
pub mod caller;
pub mod clock;
pub mod clusters;
pub mod concurrency;
pub mod data_dir;
pub mod error;
pub mod idempotency;
pub mod last_used;
pub mod limits;
pub mod network;
pub mod objects;
mod page;
pub mod policy;
mod private_file;
mod rate_limit;
pub mod refusals;
pub mod request;
pub mod s3_secret;
pub mod safe_path;
pub mod secret;
#[path = "../../server/src/service/mod.rs"]
pub mod service;
pub mod sessions;
#[path = "../../server/src/spark/mod.rs"]
pub mod spark;
pub mod store;
pub mod text;
pub mod tokens;
pub mod transaction;
pub mod vault;
