//! Pagination of lists: the server limits the size of a page, the client fetches all pages.

use serde::{Deserialize, Serialize};

/// Items in a page when the caller does not say.
pub const DEFAULT_LIMIT: u32 = 200;
/// The most that one page holds: about 250 KB of token infos.
pub const MAX_LIMIT: u32 = 1000;

/// Which page.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PageRequest {
    /// 1 to [`MAX_LIMIT`]; [`DEFAULT_LIMIT`] when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = MAX_LIMIT)))]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before; opaque.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// One page of a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "PageOf{T}"))]
pub struct Page<T> {
    /// In the order of their making; of the audit, the newest first.
    pub items: Vec<T>,
    /// Present while there is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
