//! The state of the console's handlers.

use std::sync::Arc;

use crate::{app::App, site::Site};

/// The state that pages share.
#[derive(Clone)]
pub(super) struct Console {
    pub(super) app: App,
    pub(super) site: Arc<Site>,
}
