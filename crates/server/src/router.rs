//! The router of the server: the API's routes, the console's pages, and the layers around both.

use std::sync::Arc;

use axum::{Router, middleware};
use mlplatform_api::{layers, proxies::Proxies, router as api};
use mlplatform_console::{errors::error_pages, router as console, site::Site};
use mlplatform_platform::app::App;

/// Every route, and around them what holds for all requests.
pub(crate) fn router(app: &App, proxies: Arc<Proxies>, site: &Arc<Site>) -> Router {
    let outer = (app.clone(), proxies);
    api::router()
        .merge(console::router(app, site))
        .fallback(api::no_route)
        .method_not_allowed_fallback(api::no_method)
        .layer(middleware::from_fn(layers::isolate))
        .layer(middleware::from_fn_with_state(Arc::clone(site), error_pages))
        .layer(middleware::from_fn_with_state(outer, layers::request_log))
        .with_state(app.clone())
}
