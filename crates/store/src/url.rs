//! The database's URL: a secret, because it may hold a password.

use std::{fmt, net::IpAddr, path::Path, str::FromStr};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::failure::OpenError;

/// Longer ones are a mistake.
const LONGEST: usize = 4096;

const KNOWN: [&str; 11] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];

/// `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=FILE`.
///
/// Its `Debug` shows nothing of it, and no error quotes it. What it leaves open comes from the usual environment variables
/// (`PGUSER`, `PGPASSWORD`, `PGSSLROOTCERT` …) and from `~/.pgpass`, as with every program for PostgreSQL.
#[derive(Clone)]
pub struct DatabaseUrl(SecretString);

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl([REDACTED])")
    }
}

impl FromStr for DatabaseUrl {
    type Err = OpenError;

    /// # Errors
    /// [`OpenError::Url`], with the rule and the remedy and without the value.
    fn from_str(text: &str) -> Result<Self, OpenError> {
        let url = Self(SecretString::from(text.trim()));
        url.options()?;
        Ok(url)
    }
}

impl DatabaseUrl {
    /// The first line of a file, which only its owner should be able to read.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no such URL.
    pub fn from_file(path: &Path) -> Result<Self, OpenError> {
        let unreadable = |error| OpenError::Url(format!("cannot be read from {}: {error}", path.display()));
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mut text = String::new();
        let longest = u64::try_from(LONGEST).unwrap_or(u64::MAX).saturating_add(1);
        std::io::Read::read_to_string(&mut std::io::Read::take(file, longest), &mut text).map_err(unreadable)?;
        text.trim().parse()
    }

    /// Whether a password stands in it, which nobody but its user should then see.
    #[must_use]
    pub fn has_password(&self) -> bool {
        let text = self.0.expose_secret();
        let (address, parameters) = text.split_once('?').unwrap_or((text, ""));
        let user = address.split_once("://").and_then(|(_, rest)| rest.split_once('@')).map_or("", |(user, _)| user);
        user.contains(':') || parameters.split('&').any(|pair| pair.starts_with("password="))
    }

    /// What sqlx makes of it; refused if it would send anything in plain text beyond this machine.
    pub(crate) fn options(&self) -> Result<PgConnectOptions, OpenError> {
        let text = self.0.expose_secret();
        let refuse = |rule: &str| Err(OpenError::Url(rule.to_owned()));
        if text.len() > LONGEST || text.chars().any(char::is_control) {
            return refuse("is longer than 4096 characters, or has more than one line");
        }
        if !(text.starts_with("postgres://") || text.starts_with("postgresql://")) {
            return refuse("has to begin with postgres://");
        }
        // `@`, `#`, `/` and `?` of a password that were not encoded move the boundaries of its parts: half of the password
        // would be taken for the host's name, which errors quote.
        if text.contains('#') || text.matches('@').count() > 1 {
            return refuse(
                "has a character that must be encoded: in user and password write @ as %40, # as %23, / as %2F, ? as %3F, : as %3A",
            );
        }
        // sqlx would log one that it does not know, value included.
        let parameters = text.split_once('?').map_or("", |(_, parameters)| parameters);
        let known = |pair: &str| KNOWN.contains(&pair.split('=').next().unwrap_or_default());
        if !parameters.is_empty() && !parameters.split('&').all(known) {
            return Err(OpenError::Url(format!("has a parameter that is not one of {}", KNOWN.join(", "))));
        }
        let Ok(options) = text.parse::<PgConnectOptions>() else {
            return refuse(
                "cannot be read: write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with @ as %40, # as %23, / as %2F, \
                 ? as %3F, : as %3A in user and password, and sslmode as one of disable, prefer, require, verify-full",
            );
        };
        if options.get_socket().is_some() || stays_here(options.get_host()) {
            return Ok(options);
        }
        match options.get_ssl_mode() {
            // `prefer` is also what stands there when nothing was said.
            PgSslMode::Prefer | PgSslMode::VerifyFull => Ok(options.ssl_mode(PgSslMode::VerifyFull)),
            PgSslMode::Disable | PgSslMode::Allow => refuse(
                "asks for a connection without TLS to another machine: leave sslmode out, or write sslmode=verify-full, \
                 and name the authority that signed the database's certificate with sslrootcert=FILE unless the system knows it",
            ),
            PgSslMode::Require | PgSslMode::VerifyCa => refuse(
                "asks for TLS to another machine without a check of whose certificate it is: write sslmode=verify-full, \
                 and name the authority that signed the database's certificate with sslrootcert=FILE unless the system knows it",
            ),
        }
    }
}

/// Loopback, or a folder with a Unix socket.
fn stays_here(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.starts_with('/') || host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn mode(text: &str) -> PgSslMode {
        text.parse::<DatabaseUrl>().unwrap().options().unwrap().get_ssl_mode()
    }

    #[test]
    fn beyond_this_machine_tls_is_checked() {
        for host in ["db.example.com", "10.0.0.7", "[2001:db8::1]", "127.0.0.1.example.com", "localhost.example.com"] {
            assert!(matches!(mode(&format!("postgres://u:p@{host}/d")), PgSslMode::VerifyFull), "{host}");
            assert!(
                matches!(mode(&format!("postgres://u:p@{host}/d?sslmode=prefer")), PgSslMode::VerifyFull),
                "{host}"
            );
            for refused in ["disable", "allow", "require", "verify-ca"] {
                let error =
                    format!("postgres://u:geheim@{host}/d?sslmode={refused}").parse::<DatabaseUrl>().unwrap_err();
                assert!(error.to_string().contains("sslmode=verify-full"), "{error}");
                assert!(!error.to_string().contains("geheim") && !format!("{error:?}").contains("geheim"), "{error}");
            }
        }
        // What the query says counts, not what stands before it.
        let refused = "postgres://u:p@localhost/d?sslmode=disable&host=db.example.com".parse::<DatabaseUrl>();
        assert!(refused.is_err());
        let refused = "postgres://u:p@localhost/d?sslmode=disable&hostaddr=10.0.0.7".parse::<DatabaseUrl>();
        assert!(refused.is_err());
    }

    #[test]
    fn on_this_machine_it_need_not() {
        for host in ["localhost", "127.0.0.1", "127.8.0.1", "[::1]", "%2Fvar%2Frun%2Fpostgresql"] {
            assert!(matches!(mode(&format!("postgres://u:p@{host}/d?sslmode=disable")), PgSslMode::Disable), "{host}");
        }
        assert!("postgres:///d?host=/var/run/postgresql&sslmode=disable".parse::<DatabaseUrl>().is_ok());
    }

    #[test]
    fn nothing_shows_it() {
        let url = "postgres://anna:geheim@localhost/d".parse::<DatabaseUrl>().unwrap();
        assert!(!format!("{url:?}{url:#?}").contains("geheim"));
        for wrong in [
            "mysql://anna:geheim@localhost/d",
            "postgres://anna:ge@heim@localhost/d",
            "postgres://anna:x@geheim/heim@localhost/d",
            "postgres://anna:geheim#geheim@localhost/d",
            "postgres://anna:1?geheim@localhost@/d",
            "postgres://anna:geheim",
            "postgres://anna:geheim@localhost:geheim/d",
            "postgres://anna:geheim@localhost/d?sslmode=geheim",
            "postgres://anna:geheim@localhost/d?port=geheim",
            "postgres://anna@localhost/d?pasword=geheim",
            "postgres://anna:%ffgeheim@localhost/d",
            "geheim\ngeheim",
            "",
        ] {
            let error = wrong.parse::<DatabaseUrl>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("geheim"), "{wrong}: {error:?}");
        }
    }

    #[test]
    fn a_password_is_known_as_one() {
        let has = |text: &str| text.parse::<DatabaseUrl>().unwrap().has_password();
        assert!(has("postgres://anna:geheim@localhost/d") && has("postgres://localhost/d?user=anna&password=geheim"));
        assert!(has("postgresql://anna:@localhost:5432/d"));
        assert!(!has("postgres://anna@localhost:5432/d?sslmode=disable") && !has("postgres://localhost:5432/d"));
        assert!(!has("postgres:///d?host=/var/run/postgresql&user=anna"));
    }

    #[test]
    fn from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("url");
        let missing = DatabaseUrl::from_file(&path).unwrap_err().to_string();
        assert!(missing.contains("cannot be read from") && missing.contains("url"), "{missing}");
        std::fs::write(&path, "postgres://anna:geheim@localhost/d\n").unwrap();
        assert_eq!(DatabaseUrl::from_file(&path).unwrap().options().unwrap().get_username(), "anna");
        std::fs::write(&path, format!("postgres://anna:{}@localhost/d", "geheim".repeat(1000))).unwrap();
        assert!(!DatabaseUrl::from_file(&path).unwrap_err().to_string().contains("geheim"));
        std::fs::write(&path, b"postgres://anna:geheim\xff@localhost/d").unwrap();
        assert!(!DatabaseUrl::from_file(&path).unwrap_err().to_string().contains("geheim"));
    }
}
