//! Request headers that may come once.

use http::{HeaderMap, HeaderValue};
use mlplatform_platform::error::{Error, Result};
use mlplatform_protocol::ErrorCode;

/// A header that may come once: of two, each side of a proxy might believe another.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a [u8]>> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(HeaderValue::as_bytes);
    match values.next() {
        None => Ok(value),
        Some(_) => Err(Error::refused(ErrorCode::BadRequest, format!("the header {name} came twice: send it once"))),
    }
}
