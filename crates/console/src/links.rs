//! Queries of links, percent-encoded.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Those that say something.
pub(crate) fn query_string<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    fields
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", escape_query(value)))
        .collect::<Vec<_>>()
        .join("&")
}

pub(crate) fn escape_query(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
