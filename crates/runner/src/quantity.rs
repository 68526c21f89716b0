//! Quantities of memory and cores, as Spark and Kubernetes write them.

/// MiB of a Spark memory text: `512m`, `2g`, `1024` (MiB), and Kubernetes' `1Gi`. At least 1.
#[must_use]
pub fn memory_mib(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0)?;
    let bytes_of_unit: f64 = match unit.trim() {
        "b" => 1.0,
        "k" | "kb" | "ki" => 1024.0,
        "" | "m" | "mb" | "mi" => 1_048_576.0,
        "g" | "gb" | "gi" => 1_073_741_824.0,
        "t" | "tb" | "ti" => 1_099_511_627_776.0,
        _ => return None,
    };
    let mib = (number * bytes_of_unit / 1_048_576.0).ceil();
    // A PiB is more than any machine has, and far from where a float loses whole numbers.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and below 2^30")]
    (mib <= 1_073_741_824.0).then(|| (mib as u64).max(1))
}

/// Thousandths of a core: `1`, `0.5`, `500m`.
#[must_use]
pub fn millicores(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, factor) = text.strip_suffix('m').map_or((text, 1000.0), |number| (number, 1.0));
    let number: f64 = number.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0)?;
    let millis = (number * factor).ceil();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and below 2^30")]
    (millis <= 1_000_000_000.0).then(|| (millis as u64).max(1))
}

/// For people: `1.5`, `8`.
#[must_use]
pub fn cores_text(millis: u64) -> String {
    let (whole, part) = (millis / 1000, millis % 1000);
    if part == 0 { whole.to_string() } else { format!("{whole}.{part:03}").trim_end_matches('0').to_owned() }
}

/// For people: `512 MiB`, `16 GiB`.
#[must_use]
pub fn memory_text(mib: u64) -> String {
    if mib >= 1024 && mib.is_multiple_of(1024) { format!("{} GiB", mib / 1024) } else { format!("{mib} MiB") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory() {
        let table = [
            ("512m", 512),
            ("1g", 1024),
            ("1.5G", 1536),
            ("1024", 1024),
            ("2Gi", 2048),
            ("512Mi", 512),
            ("1t", 1_048_576),
            ("1b", 1),
        ];
        for (text, mib) in table {
            assert_eq!(memory_mib(text), Some(mib), "{text}");
        }
        for text in ["", "m", "-1g", "0", "1x", "1e400g", "NaN", "99999999t"] {
            assert_eq!(memory_mib(text), None, "{text}");
        }
        assert_eq!((memory_text(16384), memory_text(1500)), ("16 GiB".to_owned(), "1500 MiB".to_owned()));
    }

    #[test]
    fn cores() {
        assert_eq!((millicores("1"), millicores("0.5"), millicores("250m")), (Some(1000), Some(500), Some(250)));
        for text in ["", "m", "-1", "0", "x", "inf"] {
            assert_eq!(millicores(text), None, "{text}");
        }
        assert_eq!((cores_text(8000), cores_text(1250)), ("8".to_owned(), "1.25".to_owned()));
    }
}
