//! Classification of connection errors (network, TLS, proxy), each with a remedy for the user.

use std::{error::Error as StdError, io};

use rustls::{AlertDescription, CertificateError};

use crate::{
    retry::Outcome,
    settings::{CA_BUNDLE, CLIENT_CERT, CLIENT_KEY, URL},
};

/// The cause of a failed connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    Name,
    Refused,
    UnknownAuthority,
    OtherHost,
    Expired,
    NotYetValid,
    /// The server's certificate is a CA certificate, as a plain `openssl req -x509` makes it.
    Authority,
    Certificate,
    ClientCertificate,
    NotTls,
    NotHttp,
    Proxy,
    ProxyCredentials,
    ConnectTimeout,
    Unreachable,
    Broken,
}

impl Problem {
    /// Classifies an error of reqwest, which wraps errors of hyper, rustls and the system.
    ///
    /// `is_forwarded`: a proxy forwards the request, so the connection is to the proxy.
    pub(crate) fn of(problem: &reqwest::Error, causes: &[String], is_forwarded: bool) -> Self {
        let says = |text: &str| causes.iter().any(|cause| cause.contains(text));
        if says("proxy authorization required") {
            Self::ProxyCredentials
        } else if says("tunnel error") || (is_forwarded && problem.is_connect()) {
            // Checked before TLS, which may be to the proxy.
            Self::Proxy
        } else if let Some(tls) = chain(problem).find_map(|error| error.downcast_ref::<rustls::Error>())
            && let Some(found) = Self::of_tls(tls, problem.is_connect())
        {
            found
        } else if problem.is_dns() {
            Self::Name
        } else if says("invalid HTTP") {
            Self::NotHttp
        } else if !problem.is_connect() {
            Self::Broken
        } else if problem.is_timeout() {
            Self::ConnectTimeout
        } else if io_kind(problem) == Some(io::ErrorKind::ConnectionRefused) {
            Self::Refused
        } else {
            Self::Unreachable
        }
    }

    fn of_tls(error: &rustls::Error, connecting: bool) -> Option<Self> {
        use AlertDescription as Alert;
        match error {
            rustls::Error::InvalidCertificate(why) => Some(match why {
                CertificateError::UnknownIssuer => Self::UnknownAuthority,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::OtherHost,
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
                // rustls passes on only the name of the error.
                CertificateError::Other(why) if why.to_string().contains("CaUsedAsEndEntity") => Self::Authority,
                _ => Self::Certificate,
            }),
            rustls::Error::NoCertificatesPresented => Some(Self::Certificate),
            // With TLS 1.3 the alert arrives instead of the answer, after the handshake.
            rustls::Error::AlertReceived(
                Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied,
            ) => Some(Self::ClientCertificate),
            rustls::Error::InvalidMessage(_) if connecting => Some(Self::NotTls),
            _ => None,
        }
    }

    /// Whether another attempt may help.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::UnknownAuthority
            | Self::OtherHost
            | Self::Expired
            | Self::NotYetValid
            | Self::Authority
            | Self::Certificate
            | Self::ClientCertificate
            | Self::NotTls
            | Self::ProxyCredentials => Outcome::Permanent,
            Self::Broken | Self::NotHttp => Outcome::Lost,
            Self::Name | Self::Refused | Self::Proxy | Self::ConnectTimeout | Self::Unreachable => {
                Outcome::NotConnected
            }
        }
    }

    /// Whether the proxy is the cause.
    pub(crate) fn is_of_proxy(self) -> bool {
        matches!(self, Self::Proxy | Self::ProxyCredentials)
    }

    /// The text after the address.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Name => "its name cannot be resolved",
            Self::Refused => "connection refused: nothing listens there",
            Self::UnknownAuthority => "its certificate is not trusted: no known authority has signed it",
            Self::OtherHost => "its certificate is not trusted: it was issued for another host",
            Self::Expired => "its certificate is not trusted: it has expired",
            Self::NotYetValid => "its certificate is not trusted: it is not valid yet",
            Self::Authority => "its certificate is not trusted: it is the certificate of an authority, not of a server",
            Self::Certificate => "its certificate is not trusted",
            Self::ClientCertificate => "it requires a client certificate that it accepts",
            Self::NotTls => "it does not speak TLS (https://)",
            Self::NotHttp => "the service at this address does not speak HTTP",
            Self::Proxy => "the proxy cannot be reached, or refuses the request",
            Self::ProxyCredentials => "the proxy requires a user name and password, or rejects those that it got",
            Self::ConnectTimeout => "no connection was made in time",
            Self::Unreachable => "no connection could be made",
            Self::Broken => "the connection broke before the answer was complete",
        }
    }

    /// The remedy.
    pub(crate) fn hint(self) -> String {
        let (url, ca_bundle) = (URL.variable, CA_BUNDLE.variable);
        match self {
            Self::Name => format!("check the spelling of the address (url= or {url}), the DNS server and the VPN"),
            Self::Refused => format!("check that the platform runs and that the port is right (url= or {url})"),
            Self::UnknownAuthority | Self::Certificate => format!(
                "if your own authority signed it (for the platform, or for a proxy that inspects TLS), name the PEM file of \
                 that authority with {}= or {ca_bundle}; if not, somebody may intercept the connection",
                CA_BUNDLE.name
            ),
            Self::OtherHost => format!(
                "use the host name that the certificate was issued for (url= or {url}); the cause below lists them; \
                 if the address is right, its administrator has to issue a certificate for it"
            ),
            Self::Expired => {
                "ask the platform's administrator to renew the certificate; if other sites fail too, check this machine's \
                 clock"
                    .to_owned()
            }
            Self::NotYetValid => "check this machine's clock, then the platform's certificate".to_owned(),
            Self::Authority => {
                "a self-signed certificate must say that it is no authority: create the platform's again, with \
                 `openssl req -x509 … -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:…`, or have \
                 an authority sign one for its host"
                    .to_owned()
            }
            Self::ClientCertificate => format!(
                "name the PEM file of your client certificate with {}= or {}, and that of its key with {}= or {}; if they \
                 are set, check that they are for this platform and have not expired",
                CLIENT_CERT.name, CLIENT_CERT.variable, CLIENT_KEY.name, CLIENT_KEY.variable
            ),
            Self::NotTls => format!(
                "check the port (url= or {url}); the address of a platform without TLS begins with http://, and works on \
                 its own machine only"
            ),
            Self::NotHttp => format!(
                "check the port (url= or {url}); if the platform there uses TLS, its address begins with https://"
            ),
            Self::Proxy => {
                "check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY (http:// or https:// proxies; not SOCKS); list hosts that \
                 need no proxy in NO_PROXY"
                    .to_owned()
            }
            Self::ProxyCredentials => {
                "write them into the variable, HTTPS_PROXY=http://user:password@proxy:port, with other characters than \
                 letters and digits percent-encoded; or name the platform's host in NO_PROXY"
                    .to_owned()
            }
            Self::ConnectTimeout => {
                "check the network, the VPN, the firewall and the proxy variables (HTTPS_PROXY, NO_PROXY)".to_owned()
            }
            Self::Unreachable => format!("check the network, the VPN and the address (url= or {url})"),
            // Some servers close the connection without a reason if TLS or the client certificate is missing.
            Self::Broken => format!(
                "try again; if it persists, check proxies and firewalls on the way, whether the address should begin with \
                 https:// (url= or {url}), and whether a client certificate is required ({}=)",
                CLIENT_CERT.name
            ),
        }
    }
}

/// The error and its causes, outermost first. `io::Error` does not report the error it wraps as its source, so it is
/// unwrapped here.
fn chain<'a>(problem: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(problem);
    std::iter::from_fn(move || {
        let error = next?;
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped.map(|wrapped| wrapped as &(dyn StdError + 'static)).or_else(|| error.source());
        Some(error)
    })
}

/// The texts of the causes, which reqwest's `Display` leaves out.
pub(crate) fn causes(problem: &(dyn StdError + 'static)) -> Vec<String> {
    let mut texts: Vec<String> = chain(problem).map(ToString::to_string).collect();
    texts.dedup();
    texts
}

fn io_kind(problem: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    chain(problem).find_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind)
}
