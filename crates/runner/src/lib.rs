//! The interface of what runs Spark jobs, and the meaning of a job's manifest.
//!
//! ```text
//! plan, quantity         a manifest, parsed: what to start, with what, how often
//! runner                 the interface: start, status, stop, logs, events
//! values                 the contents of secrets and config maps
//! elsewhere              the runner of a server that runs no jobs
//! ids                    numeric ids that jobs and clusters hold, as the store keeps them
//! termination            how a run ended
//! log                    what a job prints, within limits
//! disk_space             free space, and when it is scarce
//! explain, findings      why a job is where it is, from its state and its log
//! conformance, memory    tests that every runner has to pass, and a runner in memory (feature `testing`)
//! ```
//!
//! Nothing here starts anything, and nothing knows of a database or of HTTP.

pub mod disk_space;
pub mod elsewhere;
pub mod explain;
pub mod ids;
pub mod log;
pub mod plan;
pub mod quantity;
pub mod runner;
pub mod termination;
pub mod values;

#[cfg(feature = "testing")]
pub mod conformance;
#[cfg(feature = "testing")]
pub mod memory;

mod findings;
