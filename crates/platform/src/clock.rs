//! An injectable clock: a test moves it instead of sleeping.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;

/// The system's clock plus an offset that its clones share.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset: Arc<AtomicI64>,
    #[cfg(feature = "test-clock")]
    file: Option<Arc<std::path::Path>>,
}

impl Clock {
    /// Now, in whole microseconds: what is answered is what the store holds, to the last digit.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let offset = self.offset.load(Ordering::Relaxed).saturating_add(self.offset_of_file());
        timestamp(Timestamp::now().as_microsecond().saturating_add(offset))
    }

    #[cfg(not(feature = "test-clock"))]
    #[allow(clippy::unused_self, reason = "the other one reads a file")]
    fn offset_of_file(&self) -> i64 {
        0
    }

    /// Ahead by the seconds that the file holds, which is read anew each time. Only builds for tests know this, so that
    /// nobody can turn back the clock of a server that is in earnest.
    #[cfg(feature = "test-clock")]
    #[must_use]
    pub fn moved_by(file: std::path::PathBuf) -> Self {
        Self { file: Some(file.into()), ..Self::default() }
    }

    #[cfg(feature = "test-clock")]
    #[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
    fn offset_of_file(&self) -> i64 {
        let text = self.file.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        (text.trim().parse().unwrap_or(0.0_f64) * 1e6) as i64
    }

    /// The time by this clock at that time of the system's.
    #[must_use]
    pub fn told(&self, at: Timestamp) -> Timestamp {
        timestamp(at.as_microsecond().saturating_add(self.offset.load(Ordering::Relaxed)))
    }

    /// Moves this clock, and every clone of it, ahead.
    pub fn advance(&self, by: Duration) {
        self.offset.fetch_add(micros(by), Ordering::Relaxed);
    }

    /// Moves them back, as a machine's clock is when it was wrong.
    pub fn step_back(&self, by: Duration) {
        self.offset.fetch_sub(micros(by), Ordering::Relaxed);
    }
}

/// A time of the store. What lies outside of jiff's calendar (years up to 9999) is its last moment.
pub(crate) fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
}

/// A length of time as the store counts it.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_move_together() {
        let clock = Clock::default();
        let before = clock.clone().now();
        clock.advance(Duration::from_secs(3_600));
        assert!(clock.clone().now().duration_since(before).as_secs() >= 3_600);
    }

    #[test]
    fn what_is_stored_is_what_was_told() {
        let now = Clock::default().now();
        assert_eq!(timestamp(now.as_microsecond()), now);
    }
}
