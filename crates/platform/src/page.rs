//! Cursor pagination of lists, in the order of making: a cursor is the number of the last row that was shown, so that
//! what is made or deleted between two pages moves none of the others.

use mlplatform_protocol::{
    ErrorCode, Page, PageRequest,
    page::{DEFAULT_LIMIT, MAX_LIMIT},
};

use crate::error::{Error, Result};

/// Which rows a page holds.
pub(crate) struct Window {
    /// Rows up to this number were shown before.
    pub(crate) after: i64,
    limit: u32,
}

impl Window {
    /// # Errors
    /// When the page asked for is none.
    pub(crate) fn read(request: &PageRequest) -> Result<Self> {
        let refused = |text: String| Error::refused(ErrorCode::BadRequest, text);
        let limit = request.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(refused(format!("limit: {limit} is not a size of a page: give 1 to {MAX_LIMIT}")));
        }
        let after = match &request.cursor {
            None => 0,
            Some(cursor) => i64::from_str_radix(cursor, 16).ok().filter(|seq| *seq >= 0).ok_or_else(|| {
                refused(format!(
                    "cursor: '{cursor}' is none of ours: pass the next_cursor of the page before as it came"
                ))
            })?,
        };
        Ok(Self { after, limit })
    }

    /// How many rows to ask the store for: one more than the page holds tells whether there is another page.
    pub(crate) fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// The page of those rows.
    pub(crate) fn page<R, T: From<R>>(&self, mut rows: Vec<R>, seq: impl Fn(&R) -> i64) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| more).map(|row| format!("{:x}", seq(row)));
        Page { items: rows.into_iter().map(T::from).collect(), next_cursor }
    }
}
