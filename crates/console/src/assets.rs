//! Static files (style, script, icon), cached by the hash of their content. Their names hold their content's hash:
//! browsers keep them for a year, and a new version has a new name.

use std::sync::LazyLock;

use axum::{Router, body::Bytes, routing::get};
use http::header;
use mlplatform_api::outgoing;
use mlplatform_platform::secret::digest;

use crate::state::Console;

/// A file that is part of the program.
pub(crate) struct Asset {
    pub(crate) path: String,
    kind: &'static str,
    content: &'static str,
}

impl Asset {
    fn new(name: &str, extension: &str, kind: &'static str, content: &'static str) -> Self {
        let hash: String = digest(content).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { path: format!("/assets/{name}-{hash}.{extension}"), kind, content }
    }
}

pub(crate) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("console", "css", "text/css; charset=utf-8", include_str!("assets/console.css")));
pub(crate) static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("console", "js", "text/javascript; charset=utf-8", include_str!("assets/console.js")));
pub(crate) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("assets/icon.svg")));

pub(crate) fn mount(router: Router<Console>) -> Router<Console> {
    [&*STYLE, &*SCRIPT, &*ICON].into_iter().fold(router, |router, asset| {
        let headers = [
            (header::CONTENT_TYPE, asset.kind),
            (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
        ];
        let content = Bytes::from_static(asset.content.as_bytes());
        router.route(&asset.path, get(move || async move { outgoing::shared(headers, content) }))
    })
}
