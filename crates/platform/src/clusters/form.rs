//! Validation of what a cluster is asked to be: its name, its capacity, the vendor's fields.

use std::{fmt, str::FromStr};

use base64::{Engine, prelude::BASE64_STANDARD};
use mlplatform_protocol::{
    ErrorCode, Minutes,
    clusters::{ClusterSpec, CreateClusterRequest},
    token::{Shape, shape},
};
use serde_json::Value;

use crate::error::{Error, Result};

/// The longest name: with what is put before and behind it, a bucket's is still one of at most 63 characters.
const LONGEST_NAME: usize = 48;
const GIB: u64 = 1 << 30;

/// What a cluster's jobs share. It is nominal, as in a cloud: a manifest that was written for a cluster fits on a
/// laptop, and a job that asks for more than there is waits, as it would there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Cores.
    pub cores: u32,
    /// Bytes.
    pub memory: u64,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { cores: 8, memory: 16 * GIB }
    }
}

/// An amount of memory as people write it: `16g`, `16Gi`, `512m`. As in Spark, all units are powers of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory(pub u64);

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused =
            || format!("'{text}' is not an amount of memory: give 16g, 16Gi, 512m or the like, 512m at least");
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let power = match unit.to_ascii_lowercase().as_str() {
            "m" | "mi" | "mb" | "mib" => 20,
            "g" | "gi" | "gb" | "gib" => 30,
            "t" | "ti" | "tb" | "tib" => 40,
            _ => return Err(refused()),
        };
        let number: u64 = number.parse().map_err(|_| refused())?;
        let bytes = number.checked_mul(1 << power).filter(|bytes| (GIB / 2..1 << 50).contains(bytes));
        bytes.map(Self).ok_or_else(refused)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(GIB) { write!(f, "{}Gi", self.0 / GIB) } else { write!(f, "{}Mi", self.0 >> 20) }
    }
}

/// Letters, digits and what a bucket's name can also hold in some form.
pub(super) fn check_name(name: &str) -> Result<()> {
    let mut letters = name.chars();
    let good = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && name.ends_with(|last: char| last.is_ascii_alphanumeric())
        && name.len() <= LONGEST_NAME;
    if good && matches!(shape(name), Shape::Whole(_)) {
        // It would be stored and listed for everybody to read.
        return Err(bad("name: this is the value of a token: give the name that the cluster shall have".to_owned()));
    }
    if good {
        return Ok(());
    }
    Err(bad(format!(
        "name: '{name}' is not a cluster's name: give 1 to {LONGEST_NAME} letters, digits, '-', '_' and '.', beginning with a letter and ending with a letter or digit"
    )))
}

/// The vendor's fields, each of its type.
pub(super) fn spec(request: &CreateClusterRequest) -> Result<ClusterSpec> {
    let spec: ClusterSpec = serde_path_to_error::deserialize(Value::Object(request.rest.clone()))
        .map_err(|error| bad(format!("{}: {}", error.path(), error.inner())))?;
    let encoded =
        [("spark_configuration", &spec.spark_configuration), ("environment_variables", &spec.environment_variables)];
    for (field, value) in encoded {
        let decoded = value.as_ref().map(|value| BASE64_STANDARD.decode(value));
        let text =
            decoded.transpose().ok().map(Option::unwrap_or_default).and_then(|bytes| String::from_utf8(bytes).ok());
        if text.is_none() {
            // Not repeated: environment variables may hold a password.
            return Err(bad(format!("{field}: it is not text in base64: encode the YAML")));
        }
    }
    Ok(spec)
}

/// Suspend, delete: the vendor's seconds as minutes, begun ones counted; none and 0 are never.
pub(super) fn times(spec: &ClusterSpec) -> Result<(Option<Minutes>, Option<Minutes>)> {
    let minutes = |field: &str, seconds: Option<u64>| {
        let seconds = seconds.filter(|seconds| *seconds > 0);
        let minutes = seconds.map(|seconds| Minutes::try_from(i64::try_from(seconds.div_ceil(60)).unwrap_or(i64::MAX)));
        minutes.transpose().map_err(|error| bad(format!("{field}: in minutes, {error}")))
    };
    Ok((
        minutes("suspend_after_delay", spec.suspend_after_delay)?,
        minutes("delete_after_delay", spec.delete_after_delay)?,
    ))
}

fn bad(text: String) -> Error {
    Error::refused(ErrorCode::BadRequest, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn memory() {
        let bytes = |text: &str| text.parse::<Memory>().ok().map(|memory| memory.0);
        for text in ["16g", "16G", "16Gi", "16384m", "16384MiB"] {
            assert_eq!(bytes(text), Some(16 * GIB), "{text}");
        }
        for bad in ["", "16", "g", "16 g", "-1g", "0g", "100m", "1.5g", "16k", "99999999999t", "١g"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
        assert_eq!((Memory(16 * GIB).to_string(), Memory(GIB / 2).to_string()), ("16Gi".into(), "512Mi".into()));
    }

    #[test]
    fn names() {
        let long = "a".repeat(LONGEST_NAME + 1);
        for good in ["a", "local", "Nightly_2.0-x", &long[1..]] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "1a", "a b", "a/b", "..", "имя", &long] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_vendor_s_fields_have_types() {
        let spec = |rest: serde_json::Value| {
            spec(
                &serde_json::from_value(
                    json!({"name": "n"})
                        .as_object()
                        .cloned()
                        .map(|mut all| {
                            all.extend(rest.as_object().cloned().unwrap());
                            serde_json::Value::Object(all)
                        })
                        .unwrap(),
                )
                .unwrap(),
            )
        };
        let times = |rest| times(&spec(rest).unwrap()).map(|(s, d)| (s.map(Minutes::get), d.map(Minutes::get)));
        assert_eq!(times(json!({})).unwrap(), (None, None));
        assert_eq!(times(json!({"suspend_after_delay": 0, "delete_after_delay": null})).unwrap(), (None, None));
        assert_eq!(times(json!({"suspend_after_delay": 61, "delete_after_delay": 3600})).unwrap(), (Some(2), Some(60)));
        assert!(times(json!({"delete_after_delay": u64::MAX})).unwrap_err().to_string().contains("delete_after_delay"));
        let table = [
            (json!({"cluster_mode": "TEST"}), "cluster_mode: unknown variant `TEST`, expected `DEV` or `PROD`"),
            (json!({"node_groups": [{"node_count": "two"}]}), "node_groups[0].node_count: invalid type: string"),
            (json!({"delete_after_delay": -1}), "delete_after_delay: invalid value"),
            (json!({"spark_configuration": "spark: 1"}), "spark_configuration: it is not text in base64"),
        ];
        for (rest, why) in table {
            let error = spec(rest).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
