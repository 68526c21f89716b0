//! Sources of a setting's value: argument, environment variable, profile, default; in this order.
//!
//! A profile belongs to its address: where an argument or the environment names another, the settings of the default
//! profile are those of another platform, and its token must not go there. Nothing of it is used then; one that was named
//! is an error.

use std::{ffi::OsString, fmt};

use mlplatform_protocol::Secret;
use reqwest::Url;

use crate::{
    error::Error,
    profile::{Profile, Profiles},
    settings::{PROFILE, REFRESH_TOKEN, Setting, URL},
};

/// The arguments of the caller.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// See [`URL`].
    pub url: Option<String>,
    /// See [`REFRESH_TOKEN`].
    pub refresh_token: Option<Secret>,
    /// See [`CA_BUNDLE`].
    pub ca_bundle: Option<String>,
    /// See [`CLIENT_CERT`].
    pub client_cert: Option<String>,
    /// See [`CLIENT_KEY`].
    pub client_key: Option<String>,
    /// See [`TIMEOUT`].
    pub timeout: Option<f64>,
    /// See [`ALLOW_HTTP`].
    pub allow_http: Option<bool>,
    /// See [`PROFILE`].
    pub profile: Option<String>,
}

impl Given {
    /// The argument as text. The token is handled separately.
    fn argument(&self, setting: &Setting) -> Option<String> {
        match setting.name {
            "url" => self.url.clone(),
            "ca_bundle" => self.ca_bundle.clone(),
            "client_cert" => self.client_cert.clone(),
            "client_key" => self.client_key.clone(),
            "timeout" => self.timeout.map(|seconds| seconds.to_string()),
            "allow_http" => self.allow_http.map(|yes| u8::from(yes).to_string()),
            "profile" => self.profile.as_ref().map(|name| name.trim().to_owned()),
            _ => None,
        }
    }
}

/// A value with its source; errors name both.
pub(crate) struct Found<'a> {
    pub(crate) setting: &'a Setting,
    pub(crate) value: String,
    pub(crate) from: Source,
}

/// The source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An argument.
    Argument,
    /// The environment variable of the setting.
    Environment,
    /// The profile of that name.
    Profile(String),
    /// The default of the setting.
    Default,
}

impl Source {
    /// For messages.
    #[must_use]
    pub fn describe(&self, setting: &Setting) -> String {
        match self {
            Self::Argument => format!("the argument {}=", setting.name),
            Self::Environment => format!("the environment variable {}", setting.variable),
            Self::Profile(name) => format!("the profile '{name}'"),
            Self::Default => format!("the default of {}", setting.name),
        }
    }
}

impl Found<'_> {
    pub(crate) fn error(&self, problem: impl fmt::Display) -> Error {
        let Setting { name, secret, .. } = self.setting;
        let value = if *secret { "(masked)".to_owned() } else { format!("'{}'", self.value.escape_debug()) };
        let from = self.from.describe(self.setting);
        Error::configuration(format!("{name} is {value} (from {from}): {problem}"))
    }
}

/// Why settings are resolved.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Use,
    /// A profile is created or replaced: it may be missing, or belong to another address.
    Login,
}

/// What was given, and what there is beside it.
pub(crate) struct Sources<E> {
    given: Given,
    pub(crate) environment: E,
    profile: Option<(Profiles, Profile)>,
}

impl<E: Fn(&str) -> Option<OsString>> Sources<E> {
    pub(crate) fn new(given: Given, environment: E, purpose: Purpose) -> Result<Self, Error> {
        let mut sources = Self::without_profile(given, environment);
        let Some(name) = sources.find(&PROFILE)? else { return Ok(sources) };
        let need_not_fit = name.from == Source::Default || purpose == Purpose::Login;
        let profiles = Profiles::of(&sources.environment);
        let Some(profiles) = profiles else {
            let problem = "neither XDG_CONFIG_HOME nor HOME is set, so there is no folder of profiles";
            return if need_not_fit { Ok(sources) } else { Err(name.error(problem)) };
        };
        let Some(profile) = profiles.read(&name.value)? else {
            if need_not_fit {
                return Ok(sources);
            }
            let all = profiles.names()?;
            let all =
                if all.is_empty() { "no profile exists".to_owned() } else { format!("existing: {}", all.join(", ")) };
            let file = profiles.config_file();
            return Err(name.error(format_args!(
                "there is no such profile in '{}' ({all}): create it with mlp auth login",
                file.display()
            )));
        };
        if let Some(other) = sources.find(&URL)?.filter(|url| url.from != Source::Default) {
            let own = profile.settings.get(URL.name).map(String::as_str).or(URL.default).unwrap_or_default();
            if !is_same(&other.value, own) {
                if need_not_fit {
                    return Ok(sources);
                }
                return Err(
                    other.error(format_args!("the profile '{}' is for '{own}': omit one of the two", profile.name))
                );
            }
        }
        sources.profile = Some((profiles, profile));
        Ok(sources)
    }

    pub(crate) fn without_profile(given: Given, environment: E) -> Self {
        Self { given, environment, profile: None }
    }

    pub(crate) fn find<'s>(&self, setting: &'s Setting) -> Result<Option<Found<'s>>, Error> {
        let found = |value, from| Ok(Some(Found { setting, value, from }));
        if let Some(value) = self.given.argument(setting) {
            return found(value, Source::Argument);
        }
        if let Some(value) = from_environment(setting, &self.environment)? {
            return found(value, Source::Environment);
        }
        if let Some((_, Profile { name, settings, .. })) = &self.profile
            && let Some(value) = settings.get(setting.name)
        {
            return found(value.clone(), Source::Profile(name.clone()));
        }
        Ok(setting.default.map(|value| Found { setting, value: value.to_owned(), from: Source::Default }))
    }

    /// The access token and its source.
    pub(crate) fn token(&self) -> Result<(Option<Secret>, Source), Error> {
        let (token, from) = match (&self.given.refresh_token, self.find(&REFRESH_TOKEN)?, &self.profile) {
            (Some(token), ..) => (Some(token.clone()), Source::Argument),
            (None, Some(found), _) => (Some(Secret::from_pasted(&found.value)), found.from),
            (None, None, Some((all, own))) => (all.token(&own.name)?, Source::Profile(own.name.clone())),
            (None, None, None) => (None, Source::Default),
        };
        Ok((token.filter(|token| !token.expose().is_empty()), from))
    }
}

fn is_same(one: &str, other: &str) -> bool {
    let parsed = |text: &str| Url::parse(text.trim().trim_end_matches('/')).ok();
    parsed(one) == parsed(other)
}

/// The value of the variable, if it is set.
fn from_environment(
    setting: &Setting,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<String>, Error> {
    let Some(value) = environment(setting.variable) else { return Ok(None) };
    let value = value.into_string().map_err(|_| {
        // With the default instead, requests could go to another platform.
        Error::configuration(format!(
            "{} (from the environment variable {}) is not UTF-8: write it in UTF-8, or give {}= as an argument",
            setting.name, setting.variable, setting.name
        ))
    })?;
    Ok(Some(value).filter(|value| !value.trim().is_empty()))
}
