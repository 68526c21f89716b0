//! Jobs: what may be done with them, their rows in the store, and the supervisor that has a runner run them.

pub mod changes;
pub(crate) mod form;
pub mod ids;
pub mod lease;
pub mod logs;
pub(crate) mod lookup;
pub mod placement;
mod restart;
pub(crate) mod row;
pub mod runners;
pub mod runtime;
pub mod story;
pub mod supervisor;
mod values;
pub mod verbs;
