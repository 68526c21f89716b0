//! The platform's origins: the addresses that the console answers to, and the origins that its forms may be sent from.
//!
//! A page of somebody else's can make a browser send requests here, and can even give its own name this machine's
//! address (DNS rebinding); but it cannot choose the `Host` and `Origin` that the browser writes. Without TLS only
//! names of this machine are answered to. With TLS the certificate's name is the first check; `--public-url` then
//! narrows it to one, and says what it is behind a proxy.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, Uri, header, uri::Authority};
use mlplatform_platform::text::harmless;

/// An address that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use '{given}' as --public-url: {problem}; give it as browsers do, such as https://ml.example.com")]
pub struct PublicUrlError {
    /// As it was given.
    given: String,
    /// Which rule it breaks.
    problem: String,
}

/// The address of the platform as the world knows it: a scheme and a host, no path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    origin: String,
    host: String,
    https: bool,
}

impl PublicUrl {
    /// Reads `https://HOST[:PORT]`; plain `http` is for loopback alone.
    ///
    /// # Errors
    /// When it is something else.
    pub fn new(text: &str) -> Result<Self, PublicUrlError> {
        let failed = |problem: &str| PublicUrlError { given: harmless(text), problem: problem.to_owned() };
        let uri: Uri = text.parse().map_err(|_| failed("it is no address"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(failed("scheme or host is missing"));
        };
        if uri.path() != "/" || uri.query().is_some() || authority.as_str().contains('@') {
            return Err(failed("only scheme, host and port may stand in it: the platform is served at the root"));
        }
        let https = match scheme {
            "https" => true,
            "http" if is_loopback(authority.host()) => false,
            "http" => return Err(failed("tokens would cross the network as plain text: it must be https")),
            _ => return Err(failed("the scheme is not https")),
        };
        let host = without_default_port(authority.as_str(), https);
        Ok(Self { origin: format!("{scheme}://{host}"), host, https })
    }

    /// Scheme, host, and the port unless it is the usual one.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.origin
    }
}

/// What a server knows of the addresses it is reached at.
#[derive(Clone, Debug)]
pub struct Site {
    public: Option<PublicUrl>,
    tls: bool,
    port: u16,
}

impl Site {
    /// Of a listener, and the address that the world knows.
    #[must_use]
    pub fn new(listen: SocketAddr, tls: bool, public: Option<PublicUrl>) -> Self {
        Self { public, tls, port: listen.port() }
    }

    /// Whether browsers reach it by HTTPS alone.
    pub fn is_secure(&self) -> bool {
        self.public.as_ref().map_or(self.tls, |public| public.https)
    }

    /// Cookies know no ports: two platforms on this machine must not overwrite each other's.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The origin of the pages of a request, if it was sent to an address of ours.
    pub fn origin(&self, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (uri.authority(), hosts.next(), hosts.next()) {
            // HTTP/2 has it in the request line.
            (Some(authority), None, None) => authority.as_str(),
            (None, Some(host), None) => host.to_str().ok()?,
            (Some(authority), Some(host), None) if host.as_bytes() == authority.as_str().as_bytes() => {
                authority.as_str()
            }
            _ => return None,
        };
        let authority: Authority = host.parse().ok().filter(|_| !host.contains('@'))?;
        let host = without_default_port(authority.as_str(), self.tls);
        let own = || format!("{}://{host}", if self.tls { "https" } else { "http" });
        match &self.public {
            Some(public) if without_default_port(authority.as_str(), public.https) == public.host => {
                Some(public.origin.clone())
            }
            _ if is_loopback(authority.host()) => Some(own()),
            None if self.tls => Some(own()),
            _ => None,
        }
    }

    /// Whether a form that reached us under `own` comes from a page of ours.
    pub fn is_from_here(&self, own: &str, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (Some(origin), None) => {
                // A proxy may have put this machine's name into `Host`; nobody can put anything into `Origin`.
                let public = self.public.as_ref().map(|public| public.origin.as_bytes());
                origin.as_bytes() == own.as_bytes() || Some(origin.as_bytes()) == public
            }
            (None, None) => headers.get("sec-fetch-site").is_some_and(|site| site.as_bytes() == b"same-origin"),
            _ => false,
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || bare.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

fn without_default_port(authority: &str, https: bool) -> String {
    let port = if https { ":443" } else { ":80" };
    authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn site(tls: bool, public: Option<&str>) -> Site {
        let public = public.map(|url| PublicUrl::new(url).unwrap());
        Site::new("127.0.0.1:8765".parse().unwrap(), tls, public)
    }

    fn origin(site: &Site, host: &'static str) -> Option<String> {
        let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
        site.origin(&Uri::from_static("/tokens"), &headers)
    }

    #[test]
    fn without_tls_only_this_machines_names() {
        let site = site(false, None);
        for host in ["127.0.0.1:8765", "localhost:8765", "[::1]:8765", "127.8.9.1", "LOCALHOST:9"] {
            assert_eq!(origin(&site, host), Some(format!("http://{}", host.to_ascii_lowercase())), "{host}");
        }
        for host in
            ["evil.example:8765", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "", "a@127.0.0.1"]
        {
            assert_eq!(origin(&site, host), None, "{host}");
        }
        assert!(!site.is_secure());
    }

    #[test]
    fn with_tls_the_certificate_decides_unless_a_name_was_given() {
        assert_eq!(origin(&site(true, None), "ml.example:443"), Some("https://ml.example".to_owned()));
        let named = site(true, Some("https://ml.example"));
        assert_eq!(origin(&named, "ml.example"), Some("https://ml.example".to_owned()));
        assert_eq!(origin(&named, "evil.example"), None);
    }

    #[test]
    fn behind_a_proxy_the_public_name_counts() {
        let site = site(false, Some("https://ML.example:443/"));
        assert!(site.is_secure());
        assert_eq!(origin(&site, "ml.example"), Some("https://ml.example".to_owned()));
        assert_eq!(origin(&site, "evil.example"), None);
        let from = |origin: &'static str| HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))]);
        assert!(site.is_from_here("http://127.0.0.1:8765", &from("https://ml.example")));
        assert!(!site.is_from_here("http://127.0.0.1:8765", &from("http://127.0.0.1:1")));
        assert!(!site.is_from_here("https://ml.example", &from("null")));
        assert!(!site.is_from_here("https://ml.example", &HeaderMap::new()));
    }

    #[test]
    fn public_urls() {
        for url in ["https://ml.example", "https://ml.example:8443/", "http://localhost:8765", "https://[2001:db8::1]"]
        {
            assert!(PublicUrl::new(url).is_ok(), "{url}");
        }
        let table = [
            ("ml.example", "missing"),
            ("http://ml.example", "plain text"),
            ("ftp://ml.example", "not https"),
            ("https://ml.example/platform", "root"),
            ("https://a@ml.example", "root"),
            ("", "no address"),
        ];
        for (url, why) in table {
            let error = PublicUrl::new(url).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("--public-url"), "{url}: {error}");
        }
    }
}
