//! What the platform does, apart from HTTP: one function per method, one file per resource. Handlers call these, and
//! whatever else comes to speak to people (pages, commands) calls the same.

pub mod admin;
pub mod audit;
pub mod cluster_form;
pub mod clusters;
pub mod create_token;
pub mod inactivity;
pub mod issuer;
pub mod job_changes;
mod job_form;
pub(crate) mod job_ids;
pub mod job_logs;
mod job_restart;
pub(crate) mod job_rows;
pub(crate) mod job_runtime;
pub(crate) mod job_story;
pub(crate) mod job_supervisor;
mod job_values;
pub mod jobs;
pub mod key;
pub mod objects;
mod page;
mod phase;
pub mod redeem;
pub mod register_tokens;
pub mod rotate;
pub(crate) mod s3_secret;
pub mod search;
pub mod secret;
pub mod sessions;
pub mod sign_in;
pub mod tokens;
