//! Extensible enumerations: a newer peer may send unknown values.

use serde::{Deserialize, Serialize};

/// A value of `T`, or the text of one that this version does not know.
///
/// Answers use it, so that a newer server does not break an older client; requests use `T` itself,
/// so that the server refuses what it cannot mean.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "Open{T}"))]
#[serde(untagged)]
pub enum Open<T> {
    /// One of ours.
    Known(T),
    /// Somebody newer's; kept as it came.
    Unknown(String),
}

impl<T> From<T> for Open<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}
