//! Messages for the audit log.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{lifetime::Lifetime, open::Open};

/// How an audited action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Done.
    Done,
    /// Refused.
    Refused,
    /// Refused, because a registration token had been redeemed before.
    Replay,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 3] = [Self::Done, Self::Refused, Self::Replay];

    /// As it stands on the wire and in the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Replay => "replay",
        }
    }

    /// The outcome of that [`name`](Self::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// `get_audit`: which rows, newest first. What is left out does not narrow.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AuditRequest {
    /// Id or name of a token of either kind, dead ones too: rows of what it did, and of what was done to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// A route's name, or what the platform itself does (`first_start`, say).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Not before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(with = "Option<crate::json_schema::DateTime>"))]
    pub since: Option<Timestamp>,
    /// Before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(with = "Option<crate::json_schema::DateTime>"))]
    pub until: Option<Timestamp>,
    /// As in a [`crate::PageRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = crate::page::MAX_LIMIT)))]
    pub limit: Option<u32>,
    /// As in a [`crate::PageRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct AuditEntry {
    /// Its number; they have no gaps.
    pub seq: u64,
    /// When.
    #[cfg_attr(feature = "openapi", schemars(with = "crate::json_schema::DateTime"))]
    pub at: Timestamp,
    /// What was done: a route's name, or what the platform itself does.
    pub action: String,
    /// How it ended.
    pub outcome: Open<Outcome>,
    /// Id of the token that acted; `None`: nobody signed in, or the platform itself.
    pub actor: Option<String>,
    /// That token's name.
    pub actor_name: Option<String>,
    /// Id of the token, of either kind, that it was done to.
    pub subject: Option<String>,
    /// That token's name.
    pub subject_name: Option<String>,
    /// The peer's address; `local` for a command on the platform's machine.
    pub address: String,
    /// As the answer's `X-Request-Id` said.
    pub request_id: String,
    /// More; never a secret. `count` says that the row stands for so many refusals.
    pub detail: Map<String, Value>,
}

/// A moment as people write it: RFC 3339, or a lifetime, which means so long ago.
///
/// # Errors
/// When it is neither; the text says what was given and both forms.
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let problem = || {
        let shown: String = text.chars().take(64).collect();
        format!(
            "'{}' is neither a time (RFC 3339, such as 2026-11-24T15:00:00Z; an offset belongs to it) nor a length of \
             time before now (such as 2h or 7d)",
            shown.escape_debug()
        )
    };
    let ago: Lifetime = text.parse().map_err(|_| problem())?;
    let ago = SignedDuration::try_from(ago.duration()).map_err(|_| problem())?;
    now.checked_sub(ago).map_err(|_| problem())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_what_they_are_called() {
        for outcome in Outcome::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
            assert_eq!(Outcome::from_name(outcome.name()), Some(outcome));
        }
    }

    #[test]
    fn moments() {
        let now: Timestamp = "2026-11-24T15:00:00Z".parse().unwrap();
        for (text, at) in [
            ("2h", "2026-11-24T13:00:00Z"),
            ("1w", "2026-11-17T15:00:00Z"),
            ("2026-11-01T02:00:00+02:00", "2026-11-01T00:00:00Z"),
        ] {
            assert_eq!(moment(text, now), Ok(at.parse().unwrap()), "{text}");
        }
        for text in ["", "yesterday", "2026-11-01", "2026-11-01T02:00:00", "2", "-2h", "\u{1b}"] {
            let problem = moment(text, now).unwrap_err();
            assert!(problem.contains("RFC 3339") && !problem.contains('\u{1b}'), "{problem}");
        }
    }
}
