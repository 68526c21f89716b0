//! The request's context, as an extension of the request: the outer layer puts it there.

use std::sync::Arc;

use http::Extensions;
use mlplatform_platform::{
    error::{Error, Result},
    request::RequestContext,
};

/// That of a request that came through the outer layer.
pub fn context(extensions: &Extensions) -> Result<Arc<RequestContext>> {
    extensions.get().cloned().ok_or(Error::Fault("a request came around the outer layer"))
}
