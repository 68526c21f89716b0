//! Proxy selection from the variables that `curl` and `requests` read, once for the address of a client. An unusable value is
//! an error: a client must not bypass a configured proxy.

use std::net::IpAddr;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use reqwest::Url;

/// What the environment says about proxies, for one address.
#[derive(Clone, Debug)]
pub enum ProxyChoice {
    /// Nothing. On Windows and macOS the setting of the operating system applies.
    Unset,
    /// The address is on this machine, or `NO_PROXY` names it.
    Direct,
    /// Through this one.
    Through(Proxy),
}

/// A proxy.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// The variable that names it.
    pub(crate) variable: &'static str,
    /// Scheme, host and port; no user name.
    url: Url,
    /// Basic authentication, marked as sensitive: `Debug` does not show it.
    credentials: Option<HeaderValue>,
}

impl Proxy {
    pub(crate) fn to_reqwest(&self) -> Result<reqwest::Proxy, reqwest::Error> {
        let proxy = reqwest::Proxy::all(self.url.clone())?;
        Ok(match &self.credentials {
            Some(credentials) => proxy.custom_http_auth(credentials.clone()),
            None => proxy,
        })
    }

    /// Without its credentials.
    pub(crate) fn address(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

/// Reads the environment. The lower-case name has precedence; an empty variable counts as unset.
pub(crate) fn choose(url: &Url, environment: impl Fn(&str) -> Option<String>) -> Result<ProxyChoice, String> {
    let find = |names: &[&'static str]| {
        names.iter().find_map(|name| environment(name).filter(|value| !value.is_empty()).map(|value| (*name, value)))
    };
    let names: &[_] = match url.scheme() {
        "https" => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
        // In a CGI program, HTTP_PROXY is set from a client's header `Proxy:` (CVE-2016-5385).
        _ if environment("REQUEST_METHOD").is_some() => &["http_proxy", "all_proxy", "ALL_PROXY"],
        _ => &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
    };
    let Some((variable, value)) = find(names) else { return Ok(ProxyChoice::Unset) };
    if find(&["no_proxy", "NO_PROXY"]).is_some_and(|(_, list)| is_exempt(&list, url)) {
        return Ok(ProxyChoice::Direct);
    }
    match read(&value) {
        Ok((url, credentials)) => Ok(ProxyChoice::Through(Proxy { variable, url, credentials })),
        // The value may contain a password, so it is not part of the error.
        Err(problem) => Err(format!(
            "the environment variable {variable} (its value is masked) is not a usable proxy: {problem}; write \
             it like http://proxy.example:3128 or http://user:password@proxy.example:3128, or list the platform's host in \
             NO_PROXY"
        )),
    }
}

/// Parses `[http[s]://][user[:password]@]host[:port]`; a path is ignored.
fn read(value: &str) -> Result<(Url, Option<HeaderValue>), String> {
    check_characters(value)?;
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
    let scheme = scheme.to_ascii_lowercase();
    if scheme.starts_with("socks") {
        return Err("SOCKS proxies are not supported, HTTP proxies are".to_owned());
    }
    if !matches!(scheme.as_str(), "http" | "https") {
        return Err("it begins with neither http:// nor https://".to_owned());
    }
    let (authority, beyond) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if beyond.contains('@') {
        let problem = "a '/', '?' or '#' stands before the '@': in a user name or password write %2F, %3F or %23";
        return Err(problem.to_owned());
    }
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let name = host.split(':').next().unwrap_or_default();
    if ["http", "https"].iter().any(|scheme| name.eq_ignore_ascii_case(scheme)) {
        return Err("two slashes are missing after http:".to_owned());
    }
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("its host is a number".to_owned());
    }
    // These error texts contain nothing of the value.
    let url = Url::parse(&format!("{scheme}://{host}")).map_err(|problem| format!("its host and port: {problem}"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '[' | ']');
    if !url.host_str().is_some_and(|host| host.chars().all(plain)) {
        return Err("its host contains invalid characters".to_owned());
    }
    if url.port() == Some(0) {
        return Err("there is no port 0".to_owned());
    }
    let credentials = user.map(basic).transpose()?;
    Ok((url, credentials))
}

fn check_characters(value: &str) -> Result<(), String> {
    if value.contains(char::REPLACEMENT_CHARACTER) {
        return Err("it is not UTF-8".to_owned());
    }
    if let Some((index, c)) = value.chars().enumerate().find(|(_, c)| c.is_whitespace() || c.is_control()) {
        let what = match c {
            ' ' => "a space",
            '\n' | '\r' => "a line break",
            '\t' => "a tab",
            _ => "white space or a control character",
        };
        return Err(format!("character {} of it is {what} (in a password, a space is %20)", index + 1));
    }
    if value.starts_with(['"', '\'']) || value.ends_with(['"', '\'']) {
        return Err("it contains quotation marks".to_owned());
    }
    if value.contains('\\') {
        return Err("it contains a backslash: in a user name or password write %5C (CORP%5Canna)".to_owned());
    }
    Ok(())
}

fn basic(user: &str) -> Result<HeaderValue, String> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let name: Vec<u8> = percent_decode_str(name).collect();
    let password: Vec<u8> = percent_decode_str(password).collect();
    if name.contains(&b':') {
        return Err("basic authentication does not allow a ':' in the user name".to_owned());
    }
    let both = [name, password].join(&b':');
    if both.iter().any(u8::is_ascii_control) {
        return Err("its user name or password holds a control character".to_owned());
    }
    let header = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(both)));
    let mut header = header.map_err(|_| "its user name or password cannot be sent".to_owned())?;
    header.set_sensitive(true);
    Ok(header)
}

/// Whether `NO_PROXY` names the address. An entry that cannot be read names none.
fn is_exempt(list: &str, url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    let mut entries = list.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty());
    entries.any(|entry| names(entry, host, url.port_or_known_default()))
}

fn names(entry: &str, host: &str, port: Option<u16>) -> bool {
    if entry == "*" {
        return true;
    }
    let (entry, wanted) = split_port(entry);
    if wanted.is_some() && wanted != port {
        return false;
    }
    let entry = entry.strip_prefix('*').unwrap_or(entry).trim_matches('.');
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        // `::ffff:10.0.0.1` is 10.0.0.1.
        let plain = address.to_canonical();
        return match (entry.parse::<IpNet>(), entry.parse::<IpAddr>()) {
            (Ok(network), _) => network.contains(&address) || network.contains(&plain),
            (_, Ok(entry)) => entry.to_canonical() == plain,
            _ => false,
        };
    }
    // Read as the host was: lower-case, and other alphabets in their ASCII form.
    let Ok(entry) = Url::parse(&format!("http://{entry}")) else { return false };
    let above = entry.host_str().and_then(|entry| host.strip_suffix(entry));
    above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// An entry and its port. An IPv6 address has colons of its own, and stands in brackets where a port follows.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    if let Some((address, rest)) = entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn through(value: &str) -> Result<Proxy, String> {
        let environment = |name: &str| (name == "https_proxy").then(|| value.to_owned());
        match choose(&Url::parse("https://platform.example").unwrap(), environment) {
            Ok(ProxyChoice::Through(proxy)) => Ok(proxy),
            Ok(other) => panic!("{value:?}: {other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn ports_and_schemes_that_are_left_out() {
        for (value, url) in [
            ("proxy", "http://proxy/"),
            ("proxy:", "http://proxy/"),
            ("http://proxy:80", "http://proxy/"),
            ("https://proxy", "https://proxy/"),
            ("HTTPS://Proxy:3128/", "https://proxy:3128/"),
            ("[::1]:3128", "http://[::1]:3128/"),
            ("http_proxy.corp:1", "http://http_proxy.corp:1/"),
        ] {
            assert_eq!(through(value).unwrap().url.as_str(), url, "{value}");
        }
        assert!(through("http://прокси.рф:1").unwrap().address().starts_with("http://xn--"));
    }

    #[test]
    fn no_part_of_a_value_is_in_an_error_or_in_debug() {
        for value in [
            "http://anna:hunter2@proxy:99999",
            "http://anna:hunter2%40proxy:3128",
            "hunter2://anna@proxy",
            "anna:hunter2",
            "http://anna:hunter2\n@proxy",
            "http://anna:hunter2/@proxy",
            "http://anna\\hunter2@proxy",
            "hunter2'",
            "http://proxy/@hunter2",
            "http://hunter2!",
            // As a host it would be the address 0.0.31.144.
            "8080",
        ] {
            let message = through(value).unwrap_err();
            assert!(message.starts_with("the environment variable https_proxy (its value is masked)"), "{message}");
            assert!(!message.contains("hunter2") && !message.contains("99999"), "{message}");
        }
        let proxy = through("http://anna:hunter2@proxy:3128").unwrap();
        assert!(!format!("{proxy:?} {}", proxy.address()).contains("hunter2"));
        assert!(!format!("{proxy:?}").contains("YW5uYTpodW50ZXIy"), "{proxy:?}");
    }

    proptest! {
        /// Nothing is passed over, and nothing panics.
        #[test]
        fn any_value_is_a_proxy_or_an_error(value in "\\PC{1,40}|[a-z0-9:/@%\\\\#?. \\[\\]\"]{1,40}") {
            if let Ok(proxy) = through(&value) {
                prop_assert!(proxy.to_reqwest().is_ok());
                prop_assert!(proxy.url.as_str().parse::<http::Uri>().is_ok());
            }
        }

        #[test]
        fn any_list_exempts_or_does_not(list in "\\PC{0,40}|[a-z0-9:/*,. \\[\\]]{0,40}") {
            for url in ["https://platform.example", "https://10.0.0.1:8443", "https://[fd00::1]"] {
                let _ = is_exempt(&list, &Url::parse(url).unwrap());
            }
        }
    }
}
