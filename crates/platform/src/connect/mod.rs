//! Spark Connect: the sessions of access tokens with a cluster's server, which is a job of the cluster.
//!
//! ```text
//! live      the calls in progress, in memory
//! calls     lets a call in, and opens its session
//! server    the job that is a cluster's server: started when somebody calls
//! sessions  open sessions, as the store has them
//! watch     ends calls and sessions whose token, server or time is over
//! settings  what a server loads
//! verbs     the methods
//! ```
//!
//! That the server is a job gives it all that a job has: a place in the cluster's capacity, a user and processes of its
//! own, a log, an end with its cluster, and a life of its own while the platform is restarted.

pub mod calls;
pub mod live;
pub mod server;
mod sessions;
pub(crate) mod settings;
pub mod verbs;
pub mod watch;
