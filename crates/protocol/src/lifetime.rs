//! Lifetimes of tokens, in the grammar of Go's `time.ParseDuration`, which the reference documents by
//! example (`2h45m30s`, `2h`), with `d` (24 hours) and `w` (7 days) as an extension.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const SECOND: u128 = 1_000_000_000;
/// Nanoseconds in each unit.
const UNITS: [(&str, u128); 9] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
    ("d", 24 * 3_600 * SECOND),
];
const WEEK: (&str, u128) = ("w", 7 * 24 * 3_600 * SECOND);
/// Go keeps a duration in 63 bits of nanoseconds: a little over 292 years.
const LONGEST: u128 = i64::MAX as u128;
/// The longest text that is read: far more than any sensible lifetime, short enough to print whole.
pub(crate) const MAX_TEXT: usize = 64;

/// How long a token lives: at least one second, at most about 292 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lifetime(Duration);

/// Why a text or a number is not a lifetime; the message holds what was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LifetimeError {
    /// Not of the grammar.
    #[error(
        "'{given}' is not a lifetime: {problem}; write numbers with units, such as '2h45m30s', '1.5h', '90s' or '7d' (units: w, d, h, m, s, ms, us, ns)"
    )]
    Grammar {
        /// As it was given, shortened when long.
        given: String,
        /// Which rule it breaks.
        problem: &'static str,
    },
    /// Zero, negative or under a second.
    #[error(
        "a lifetime of '{given}' is too short: a token lives for at least one second (leave the lifetime out where 'never expires' is meant)"
    )]
    TooShort {
        /// As it was given.
        given: String,
    },
    /// Over the longest.
    #[error("a lifetime of '{given}' is too long: the longest is about 292 years (2562047h47m16s)")]
    TooLong {
        /// As it was given.
        given: String,
    },
}

impl Lifetime {
    /// The length of time.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// Seconds, whole or not, as Python gives them.
    ///
    /// # Errors
    /// When it is no finite number, under a second, or too long.
    pub fn from_seconds(seconds: f64) -> Result<Self, LifetimeError> {
        if seconds.is_nan() {
            return Err(grammar("nan", "it is not a number of seconds"));
        }
        let given = || format!("{seconds} seconds");
        if seconds < 1.0 {
            return Err(LifetimeError::TooShort { given: given() });
        }
        let duration = Duration::try_from_secs_f64(seconds).map_err(|_| LifetimeError::TooLong { given: given() })?;
        Self::from_nanos(duration.as_nanos(), given)
    }

    /// The lifetime of that length; `None` when it is under a second or too long.
    #[must_use]
    pub fn from_duration(duration: Duration) -> Option<Self> {
        Self::from_nanos(duration.as_nanos(), String::new).ok()
    }

    fn from_nanos(nanos: u128, given: impl FnOnce() -> String) -> Result<Self, LifetimeError> {
        if nanos < SECOND {
            return Err(LifetimeError::TooShort { given: given() });
        }
        let whole = u64::try_from(nanos / SECOND).ok().filter(|_| nanos <= LONGEST);
        let part = u32::try_from(nanos % SECOND).ok();
        match (whole, part) {
            (Some(whole), Some(part)) => Ok(Self(Duration::new(whole, part))),
            _ => Err(LifetimeError::TooLong { given: given() }),
        }
    }
}

impl FromStr for Lifetime {
    type Err = LifetimeError;

    fn from_str(text: &str) -> Result<Self, LifetimeError> {
        let given = || shorten(text);
        let fail = |problem| Err(grammar(text, problem));
        if text.len() > MAX_TEXT {
            return fail("it is too long a text");
        }
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Err(LifetimeError::TooShort { given: given() });
        }
        if rest.is_empty() {
            return fail("it is empty");
        }
        let mut total: u128 = 0;
        while !rest.is_empty() {
            let (number, after) = split_while(rest, |c| c.is_ascii_digit() || c == '.');
            let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
            if whole.is_empty() && fraction.is_empty() {
                return fail("a number is missing");
            }
            if fraction.contains('.') {
                return fail("a number has two points");
            }
            let (unit, after) = split_while(after, |c| !c.is_ascii_digit() && c != '.');
            if unit.is_empty() {
                return fail("a unit is missing");
            }
            let Some((_, scale)) = UNITS.iter().chain([&WEEK]).find(|(name, _)| *name == unit) else {
                return fail("a unit is unknown");
            };
            let Some(part) = scaled(whole, fraction, *scale) else {
                return Err(LifetimeError::TooLong { given: given() });
            };
            total = total.saturating_add(part);
            rest = after;
        }
        if negative {
            return Err(LifetimeError::TooShort { given: given() });
        }
        Self::from_nanos(total, given)
    }
}

/// `whole.fraction × scale` in nanoseconds, rounded down; `None` when it is too long for any lifetime.
fn scaled(whole: &str, fraction: &str, scale: u128) -> Option<u128> {
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut sum = whole.checked_mul(scale)?;
    let mut place = scale;
    for digit in fraction.chars().filter_map(|c| c.to_digit(10)) {
        // Exact down to the nanosecond: scale × digit is divided, not a rounded tenth multiplied.
        sum = sum.checked_add(place * u128::from(digit) / 10)?;
        place /= 10;
    }
    (sum <= LONGEST).then_some(sum)
}

fn split_while(text: &str, keep: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !keep(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn grammar(given: &str, problem: &'static str) -> LifetimeError {
    LifetimeError::Grammar { given: shorten(given), problem }
}

/// What the user gave, harmless in a terminal and at most [`MAX_TEXT`] characters.
fn shorten(text: &str) -> String {
    text.chars().flat_map(char::escape_debug).take(MAX_TEXT).collect()
}

/// As Go prints it: `2h45m30s`, `1.5s`.
impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        let fraction = format!("{:09}", self.0.subsec_nanos());
        let fraction = fraction.trim_end_matches('0');
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        match (rest, fraction) {
            (0, "") => Ok(()),
            (_, "") => write!(f, "{rest}s"),
            _ => write!(f, "{rest}.{fraction}s"),
        }
    }
}

impl Serialize for Lifetime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn documented_and_go_forms() {
        let table: [(&str, u64); 14] = [
            ("2h45m30s", 9_930),
            ("2h", 7_200),
            ("1h30m", 5_400),
            ("1.5h", 5_400),
            ("45m", 2_700),
            ("90s", 90),
            ("+90s", 90),
            (".5m", 30),
            ("1.m", 60),
            ("1d", 86_400),
            ("2w", 1_209_600),
            ("1500ms500ms", 2),
            ("1000000us", 1),
            ("30s1h", 3_630),
        ];
        for (text, seconds) in table {
            assert_eq!(text.parse::<Lifetime>().unwrap().duration(), Duration::from_secs(seconds), "{text}");
        }
    }

    #[test]
    fn refused_with_the_text_that_was_given() {
        let table = [
            ("", "empty"),
            ("-", "empty"),
            ("2", "unit is missing"),
            ("2h45", "unit is missing"),
            ("h", "number is missing"),
            (".h", "number is missing"),
            ("1.2.3h", "two points"),
            ("2 h", "unit is unknown"),
            ("2H", "unit is unknown"),
            ("2y", "unit is unknown"),
            ("2h ", "unit is unknown"),
            ("0", "too short"),
            ("0s", "too short"),
            ("-2h", "too short"),
            ("999ms", "too short"),
            ("2562048h", "too long"),
            ("99999999999999999999999999999999999999999999s", "too long"),
        ];
        for (text, why) in table {
            let message = text.parse::<Lifetime>().unwrap_err().to_string();
            assert!(message.contains(why), "{text}: {message}");
            assert!(message.contains(&format!("'{text}'")), "{text}: {message}");
        }
    }

    #[test]
    fn seconds() {
        assert_eq!(Lifetime::from_seconds(1.5).unwrap().to_string(), "1.5s");
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 0.999, 1e30] {
            assert!(Lifetime::from_seconds(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(seconds in 1_u64..9_223_372_036, nanos in 0_u32..1_000_000_000) {
            let lifetime = Lifetime(Duration::new(seconds, nanos));
            prop_assert_eq!(lifetime.to_string().parse::<Lifetime>().unwrap(), lifetime);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9.hmsdwµu ]{0,80}|\\PC{0,80}") {
            if let Ok(lifetime) = text.parse::<Lifetime>() {
                prop_assert!(lifetime.duration() >= Duration::from_secs(1));
                prop_assert!(lifetime.duration().as_nanos() <= LONGEST);
            }
        }
    }
}
