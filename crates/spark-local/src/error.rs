//! The error of a setting under which jobs must not run.

/// Jobs must not be run so; the text names the setting, the rule and the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct JobUserError(pub String);
