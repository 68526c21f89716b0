//! The resolved configuration of a client, each value checked.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use mlplatform_protocol::{Secret, token};
use reqwest::Url;

use crate::{
    credential::{Credential, Issuer, ServiceUser},
    error::Error,
    proxy::{self, ProxyChoice},
    settings::{
        ALLOW_HTTP, CA_BUNDLE, CLIENT_CERT, CLIENT_KEY, DEFAULT_PROFILE, HOST, LK_UI_URL, PROFILE, REFRESH_TOKEN,
        SETTINGS, Setting, TIMEOUT, URL,
    },
    sources::{Found, Given, Purpose, Source, Sources},
};

/// One day. A longer timeout is probably given in the wrong unit (milliseconds).
const LONGEST_TIMEOUT: f64 = 86_400.0;

/// The resolved settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Without a trailing slash, query or user name.
    pub url: Url,
    /// What sessions are created with.
    pub credential: Option<Credential>,
    /// Whether the platform's certificate is verified.
    pub verify_tls: bool,
    /// A file of certificate authorities.
    pub ca_bundle: Option<PathBuf>,
    /// A file with the client's certificate.
    pub client_cert: Option<PathBuf>,
    /// A file with its private key; `None`: it is in the same file.
    pub client_key: Option<PathBuf>,
    /// The timeout of a whole call.
    pub timeout: Duration,
    /// Whether the address is plain http to another machine, which the caller has allowed.
    pub plain_http: bool,
    /// The proxy for requests.
    pub proxy: ProxyChoice,
}

/// The arguments of a service user's client.
#[derive(Debug)]
pub struct ServiceUserGiven {
    /// The platform's address.
    pub host: String,
    /// Name and value; they are not used where there is a session.
    pub user: ServiceUser,
    /// A session that the caller brought along.
    pub session: Option<Secret>,
    /// The server with the token endpoint; `None`: the platform.
    pub lk_ui_url: Option<String>,
    /// Whether the platform's certificate is verified.
    pub verify_tls: bool,
    /// Whether that server's certificate is verified.
    pub verify_issuer_tls: bool,
    /// Seconds for a whole call.
    pub timeout: Option<f64>,
}

/// A setting with its source, for display.
#[derive(Clone, Debug)]
pub struct Described {
    /// The setting.
    pub setting: &'static Setting,
    /// Its value, masked if it is secret; `None`: it is not set.
    pub value: Option<String>,
    /// Where it came from.
    pub from: Source,
}

impl Config {
    /// Looks up each setting: argument, environment, profile, default.
    ///
    /// # Errors
    /// [`crate::Kind::Configuration`] with the value, where it came from, the rule and the remedy.
    pub fn resolve(given: Given, environment: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        Self::from_sources(&Sources::new(given, environment, Purpose::Use)?)
    }

    /// For a service user: no profile is read, and no token from the environment.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn of_service_user(
        given: ServiceUserGiven,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Error> {
        let sources = Sources::without_profile(Given { timeout: given.timeout, ..Given::default() }, environment);
        let host = Found { setting: &HOST, value: given.host, from: Source::Argument };
        let mut config = Self::at_address(&sources, &host)?;
        let issuer = match given.lk_ui_url {
            None => None,
            Some(value) => {
                let found = Found { setting: &LK_UI_URL, value, from: Source::Argument };
                let (url, plain_http) = address(&found, allow_http(&sources)?)?;
                config.plain_http |= plain_http;
                let proxy = proxy_for(&url, &sources)?;
                Some(Box::new(Issuer { url, proxy, verify_tls: given.verify_issuer_tls }))
            }
        };
        config.verify_tls = given.verify_tls;
        config.credential = Some(match given.session {
            Some(token) => Credential::Session(token),
            None => Credential::ServiceUser { user: given.user, issuer },
        });
        Ok(config)
    }

    /// The same for requests to another server.
    pub(crate) fn at(&self, issuer: &Issuer) -> Self {
        let Issuer { url, proxy, verify_tls } = issuer.clone();
        Self { url, proxy, verify_tls, ..self.clone() }
    }

    /// For a login: also returns the name of the profile.
    pub(crate) fn resolve_for_login(
        given: Given,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<(Self, String), Error> {
        let name = Self::profile(&given, &environment)?;
        Ok((Self::from_sources(&Sources::new(given, environment, Purpose::Login)?)?, name))
    }

    /// The name of the selected profile, whether it exists or not.
    ///
    /// # Errors
    /// When the environment cannot be read.
    pub fn profile(given: &Given, environment: impl Fn(&str) -> Option<OsString>) -> Result<String, Error> {
        let sources = Sources::without_profile(given.clone(), environment);
        let found = sources.find(&PROFILE)?;
        Ok(found.map_or_else(|| DEFAULT_PROFILE.to_owned(), |found| found.value))
    }

    fn from_sources(sources: &Sources<impl Fn(&str) -> Option<OsString>>) -> Result<Self, Error> {
        let url = sources.find(&URL)?.ok_or_else(|| Error::configuration("url is not set".to_owned()))?;
        let credential = sources.token()?.0.map(Credential::AccessToken);
        Ok(Self { credential, ..Self::at_address(sources, &url)? })
    }

    /// Everything but the credential.
    fn at_address(sources: &Sources<impl Fn(&str) -> Option<OsString>>, url: &Found<'_>) -> Result<Self, Error> {
        let (url, plain_http) = address(url, allow_http(sources)?)?;
        let timeout = match sources.find(&TIMEOUT)? {
            None => Duration::MAX,
            Some(found) => seconds(&found)?,
        };
        let ca_bundle = sources.find(&CA_BUNDLE)?.map(|found| PathBuf::from(found.value));
        let client_cert = sources.find(&CLIENT_CERT)?.map(|found| PathBuf::from(found.value));
        let client_key = sources.find(&CLIENT_KEY)?;
        if let (None, Some(found)) = (&client_cert, &client_key) {
            return Err(found.error(format_args!(
                "a key needs its certificate: name the certificate's file with {}= or {}",
                CLIENT_CERT.name, CLIENT_CERT.variable
            )));
        }
        let client_key = client_key.map(|found| PathBuf::from(found.value));
        let proxy = proxy_for(&url, sources)?;
        Ok(Self {
            url,
            credential: None,
            verify_tls: true,
            ca_bundle,
            client_cert,
            client_key,
            timeout,
            plain_http,
            proxy,
        })
    }

    /// Every setting with its value and its source, secrets masked.
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
            let (value, from) = found.map_or((None, Source::Default), |found| (Some(found.value), found.from));
            Ok(Described { setting, value: value.map(|value| token::mask(&value)), from })
        });
        all.collect()
    }
}

fn allow_http(sources: &Sources<impl Fn(&str) -> Option<OsString>>) -> Result<bool, Error> {
    sources.find(&ALLOW_HTTP)?.map_or(Ok(false), |found| flag(&found))
}

fn proxy_for(url: &Url, sources: &Sources<impl Fn(&str) -> Option<OsString>>) -> Result<ProxyChoice, Error> {
    if is_loopback(url) {
        return Ok(ProxyChoice::Direct);
    }
    // A variable that is not UTF-8 is passed on, so that reading it is an error.
    let variable = |name: &str| (sources.environment)(name).map(|value| value.to_string_lossy().into_owned());
    proxy::choose(url, variable).map_err(Error::configuration)
}

/// The kind of a token, without its secret.
fn masked(token: &str) -> String {
    let kind = token.split_once('_').map_or("", |(kind, _)| kind);
    if kind.len() == 4 && kind.starts_with("mlp") { format!("{kind}_…") } else { "(masked)".to_owned() }
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

/// Checks a timeout given in seconds, for the constructor and for single calls.
///
/// # Errors
/// The rule that the number violates.
pub fn timeout(seconds: f64) -> Result<Duration, &'static str> {
    if !(seconds > 0.0 && seconds <= LONGEST_TIMEOUT) {
        return Err("write a number of seconds above 0 and up to 86400 (a day)");
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| "write a number of seconds")
}

fn address(found: &Found<'_>, allow_http: bool) -> Result<(Url, bool), Error> {
    const EXAMPLE: &str = "write it like https://platform.example.com/path or http://127.0.0.1:8765";
    let text = found.value.trim().trim_end_matches('/');
    let url = Url::parse(text)
        .map_err(|problem| found.error(format_args!("it is not a valid address ({problem}); {EXAMPLE}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        // The value contains a password, so it is not part of the error.
        return Err(Error::configuration(format!(
            "{} contains a user name or password before the '@': remove it; give the access token as {} or in {}",
            URL.name, REFRESH_TOKEN.name, REFRESH_TOKEN.variable
        )));
    }
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(found.error(format_args!("it must begin with https:// (or http:// on this machine); {EXAMPLE}")));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(found.error(format_args!("it must not contain '?' or '#'; {EXAMPLE}")));
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
    // An IPv6 host is in brackets.
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Profile, Profiles};

    fn resolve(given: Given, environment: &[(&str, &str)]) -> Result<Config, String> {
        let lookup =
            |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(*value));
        Config::resolve(given, lookup).map_err(|error| error.to_string())
    }

    fn token(config: &Config) -> Option<&str> {
        match &config.credential {
            Some(Credential::AccessToken(token)) => Some(token.expose()),
            _ => None,
        }
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
            ("127.0.0.1:8765", "not a valid address"),
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
            let token = token(&config).unwrap_or("none").to_owned();
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
        assert!(problem.contains("existing: default, other") && problem.contains("MLP_PROFILE"), "{problem}");
        let all = environment(&[("MLP_TIMEOUT", "3")]);
        let told =
            Config::describe(named, |name| all.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
                .unwrap();
        let line = |name: &str| {
            let found = told.iter().find(|line| line.setting.name == name).unwrap();
            format!("{} {}", found.value.as_deref().unwrap_or("none"), found.from.describe(found.setting))
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
        assert_eq!(self::token(&resolve(token(" abc\n"), &[]).unwrap()), Some("abc"));
        assert!(resolve(token("  "), &[]).unwrap().credential.is_none());
        assert!(resolve(Given::default(), &[("MLP_REFRESH_TOKEN", "")]).unwrap().credential.is_none());
    }
}
