//! Manifests: what a Spark job is, as a `SparkApplication` of the Spark operator (`sparkoperator.k8s.io/v1beta2`).
//!
//! A [`Manifest`] is the YAML tree itself, not a structure that fields were copied into: whatever this library does not
//! know stays where it is and as it was written. The operator's rules are in [`validate`](Manifest::validate).

mod document;
mod model;
mod problem;
mod quantity;
mod schema;
mod together;
mod validate;

pub use document::{Manifest, ManifestError, UnknownKey};
pub use model::{API_VERSION, Deps, EXAMPLE, KIND, Part, RESTART_TYPES, RestartPolicy, SPARK_VERSION, SPEC_TYPES};
pub use problem::Problem;
pub use quantity::{Cpu, Memory};
pub use schema::known_fields;

#[cfg(test)]
mod tests;
