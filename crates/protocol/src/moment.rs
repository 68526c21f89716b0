//! The schema of a time in the OpenAPI document: [`jiff::Timestamp`] has none of its own.

/// A [`jiff::Timestamp`], as it stands on the wire.
#[derive(Debug)]
pub struct Moment;
