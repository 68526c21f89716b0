//! The size limit of logs, as an operator writes it: `1g`, `64Mi`.

use std::{fmt, str::FromStr};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimit(pub u64);

impl LogLimit {
    /// Of one job, unless something else is said.
    pub const JOB: Self = Self(GIB);
    /// Of all jobs of a cluster.
    pub const CLUSTER: Self = Self(16 * GIB);
}

impl FromStr for LogLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused =
            || format!("'{text}' is not the size of a log: give 1g, 64Mi or the like, 1m at least, 1t at most");
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let size = match unit.to_ascii_lowercase().as_str() {
            "m" | "mi" | "mb" | "mib" => MIB,
            "g" | "gi" | "gb" | "gib" => GIB,
            "t" | "ti" | "tb" | "tib" => 1 << 40,
            _ => return Err(refused()),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(size));
        bytes.filter(|bytes| (MIB..=1 << 40).contains(bytes)).map(Self).ok_or_else(refused)
    }
}

impl fmt::Display for LogLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes.is_multiple_of(GIB) => write!(f, "{} GiB", bytes / GIB),
            bytes if bytes.is_multiple_of(MIB) => write!(f, "{} MiB", bytes / MIB),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [("1g", GIB), ("64Mi", 64 * MIB), ("1T", 1 << 40)] {
            assert_eq!(text.parse(), Ok(LogLimit(bytes)), "{text}");
        }
        for text in ["", "1", "0m", "512k", "-1g", "2t", "99999999999999999999g"] {
            assert!(text.parse::<LogLimit>().unwrap_err().contains("is not the size of a log"), "{text}");
        }
        assert_eq!((LogLimit(GIB).to_string(), LogLimit(3 * MIB).to_string()), ("1 GiB".into(), "3 MiB".into()));
    }
}
