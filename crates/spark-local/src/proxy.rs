//! The proxy settings that jobs inherit: without the user and the password that the platform itself has in them.

use std::env;

/// The variables that name a proxy.
pub(crate) const VARIABLES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];

/// A proxy's address as a job sees it; `None`: it is not clear where in it a password ends.
pub(crate) fn without_password(address: &str) -> Option<String> {
    let (scheme, rest) = address.split_once("://").map_or((None, address), |(scheme, rest)| (Some(scheme), rest));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or_default();
    if path.contains('@') {
        // A '/' in a password that is not escaped.
        return None;
    }
    Some(scheme.map_or_else(|| format!("{host}{path}"), |scheme| format!("{scheme}://{host}{path}")))
}

/// Says at the start what jobs do not get.
pub(crate) fn warn_of_passwords() {
    for name in VARIABLES {
        let Ok(value) = env::var(name) else { continue };
        let shown = without_password(&value);
        if shown.as_ref() != Some(&value) {
            let what = shown.map_or_else(|| "do not get it".to_owned(), |shown| format!("get '{shown}'"));
            tracing::warn!(
                "{name} holds a user or a password, which are not for jobs: they {what}; a proxy for jobs goes into a \
                 manifest's environment"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_stay_here() {
        for (given, shown) in [
            ("http://proxy:3128", Some("http://proxy:3128")),
            ("http://anna:secret@proxy:3128/", Some("http://proxy:3128/")),
            ("anna:secret@proxy:3128", Some("proxy:3128")),
            ("http://anna:se@cret@[::1]:3128", Some("http://[::1]:3128")),
            ("http://anna:se/cr@et@proxy", None),
            ("http://token@proxy?x", Some("http://proxy?x")),
            ("", Some("")),
        ] {
            assert_eq!(without_password(given).as_deref(), shown, "{given}");
        }
    }
}
