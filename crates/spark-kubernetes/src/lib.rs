//! Runs Spark jobs on Kubernetes, through the Spark operator (`sparkoperator.k8s.io/v1beta2`).
//!
//! ```text
//! runner                 implements `mlplatform_runner::runner::Runner` for one cluster
//! settings               which cluster, and what of it
//! shared                 what its parts share: the API, what is seen, what is kept
//! watches                applications, pods and events, as they change
//! view                   the fields that are read of them
//! policy                 what a manifest may not set
//! application            from a manifest to a SparkApplication
//! start, status, stop    a run, from its begin to what it leaves
//! log_keeper, log_lines  the logs of drivers, followed and kept
//! records                what is remembered of runs
//! check                  what works of a cluster, and what is missing
//! names                  names and labels in the cluster
//! errors                 what the API's refusals mean
//! ```

mod application;
pub mod check;
mod errors;
mod log_keeper;
mod log_lines;
mod names;
mod policy;
mod records;
mod runner;
mod settings;
mod shared;
mod start;
mod status;
mod stop;
mod view;
mod watches;

pub use runner::KubernetesRunner;
pub use settings::{ClusterSettings, KubernetesConfig};
