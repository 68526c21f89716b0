//! The contract between `mlplatform-client` and `mlplatform-server`, as code.
//!
//! It defines the routes ([`routes`]), their messages ([`tokens`], [`clusters`], [`jobs`], [`objects`], [`audit`], [`page`]),
//! error answers ([`error`]), the formats of tokens ([`token`]), public ids ([`id`]), names ([`name`]) and lifetimes
//! ([`lifetime`]), YAML ([`yaml`]), and manifests of Spark jobs ([`manifest`]). The crate does no I/O and depends on neither
//! side.

pub mod audit;
pub mod clusters;
pub mod connect;
pub mod error;
pub mod headers;
pub mod id;
pub mod jobs;
#[cfg(feature = "openapi")]
mod json_schema;
pub mod lifetime;
pub mod manifest;
pub mod name;
pub mod oauth;
pub mod objects;
pub mod open;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod page;
pub mod routes;
pub mod token;
pub mod tokens;
pub mod yaml;

pub use clusters::{ClusterInfo, ClusterStatus, Minutes};
pub use error::{ErrorBody, ErrorCode};
pub use id::TokenId;
pub use jiff::Timestamp;
pub use jobs::{EventKind, Explanation, JobDetail, JobEvent, JobInfo, JobState};
pub use lifetime::Lifetime;
pub use name::TokenName;
pub use open::Open;
pub use page::{Page, PageRequest};
pub use routes::{Access, Endpoint, Origin, ROUTES, Repeat, Route};
pub use serde_json::Value;
pub use token::{Secret, TokenKind};
pub use tokens::{RegisterTokenInfo, RegisterTokenState, Role, TokenInfo};
