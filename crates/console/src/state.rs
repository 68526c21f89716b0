//! The state of the console's handlers.

use std::sync::Arc;

use mlplatform_platform::app::App;

use crate::site::Site;

/// The state that pages share.
#[derive(Clone)]
pub(crate) struct Console {
    pub(crate) app: App,
    pub(crate) site: Arc<Site>,
}
