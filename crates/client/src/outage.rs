//! Retry policy of waits and followed logs: how long an unreachable platform is retried, and at what intervals.

use std::time::Duration;

use mlplatform_protocol::ErrorCode;
use tokio::time::Instant;

use crate::error::{Error, Kind};

/// How long to retry while the platform does not answer. Covers a restart, an update, a change of network.
pub(crate) const OUTAGE: Duration = Duration::from_secs(600);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A period in which every request has failed.
#[derive(Debug)]
pub(crate) struct Outage {
    since: Instant,
    next: Duration,
}

impl Default for Outage {
    fn default() -> Self {
        Self { since: Instant::now(), next: FIRST_PAUSE }
    }
}

impl Outage {
    /// The time until the next attempt; `None`: the error is permanent, or the outage has lasted too long.
    pub(crate) fn pause(&mut self, error: &Error) -> Option<Duration> {
        let is_transient = match error.kind() {
            Kind::Connection | Kind::Timeout => true,
            Kind::Foreign { status } => matches!(status, 502..=504),
            Kind::Refused(body) => {
                let codes = [ErrorCode::TooManyRequests, ErrorCode::ServiceUnavailable, ErrorCode::RequestTimeout];
                codes.iter().any(|code| code.status() == body.status)
            }
            _ => false,
        };
        let pause = self.next;
        self.next = self.next.saturating_mul(2).min(LONGEST_PAUSE);
        (is_transient && self.since.elapsed() < OUTAGE).then_some(pause)
    }
}
