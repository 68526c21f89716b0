//! The contract between `mlplatform-client` and `mlplatform-server`, as code.
//!
//! Whatever both sides must agree on is written here, once: which routes there are ([`routes`]),
//! what travels over them ([`tokens`], [`clusters`], [`objects`], [`audit`], [`page`]), how a refusal looks ([`error`]),
//! what a token ([`token`]), its public id ([`id`]), its name ([`name`]) and a lifetime ([`lifetime`]) look like, how YAML
//! is read and written ([`yaml`]), and what a Spark job's manifest may hold ([`manifest`]). The crate does no I/O and knows
//! neither side.

pub mod audit;
pub mod clusters;
pub mod error;
pub mod headers;
pub mod id;
pub mod jobs;
#[cfg(feature = "openapi")]
mod json_schema;
pub mod lifetime;
pub mod manifest;
pub mod name;
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
