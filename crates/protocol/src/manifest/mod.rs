//! Manifests of Spark jobs: the `SparkApplication` of the Spark operator (`sparkoperator.k8s.io/v1beta2`).
//!
//! A [`Manifest`] is a YAML tree, not a struct: unknown fields keep their place and their spelling. The operator's rules are in [`validate`](Manifest::validate).

mod cross_field;
mod document;
mod model;
mod problem;
mod quantity;
mod schema;
mod validate;

pub use document::{Manifest, ManifestError, UnknownKey};
pub use model::{API_VERSION, Deps, EXAMPLE, KIND, Part, RESTART_TYPES, RestartPolicy, SPARK_VERSION, SPEC_TYPES};
pub use problem::Problem;
pub use quantity::{Cpu, Memory};
pub use schema::known_fields;

#[cfg(test)]
mod tests;
