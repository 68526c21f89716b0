//! Readiness: whether this server should get requests, as `GET /readyz` answers and the metrics show.

pub mod check;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{sync::Mutex, time::Instant};

/// What the machine knows of the platform's disk. A disk of the network may take its time to answer.
pub trait System: Send + Sync {
    /// Bytes that can still be written.
    fn free(&self) -> Option<u64>;
    /// Bytes in all.
    fn size(&self) -> Option<u64>;
    /// Whether no job would be started for want of room.
    fn is_low(&self) -> bool;
}

/// One check.
#[derive(Clone, Debug)]
pub struct Check {
    name: &'static str,
    /// In general, and for the log.
    problem: Option<(&'static str, String)>,
}

impl Check {
    pub(crate) fn new(name: &'static str, detail: Option<String>, problem: &'static str) -> Self {
        Self { name, problem: detail.map(|detail| (problem, detail)) }
    }

    /// Its name in the answer.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// `None`: it passes.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        self.problem.as_ref().map(|(problem, _)| *problem)
    }
}

/// All checks, made at one time.
#[derive(Clone, Debug)]
pub struct Report(pub(crate) Vec<Check>);

impl Report {
    /// All of them.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.0
    }

    /// The first that fails.
    #[must_use]
    pub fn failed(&self) -> Option<&Check> {
        self.0.iter().find(|check| check.problem.is_some())
    }
}

/// What is kept between two answers.
#[derive(Debug, Default)]
pub struct Readiness {
    pub(crate) draining: AtomicBool,
    /// The disk is being looked at: one that does not answer holds one thread, however often it is asked for.
    pub(crate) looking: Arc<Mutex<()>>,
    pub(crate) last: Mutex<Option<(Instant, Report)>>,
}

impl Readiness {
    /// From now on this server wants no new requests, although it still answers them.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }
}
