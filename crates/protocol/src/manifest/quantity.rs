//! Amounts of CPU and memory, as Kubernetes and Spark write them.

use std::str::FromStr;

/// An amount of CPU: whole and part cores (`2`, `0.5`) or thousandths (`1200m`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpu {
    /// Thousandths of a core.
    pub millis: u64,
}

/// An amount of memory as Spark reads it: a whole number and one letter (`512m`, `2g`); without a letter, MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory {
    /// Bytes.
    pub bytes: u64,
}

/// Not an amount; what would be right, where that can be guessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAQuantity {
    /// What was probably meant.
    pub suggestion: Option<String>,
}

/// Powers of 1024, each with the letters that Spark knows for it.
const UNITS: [(&str, u32); 6] = [("b", 0), ("k", 1), ("m", 2), ("g", 3), ("t", 4), ("p", 5)];

impl FromStr for Cpu {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        let bad = || NotAQuantity { suggestion: None };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(millis) = text.strip_suffix('m') {
            let millis = Some(millis).filter(|text| digits(text)).and_then(|text| text.parse().ok());
            return millis.filter(|millis| *millis > 0).map(|millis| Self { millis }).ok_or_else(bad);
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        if !digits(whole) || !digits(fraction) || fraction.len() > 3 {
            return Err(bad());
        }
        let thousandths: u64 = format!("{fraction:0<3}").parse().map_err(|_| bad())?;
        let millis = whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(1000)?.checked_add(thousandths));
        millis.filter(|millis| *millis > 0).map(|millis| Self { millis }).ok_or_else(bad)
    }
}

impl FromStr for Memory {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        let lower = text.trim().to_ascii_lowercase();
        let split = lower.bytes().position(|byte| !byte.is_ascii_digit() && byte != b'.').unwrap_or(lower.len());
        let (number, unit) = lower.split_at_checked(split).unwrap_or((&lower, ""));
        // "gb" is Spark's, too; "gi" and "gib" are how Kubernetes says the same.
        let letter = unit.trim_end_matches("ib").trim_end_matches('i');
        let letter = if letter.len() > 1 { letter.trim_end_matches('b') } else { letter };
        let power = UNITS.iter().find(|(name, _)| *name == if letter.is_empty() { "m" } else { letter });
        let Some((name, power)) = power else { return Err(NotAQuantity { suggestion: None }) };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1024_u64.checked_pow(*power)?));
        match bytes {
            Some(_) if unit.contains('i') => Err(NotAQuantity { suggestion: Some(format!("{number}{name}")) }),
            Some(bytes) => Ok(Self { bytes }),
            // One and a half of something is a whole number of the next smaller.
            None => {
                let smaller = UNITS.iter().find(|(_, below)| below + 1 == *power);
                let amount = number.parse::<f64>().ok().filter(|amount| *amount > 0.0 && *amount < 1e6);
                let suggestion = smaller.zip(amount).map(|((unit, _), amount)| format!("{:.0}{unit}", amount * 1024.0));
                Err(NotAQuantity { suggestion })
            }
        }
    }
}

/// Whether Kubernetes takes it for an amount of memory (`2Gi`, `500M`, `1e9`, `128974848`), more than none.
pub(super) fn is_kubernetes_memory(text: &str) -> bool {
    const SUFFIXES: [&str; 14] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "k", "M", "G", "T", "P", "E", "m", ""];
    let number = SUFFIXES.iter().find_map(|suffix| text.strip_suffix(suffix)).unwrap_or(text);
    number.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && number.parse::<f64>().is_ok_and(|number| number > 0.0 && number.is_finite())
}
