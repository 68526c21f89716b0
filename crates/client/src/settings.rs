//! The table of settings: names, environment variables, defaults.

/// One line of the table of settings.
#[derive(Debug)]
pub struct Setting {
    /// The argument of `MLPlatform(…)`.
    pub name: &'static str,
    /// The environment variable; an empty one counts as unset.
    pub variable: &'static str,
    /// When neither is given.
    pub default: Option<&'static str>,
    /// Whether its value may be shown.
    pub secret: bool,
}

/// The platform's address.
pub const URL: Setting = Setting {
    name: "url",
    variable: "MLP_URL",
    default: Some("https://msk.cloud.vk.ru/infra/mlplatform"),
    secret: false,
};
/// The access token.
pub const REFRESH_TOKEN: Setting =
    Setting { name: "refresh_token", variable: "MLP_REFRESH_TOKEN", default: None, secret: true };
/// A file of certificate authorities in PEM form: these are trusted, and no others.
pub const CA_BUNDLE: Setting = Setting { name: "ca_bundle", variable: "MLP_CA_BUNDLE", default: None, secret: false };
/// A PEM file with the certificate that this client shows, for platforms that demand one.
pub const CLIENT_CERT: Setting =
    Setting { name: "client_cert", variable: "MLP_CLIENT_CERT", default: None, secret: false };
/// A PEM file with its private key.
pub const CLIENT_KEY: Setting =
    Setting { name: "client_key", variable: "MLP_CLIENT_KEY", default: None, secret: false };
/// Seconds for a whole call, retries included. A minute outlasts a restart of the platform and one slow proxy.
pub const TIMEOUT: Setting = Setting { name: "timeout", variable: "MLP_TIMEOUT", default: Some("60"), secret: false };
/// `1`: tokens may cross a closed network over plain http.
pub const ALLOW_HTTP: Setting =
    Setting { name: "allow_http", variable: "MLP_ALLOW_HTTP", default: Some("0"), secret: false };

/// The platform's address, of a service user's client.
pub(crate) const HOST: Setting = Setting { name: "host", variable: "", default: None, secret: false };
/// The address of the server with its token endpoint.
pub(crate) const LK_UI_URL: Setting = Setting { name: "lk_ui_url", variable: "", default: None, secret: false };

/// The profile that is used where none is named.
pub const DEFAULT_PROFILE: &str = "default";
/// The profile to read settings from.
pub const PROFILE: Setting =
    Setting { name: "profile", variable: "MLP_PROFILE", default: Some(DEFAULT_PROFILE), secret: false };

/// Every setting, in the order in which they are documented.
pub const SETTINGS: [&Setting; 8] =
    [&URL, &REFRESH_TOKEN, &CA_BUNDLE, &CLIENT_CERT, &CLIENT_KEY, &TIMEOUT, &ALLOW_HTTP, &PROFILE];

/// Those that a profile may have; its token is kept apart.
pub const IN_PROFILES: [&Setting; 6] = [&URL, &CA_BUNDLE, &CLIENT_CERT, &CLIENT_KEY, &TIMEOUT, &ALLOW_HTTP];
