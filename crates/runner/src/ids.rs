//! A store of numeric ids that a runner allocates to jobs and clusters: users and groups of the operating system.
//!
//! A runner that gives each job a user of its own must not give one to two jobs, also not after it was restarted. So what
//! is allocated is kept beside the jobs themselves; which id is free, and when one may be given back, the runner decides.

use std::{collections::HashSet, fmt, io};

use futures_util::future::BoxFuture;

use crate::runner::RunId;

/// The allocations. Each method fails when the store does.
pub trait IdStore: fmt::Debug + Send + Sync {
    /// The user id that a job holds.
    fn user_of<'a>(&'a self, job: &'a str) -> BoxFuture<'a, io::Result<Option<u32>>>;

    /// Gives a job an id, or takes it back.
    fn set_user<'a>(&'a self, job: &'a str, id: Option<u32>) -> BoxFuture<'a, io::Result<()>>;

    /// The group id of a cluster.
    fn group_of<'a>(&'a self, cluster: &'a str) -> BoxFuture<'a, io::Result<Option<u32>>>;

    /// Gives a cluster the group that `choose` takes, given the group that it holds and all ids that are allocated.
    /// Nothing else is allocated meanwhile. `None`: nothing was chosen.
    fn claim_group<'a>(&'a self, cluster: &'a str, choose: ChooseGroup) -> BoxFuture<'a, io::Result<Option<u32>>>;

    /// All ids that jobs and clusters hold.
    fn allocated(&self) -> BoxFuture<'_, io::Result<HashSet<u32>>>;

    /// The last runs of jobs that are over and still hold an id.
    fn held_by_finished(&self) -> BoxFuture<'_, io::Result<Vec<(RunId, u32)>>>;
}

/// From the group that a cluster holds, and all ids that are allocated, to the group that it gets.
pub type ChooseGroup = Box<dyn FnOnce(Option<u32>, &HashSet<u32>) -> Option<u32> + Send>;
