//! The state machine of a cluster: its status follows from the last transition, when that was, and the time. Nothing has
//! to run for it to go on: a platform that was killed in between finds it where it would have been.
//!
//! The states on the way are the documented ones, so that whoever waits for them (the vendor's Terraform client, a
//! page) sees them; a local cluster needs no time for any of them, so each lasts just long enough to be seen.

use mlplatform_protocol::ClusterStatus;

const SECOND: i64 = 1_000_000;

/// What it was last told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Create,
    Start,
    Suspend,
    Delete,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Create, Self::Start, Self::Suspend, Self::Delete];

    /// As stored.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Suspend => "suspend",
            Self::Delete => "delete",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }

    /// The states on the way, each with the microseconds that it lasts, and the one at the end; `None`: it is gone.
    const fn way(self) -> (&'static [(ClusterStatus, i64)], Option<ClusterStatus>) {
        use ClusterStatus::{Creating, CreatingRegistry, Deleting, Freezing, InstallSparkOperator, Shutoff, Starting};
        match self {
            Self::Create => (
                &[(Creating, SECOND), (CreatingRegistry, SECOND), (InstallSparkOperator, SECOND)],
                Some(ClusterStatus::Running),
            ),
            Self::Start => (&[(Starting, SECOND)], Some(ClusterStatus::Running)),
            Self::Suspend => (&[(Freezing, SECOND)], Some(Shutoff)),
            Self::Delete => (&[(Deleting, 2 * SECOND)], None),
        }
    }

    /// How long it takes, in microseconds.
    pub(crate) fn length(self) -> i64 {
        self.way().0.iter().map(|(_, lasts)| lasts).sum()
    }

    /// What a cluster is doing so many microseconds after it was told; `None`: it is gone.
    pub(crate) fn status(self, elapsed: i64) -> Option<ClusterStatus> {
        let (way, end) = self.way();
        let mut left = elapsed;
        for (status, lasts) in way {
            if left < *lasts {
                return Some(*status);
            }
            left -= lasts;
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_states_in_their_order() {
        let seen = |phase: Phase| {
            let mut seen: Vec<_> = (0..=40).map(|tenth| phase.status(tenth * SECOND / 10)).collect();
            seen.dedup();
            seen.into_iter().map(|status| status.map_or("gone", ClusterStatus::name)).collect::<Vec<_>>()
        };
        assert_eq!(seen(Phase::Create), ["CREATING", "CREATING_REGISTRY", "INSTALL_SPARK_OPERATOR", "RUNNING"]);
        assert_eq!(seen(Phase::Start), ["STARTING", "RUNNING"]);
        assert_eq!(seen(Phase::Suspend), ["FREEZING", "SHUTOFF"]);
        assert_eq!(seen(Phase::Delete), ["DELETING", "gone"]);
    }

    #[test]
    fn a_clock_that_went_back_is_a_beginning() {
        assert_eq!(Phase::Create.status(-5), Some(ClusterStatus::Creating));
        assert_eq!(Phase::Create.status(i64::MAX), Some(ClusterStatus::Running));
        for phase in Phase::ALL {
            assert_eq!(Phase::from_name(phase.name()), Some(phase));
            assert_ne!(phase.status(phase.length() - 1), phase.status(phase.length()));
        }
    }
}
