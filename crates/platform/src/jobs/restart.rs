//! The back-off of repeated runs: later and later when they end at once.

/// A run that lasted so long (microseconds) was none that ends at once.
pub(crate) const QUICK: i64 = 10_000_000;
/// The longest that is waited between two runs for ending at once, in seconds.
pub(crate) const LONGEST: i64 = 300;
/// Events of one job that are kept: the newest.
pub(crate) const EVENTS: i64 = 500;

/// Seconds after so many runs in a row that ended at once: 0, 1, 2, 4 and so on.
pub(crate) fn back_off(quick_ends: i64) -> i64 {
    match quick_ends {
        ..=1 => 0,
        ends => 1_i64
            .checked_shl(u32::try_from(ends - 2).unwrap_or(u32::MAX))
            .filter(|s| *s > 0)
            .unwrap_or(LONGEST)
            .min(LONGEST),
    }
}

/// The message of the event about the next run.
pub(crate) fn message(runs: i64, success: bool, seconds: i64, quick_ends: i64) -> String {
    let what = if success { "ended" } else { "failed" };
    let message = format!("run {runs} {what}: the restart policy repeats it in {seconds} s");
    if quick_ends < 2 {
        return message;
    }
    format!(
        "{message}; the last {quick_ends} runs each ended within {} s, and such are repeated later and later, at most \
         after {LONGEST} s",
        QUICK / 1_000_000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_and_later() {
        let seconds: Vec<i64> = (0..12).map(back_off).collect();
        assert_eq!(seconds, [0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!((back_off(64), back_off(66), back_off(i64::MAX)), (300, 300, 300));
    }
}
