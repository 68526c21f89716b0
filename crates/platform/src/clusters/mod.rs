//! Clusters: what jobs run on.

pub mod form;
pub mod inactivity;
mod phase;
pub(crate) mod row;
pub mod verbs;
