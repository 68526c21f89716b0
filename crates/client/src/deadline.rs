//! The time limit of a call.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::Error;

/// The end of a call, and its whole length for the error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Instant,
    whole: Duration,
}

impl Deadline {
    pub(crate) fn after(whole: Duration) -> Self {
        let now = Instant::now();
        // A limit beyond the clock's range is a year.
        let at = now.checked_add(whole).unwrap_or(now + Duration::from_secs(31_536_000));
        Self { at, whole }
    }

    pub(crate) fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    pub(crate) fn at(&self) -> Instant {
        self.at
    }

    pub(crate) fn whole(&self) -> Duration {
        self.whole
    }

    pub(crate) fn passed(&self, doing: &str) -> Error {
        Error::timeout(self.whole.as_secs_f64(), doing)
    }
}
