//! The retry decision, as a pure function.
//!
//! Every route can be repeated safely, by its nature or by its idempotency key ([`mlplatform_protocol::Repeat`]). So the
//! decision depends only on whether another attempt can help and whether there is time for it.

use std::time::Duration;

/// The most attempts for one request. With the pauses below they span about 3 s, a quick restart of the platform.
pub const MAX_ATTEMPTS: u32 = 5;
/// The pause after the first attempt; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The result of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No connection; the cause may be temporary.
    NotConnected,
    /// No connection; the cause is permanent (an untrusted certificate, for instance).
    Permanent,
    /// The connection broke before the answer was complete.
    Lost,
    /// An answer with this status and perhaps `Retry-After`.
    Answered {
        /// The HTTP status.
        status: u16,
        /// The pause that the server asks for.
        retry_after: Option<Duration>,
    },
}

/// The decision with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Send again after the pause.
    Again {
        /// The pause before it.
        pause: Duration,
        /// For the log and the tests.
        reason: &'static str,
    },
    /// Return the result.
    Stop {
        /// For the log and the tests.
        reason: &'static str,
    },
}

/// Decides whether to retry.
///
/// `attempt` counts from 1; `left` is the time to the deadline; `chance` is random in 0.0..=1.0 and spreads the
/// pauses of many clients over half of their length.
pub fn decide(attempt: u32, outcome: Outcome, left: Duration, chance: f64) -> Decision {
    let stop = |reason| Decision::Stop { reason };
    let (asked, reason) = match outcome {
        Outcome::NotConnected => (None, "no connection was made"),
        Outcome::Lost => (None, "the answer was lost"),
        Outcome::Answered { status: 429, retry_after } => (retry_after, "too many requests"),
        Outcome::Answered { status: 502..=504, retry_after } => {
            (retry_after, "the platform or its proxy is unavailable")
        }
        Outcome::Permanent => return stop("another attempt would fail in the same way"),
        Outcome::Answered { .. } => return stop("the answer is final"),
    };
    if attempt >= MAX_ATTEMPTS {
        return stop("the attempts are used up");
    }
    let doubled = FIRST_PAUSE.saturating_mul(1 << (attempt.saturating_sub(1)).min(10)).min(LONGEST_PAUSE);
    let spread = doubled.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0);
    let pause = asked.map_or(spread, |asked| asked.max(spread));
    if pause >= left { stop("there is no time left for another attempt") } else { Decision::Again { pause, reason } }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn answered(status: u16, retry_after: Option<u64>) -> Outcome {
        Outcome::Answered { status, retry_after: retry_after.map(Duration::from_secs) }
    }

    #[test]
    fn what_is_sent_again() {
        for outcome in [
            Outcome::NotConnected,
            Outcome::Lost,
            answered(429, None),
            answered(502, None),
            answered(503, None),
            answered(504, None),
        ] {
            assert!(matches!(decide(1, outcome, LONG, 0.5), Decision::Again { .. }), "{outcome:?}");
        }
        for outcome in [
            Outcome::Permanent,
            answered(200, None),
            answered(302, None),
            answered(401, None),
            answered(403, None),
            answered(500, None),
        ] {
            assert!(matches!(decide(1, outcome, LONG, 0.5), Decision::Stop { .. }), "{outcome:?}");
        }
    }

    #[test]
    fn pauses_double_and_are_spread() {
        let pause = |attempt, chance| match decide(attempt, Outcome::Lost, LONG, chance) {
            Decision::Again { pause, .. } => pause.as_millis(),
            Decision::Stop { reason } => panic!("{reason}"),
        };
        assert_eq!((pause(1, 0.0), pause(1, 1.0), pause(2, 1.0), pause(4, 1.0)), (100, 200, 400, 1600));
    }

    #[test]
    fn the_server_s_wish_and_the_deadline_are_kept() {
        assert_eq!(
            decide(1, answered(503, Some(7)), LONG, 0.0),
            Decision::Again { pause: Duration::from_secs(7), reason: "the platform or its proxy is unavailable" }
        );
        assert_eq!(
            decide(1, answered(429, Some(120)), LONG, 0.0),
            Decision::Stop { reason: "there is no time left for another attempt" }
        );
        assert_eq!(
            decide(MAX_ATTEMPTS, Outcome::Lost, LONG, 0.0),
            Decision::Stop { reason: "the attempts are used up" }
        );
    }
}
