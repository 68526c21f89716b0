//! The credentials of a run: user, group and the cluster's group.

use serde::{Deserialize, Serialize};

/// The credentials of a run's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credentials {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// With ids of its own: the group that it shares with the other jobs of its cluster.
    pub(crate) cluster: Option<u32>,
}

impl Credentials {
    /// Of its files.
    pub(crate) fn owner(&self) -> (u32, u32) {
        (self.uid, self.gid)
    }
}
