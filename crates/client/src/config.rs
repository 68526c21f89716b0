//! Settings: one table, one order of precedence (argument, then environment, then profile, then default).
//!
//! A profile belongs to its address: where an argument or the environment names another, the settings of the default
//! profile are those of another platform, and its token must not go there. Nothing of it is used then; one that was named
//! is an error.

use std::{ffi::OsString, fmt, path::PathBuf, time::Duration};

use mlplatform_protocol::{Secret, token};
use reqwest::Url;

use crate::{
    error::Error,
    profile::{self, Profile, Profiles},
    proxy::{self, ProxyChoice},
};

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

/// Which settings that were saved are used.
pub const PROFILE: Setting =
    Setting { name: "profile", variable: "MLP_PROFILE", default: Some(profile::DEFAULT), secret: false };

/// Every setting, in the order in which they are documented.
pub const SETTINGS: [&Setting; 8] =
    [&URL, &REFRESH_TOKEN, &CA_BUNDLE, &CLIENT_CERT, &CLIENT_KEY, &TIMEOUT, &ALLOW_HTTP, &PROFILE];

/// Those that a profile may have; its token is kept apart.
pub const IN_PROFILES: [&Setting; 6] = [&URL, &CA_BUNDLE, &CLIENT_CERT, &CLIENT_KEY, &TIMEOUT, &ALLOW_HTTP];

/// A day: longer waits are a mistake in the unit (milliseconds given as seconds).
const LONGEST_TIMEOUT: f64 = 86_400.0;

/// What the caller gave as arguments.
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
    /// The argument of that name, as a text; the token apart.
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

/// Settings after all sources were asked; nothing is left open.
#[derive(Clone, Debug)]
pub struct Config {
    /// Without a slash at the end, a query or a user name.
    pub url: Url,
    /// What exchanges are made with.
    pub refresh_token: Option<Secret>,
    /// A file of certificate authorities.
    pub ca_bundle: Option<PathBuf>,
    /// A file with the client's certificate.
    pub client_cert: Option<PathBuf>,
    /// A file with its private key; `None`: it stands in the same file.
    pub client_key: Option<PathBuf>,
    /// For a whole call.
    pub timeout: Duration,
    /// Whether the address is plain http to another machine, which the caller has allowed.
    pub plain_http: bool,
    /// Which way requests go.
    pub proxy: ProxyChoice,
}

/// A value that was found, and where: errors name both.
struct Found<'a> {
    setting: &'a Setting,
    value: String,
    from: From,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// An argument.
    Argument,
    /// The environment variable of the setting.
    Environment,
    /// The profile of that name.
    Profile(String),
    /// The table of settings.
    Default,
}

/// A setting as it was found, for people to read.
#[derive(Clone, Debug)]
pub struct Described {
    /// Which.
    pub setting: &'static Setting,
    /// Its value, masked if it is secret; `None`: it is not set.
    pub value: Option<String>,
    /// Where it came from.
    pub from: From,
}

impl From {
    /// In words.
    #[must_use]
    pub fn tell(&self, setting: &Setting) -> String {
        match self {
            Self::Argument => format!("the argument {}=", setting.name),
            Self::Environment => format!("the environment variable {}", setting.variable),
            Self::Profile(name) => format!("the profile '{name}'"),
            Self::Default => format!("the default of {}", setting.name),
        }
    }
}

impl Found<'_> {
    fn error(&self, problem: impl fmt::Display) -> Error {
        let Setting { name, secret, .. } = self.setting;
        let value = if *secret { "(masked)".to_owned() } else { format!("'{}'", self.value.escape_debug()) };
        let from = self.from.tell(self.setting);
        Error::configuration(format!("{name} is {value} (from {from}): {problem}"))
    }
}

/// What settings are wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Use,
    /// A profile is made, or made anew: it need not be there, nor be for the address that is given.
    Login,
}

/// What was given, and what there is beside it.
struct Sources<E> {
    given: Given,
    environment: E,
    profile: Option<(Profiles, Profile)>,
}

impl<E: Fn(&str) -> Option<OsString>> Sources<E> {
    fn new(given: Given, environment: E, purpose: Purpose) -> Result<Self, Error> {
        let mut sources = Self { given, environment, profile: None };
        let Some(name) = sources.find(&PROFILE)? else { return Ok(sources) };
        let need_not_fit = name.from == From::Default || purpose == Purpose::Login;
        let profiles = Profiles::of(&sources.environment);
        let Some(profiles) = profiles else {
            let problem = "neither XDG_CONFIG_HOME nor HOME says where profiles are";
            return if need_not_fit { Ok(sources) } else { Err(name.error(problem)) };
        };
        let Some(profile) = profiles.read(&name.value)? else {
            if need_not_fit {
                return Ok(sources);
            }
            let all = profiles.names()?;
            let all =
                if all.is_empty() { "there are none yet".to_owned() } else { format!("there are {}", all.join(", ")) };
            let file = profiles.config_file();
            return Err(name.error(format_args!(
                "there is no such profile in '{}' ({all}): make it with mlp auth login",
                file.display()
            )));
        };
        if let Some(other) = sources.find(&URL)?.filter(|url| url.from != From::Default) {
            let own = profile.settings.get(URL.name).map(String::as_str).or(URL.default).unwrap_or_default();
            if !is_same(&other.value, own) {
                if need_not_fit {
                    return Ok(sources);
                }
                return Err(other.error(format_args!(
                    "the profile '{}' is for '{own}': leave the one or the other out",
                    profile.name
                )));
            }
        }
        sources.profile = Some((profiles, profile));
        Ok(sources)
    }

    fn find<'s>(&self, setting: &'s Setting) -> Result<Option<Found<'s>>, Error> {
        let found = |value, from| Ok(Some(Found { setting, value, from }));
        if let Some(value) = self.given.argument(setting) {
            return found(value, From::Argument);
        }
        if let Some(value) = from_environment(setting, &self.environment)? {
            return found(value, From::Environment);
        }
        if let Some((_, Profile { name, settings, .. })) = &self.profile
            && let Some(value) = settings.get(setting.name)
        {
            return found(value.clone(), From::Profile(name.clone()));
        }
        Ok(setting.default.map(|value| Found { setting, value: value.to_owned(), from: From::Default }))
    }

    /// The access token, and where it came from.
    fn token(&self) -> Result<(Option<Secret>, From), Error> {
        let (token, from) = match (&self.given.refresh_token, self.find(&REFRESH_TOKEN)?, &self.profile) {
            (Some(token), ..) => (Some(token.clone()), From::Argument),
            (None, Some(found), _) => (Some(Secret::from_pasted(&found.value)), found.from),
            (None, None, Some((all, own))) => (all.token(&own.name)?, From::Profile(own.name.clone())),
            (None, None, None) => (None, From::Default),
        };
        Ok((token.filter(|token| !token.expose().is_empty()), from))
    }
}

fn is_same(one: &str, other: &str) -> bool {
    let parsed = |text: &str| Url::parse(text.trim().trim_end_matches('/')).ok();
    parsed(one) == parsed(other)
}

impl Config {
    /// Asks the arguments, then the environment, then the profile, then the table.
    ///
    /// # Errors
    /// [`crate::Kind::Configuration`] with the value, where it came from, the rule and the remedy.
    pub fn resolve(given: Given, environment: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        Self::from_sources(&Sources::new(given, environment, Purpose::Use)?)
    }

    /// For a login: gives also the name of the profile.
    pub(crate) fn resolve_for_login(
        given: Given,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<(Self, String), Error> {
        let name = Self::profile(&given, &environment)?;
        Ok((Self::from_sources(&Sources::new(given, environment, Purpose::Login)?)?, name))
    }

    /// The name of the profile that is meant, whether it is there or not.
    ///
    /// # Errors
    /// When the environment cannot be read.
    pub fn profile(given: &Given, environment: impl Fn(&str) -> Option<OsString>) -> Result<String, Error> {
        let found = Sources { given: given.clone(), environment, profile: None }.find(&PROFILE)?;
        Ok(found.map_or_else(|| profile::DEFAULT.to_owned(), |found| found.value))
    }

    fn from_sources(sources: &Sources<impl Fn(&str) -> Option<OsString>>) -> Result<Self, Error> {
        let allow_http = match sources.find(&ALLOW_HTTP)? {
            None => false,
            Some(found) => flag(&found)?,
        };
        let url = sources.find(&URL)?.ok_or_else(|| Error::configuration("url is not set".to_owned()))?;
        let (url, plain_http) = address(&url, allow_http)?;
        let timeout = match sources.find(&TIMEOUT)? {
            None => Duration::MAX,
            Some(found) => seconds(&found)?,
        };
        let ca_bundle = sources.find(&CA_BUNDLE)?.map(|found| PathBuf::from(found.value));
        let client_cert = sources.find(&CLIENT_CERT)?.map(|found| PathBuf::from(found.value));
        let client_key = sources.find(&CLIENT_KEY)?;
        if let (None, Some(found)) = (&client_cert, &client_key) {
            return Err(found.error(format_args!(
                "a key without its certificate is of no use: name that file with {}= or {}",
                CLIENT_CERT.name, CLIENT_CERT.variable
            )));
        }
        let client_key = client_key.map(|found| PathBuf::from(found.value));
        let (refresh_token, _) = sources.token()?;
        // What stays on this machine asks no proxy, whatever the environment says. A variable that is not UTF-8 is set all
        // the same: whoever reads it says so, and does not pass it over.
        let variable = |name: &str| (sources.environment)(name).map(|value| value.to_string_lossy().into_owned());
        let proxy = if is_loopback(&url) { ProxyChoice::Direct } else { proxy::choose(&url, variable)? };
        Ok(Self { url, refresh_token, ca_bundle, client_cert, client_key, timeout, plain_http, proxy })
    }

    /// Every setting with its value and where it comes from, secrets masked.
    ///
    /// # Errors
    /// When the environment or the profile cannot be read.
    pub fn describe(given: Given, environment: impl Fn(&str) -> Option<OsString>) -> Result<Vec<Described>, Error> {
        let sources = Sources::new(given, environment, Purpose::Use)?;
        let (token, token_from) = sources.token()?;
        let all = SETTINGS.iter().map(|setting| {
            if setting.name == REFRESH_TOKEN.name {
                let value = token.as_ref().map(|token| masked(token.expose()));
                return Ok(Described { setting, value, from: token_from.clone() });
            }
            let found = sources.find(setting)?;
            let (value, from) = found.map_or((None, From::Default), |found| (Some(found.value), found.from));
            Ok(Described { setting, value: value.map(|value| token::mask(&value)), from })
        });
        all.collect()
    }
}

/// The kind of a token, and no part of its secret.
fn masked(token: &str) -> String {
    let kind = token.split_once('_').map_or("", |(kind, _)| kind);
    if kind.len() == 4 && kind.starts_with("mlp") { format!("{kind}_…") } else { "(masked)".to_owned() }
}

/// What the variable holds, if anything.
fn from_environment(
    setting: &Setting,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<String>, Error> {
    let Some(value) = environment(setting.variable) else { return Ok(None) };
    let value = value.into_string().map_err(|_| {
        // To go on with the default would be to talk to somebody else than was meant.
        Error::configuration(format!(
            "{} (from the environment variable {}) is not UTF-8: write it in UTF-8, or give {}= as an argument",
            setting.name, setting.variable, setting.name
        ))
    })?;
    Ok(Some(value).filter(|value| !value.trim().is_empty()))
}

fn flag(found: &Found<'_>) -> Result<bool, Error> {
    match found.value.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(found.error("write 1 or 0")),
    }
}

fn seconds(found: &Found<'_>) -> Result<Duration, Error> {
    let number: f64 =
        found.value.trim().parse().map_err(|_| found.error("write a number of seconds, such as 30 or 2.5"))?;
    timeout(number).map_err(|problem| found.error(problem))
}

/// Seconds as a caller gives them, for the constructor and for single calls.
///
/// # Errors
/// The rule that the number breaks.
pub fn timeout(seconds: f64) -> Result<Duration, &'static str> {
    if !(seconds > 0.0 && seconds <= LONGEST_TIMEOUT) {
        return Err("write a number of seconds above 0 and up to 86400 (a day)");
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| "write a number of seconds")
}

fn address(found: &Found<'_>, allow_http: bool) -> Result<(Url, bool), Error> {
    const EXAMPLE: &str = "write it like https://platform.example.com/path or http://127.0.0.1:8765";
    let text = found.value.trim().trim_end_matches('/');
    let url =
        Url::parse(text).map_err(|problem| found.error(format_args!("it is not an address ({problem}); {EXAMPLE}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        // The value is not repeated: it holds a password.
        return Err(Error::configuration(format!(
            "{} holds a user name or password before the '@': remove it; the access token is given as {} or in {}",
            URL.name, REFRESH_TOKEN.name, REFRESH_TOKEN.variable
        )));
    }
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(found.error(format_args!("it must begin with https:// (or http:// on this machine); {EXAMPLE}")));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(found.error(format_args!("it must not hold a '?' or '#'; {EXAMPLE}")));
    }
    let plain_http = url.scheme() == "http" && !is_loopback(&url);
    if plain_http && !allow_http {
        return Err(found.error(format_args!(
            "tokens would cross the network unencrypted; use https://, or in a closed network allow it with {}=True or {}=1",
            ALLOW_HTTP.name, ALLOW_HTTP.variable
        )));
    }
    Ok((url, plain_http))
}

fn is_loopback(url: &Url) -> bool {
    // An IPv6 host stands in brackets.
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(given: Given, environment: &[(&str, &str)]) -> Result<Config, String> {
        let lookup =
            |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(*value));
        Config::resolve(given, lookup).map_err(|error| error.to_string())
    }

    #[test]
    fn argument_beats_environment_beats_default() {
        let environment = [("MLP_URL", "https://env.example"), ("MLP_TIMEOUT", "5")];
        let default = resolve(Given::default(), &[]).unwrap();
        assert_eq!(default.url.as_str(), URL.default.unwrap());
        assert_eq!(default.timeout, Duration::from_secs(60));
        let config = resolve(Given::default(), &environment).unwrap();
        assert_eq!((config.url.as_str(), config.timeout), ("https://env.example/", Duration::from_secs(5)));
        let given = Given { url: Some("https://arg.example/x/".to_owned()), timeout: Some(1.5), ..Given::default() };
        let config = resolve(given, &environment).unwrap();
        assert_eq!((config.url.as_str(), config.timeout), ("https://arg.example/x", Duration::from_millis(1500)));
    }

    #[test]
    fn an_error_says_where_the_value_came_from() {
        let message = resolve(Given::default(), &[("MLP_TIMEOUT", "soon")]).unwrap_err();
        assert_eq!(
            message,
            "timeout is 'soon' (from the environment variable MLP_TIMEOUT): write a number of seconds, such as 30 or 2.5"
        );
        let message = resolve(Given { timeout: Some(-1.0), ..Given::default() }, &[]).unwrap_err();
        assert!(message.starts_with("timeout is '-1' (from the argument timeout=)"), "{message}");
    }

    #[test]
    fn a_key_needs_its_certificate() {
        let message = resolve(Given::default(), &[("MLP_CLIENT_KEY", "key.pem")]).unwrap_err();
        assert!(message.contains("from the environment variable MLP_CLIENT_KEY"), "{message}");
        assert!(message.contains("client_cert= or MLP_CLIENT_CERT"), "{message}");
        let config =
            resolve(Given { client_cert: Some("me.pem".to_owned()), ..Given::default() }, &[("MLP_CLIENT_KEY", "k")]);
        assert_eq!(config.unwrap().client_key.unwrap(), PathBuf::from("k"));
    }

    #[test]
    fn addresses() {
        let with = |url: &str| resolve(Given { url: Some(url.to_owned()), ..Given::default() }, &[]);
        for good in
            ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "https://a.example/b", " https://a.example "]
        {
            assert!(with(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("127.0.0.1:8765", "not an address"),
            ("localhost:8765", "must begin with https://"),
            ("ftp://a.example", "must begin with https://"),
            ("https://a.example/?x=1", "'?'"),
            ("http://10.0.0.1", "unencrypted"),
            ("http://localhost.example", "unencrypted"),
        ] {
            let message = with(bad).unwrap_err();
            assert!(message.contains(why), "{bad}: {message}");
        }
        let message = with("https://anna:hunter2@a.example").unwrap_err();
        assert!(message.contains("user name or password") && !message.contains("hunter2"), "{message}");
        let given = Given { url: Some("http://10.0.0.1".to_owned()), allow_http: Some(true), ..Given::default() };
        assert!(resolve(given, &[]).unwrap().plain_http);
    }

    #[test]
    fn a_profile_is_for_its_own_address() {
        let home = tempfile::tempdir().unwrap();
        let home_text = home.path().to_str().unwrap().to_owned();
        let environment = |more: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
            let more = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
            std::iter::once(("HOME", home_text.clone())).chain(more).collect()
        };
        let with = |given: Given, more: &[(&'static str, &str)]| {
            let all = environment(more);
            Config::resolve(given, move |name| all.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
        };
        let profiles = Profiles::of(|name| (name == "HOME").then(|| home_text.clone().into())).unwrap();
        for (name, url, token) in
            [("default", "https://own.example/x", "own"), ("other", "https://other.example", "two")]
        {
            let settings = [("url", url.to_owned()), ("timeout", "7".to_owned())].into();
            profiles
                .save(&Profile { name: name.to_owned(), settings, token: Some(Secret::from_pasted(token)) })
                .unwrap();
        }
        let shown = |config: &Config| {
            let token = config.refresh_token.as_ref().map_or("none", |token| token.expose()).to_owned();
            (config.url.as_str().to_owned(), token, config.timeout.as_secs())
        };
        let of = |url: &str, token: &str, timeout| (url.to_owned(), token.to_owned(), timeout);
        assert_eq!(shown(&with(Given::default(), &[]).unwrap()), of("https://own.example/x", "own", 7));
        let named = Given { profile: Some("other".to_owned()), ..Given::default() };
        assert_eq!(shown(&with(named.clone(), &[]).unwrap()), of("https://other.example/", "two", 7));
        let by_variable = with(Given::default(), &[("MLP_PROFILE", "other"), ("MLP_TIMEOUT", "9")]).unwrap();
        assert_eq!(shown(&by_variable), of("https://other.example/", "two", 9));
        // The address of another platform gets no token of this one.
        let elsewhere = Given { url: Some("https://else.example".to_owned()), ..Given::default() };
        assert_eq!(shown(&with(elsewhere.clone(), &[]).unwrap()), of("https://else.example/", "none", 60));
        assert_eq!(
            shown(&with(Given::default(), &[("MLP_URL", "https://else.example")]).unwrap()),
            of("https://else.example/", "none", 60)
        );
        assert_eq!(
            shown(&with(Given::default(), &[("MLP_URL", " https://own.example/x/ ")]).unwrap()),
            of("https://own.example/x", "own", 7)
        );
        let both = Given { profile: Some("other".to_owned()), ..elsewhere };
        let problem = with(both, &[]).unwrap_err().to_string();
        assert!(problem.contains("the profile 'other' is for 'https://other.example'"), "{problem}");
        let problem = with(Given::default(), &[("MLP_PROFILE", "nope")]).unwrap_err().to_string();
        assert!(problem.contains("there are default, other") && problem.contains("MLP_PROFILE"), "{problem}");
        let all = environment(&[("MLP_TIMEOUT", "3")]);
        let told =
            Config::describe(named, |name| all.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
                .unwrap();
        let line = |name: &str| {
            let found = told.iter().find(|line| line.setting.name == name).unwrap();
            format!("{} {}", found.value.as_deref().unwrap_or("none"), found.from.tell(found.setting))
        };
        assert_eq!(line("url"), "https://other.example the profile 'other'");
        assert_eq!(line("refresh_token"), "(masked) the profile 'other'");
        assert_eq!(line("timeout"), "3 the environment variable MLP_TIMEOUT");
        assert_eq!(line("profile"), "other the argument profile=");
        assert_eq!(line("allow_http"), "0 the default of allow_http");
    }

    #[test]
    fn a_pasted_token_is_stripped_and_an_empty_one_is_none() {
        let token = |text: &str| Given { refresh_token: Some(Secret::from_pasted(text)), ..Given::default() };
        assert_eq!(resolve(token(" abc\n"), &[]).unwrap().refresh_token.unwrap().expose(), "abc");
        assert!(resolve(token("  "), &[]).unwrap().refresh_token.is_none());
        assert!(resolve(Given::default(), &[("MLP_REFRESH_TOKEN", "")]).unwrap().refresh_token.is_none());
    }
}
