//! Methods on jobs.

pub mod job_changes;
mod job_form;
pub mod job_logs;
pub(crate) mod job_rows;
pub mod job_story;
pub mod jobs;
