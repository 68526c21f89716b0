//! The flags that name a database of PostgreSQL.

use std::{convert::Infallible, path::PathBuf, str::FromStr};

use clap::{ArgMatches, Args, parser::ValueSource};
use mlplatform_protocol::Secret;
use mlplatform_server::{
    start::StartError,
    storage::{Database, read_url},
};
use mlplatform_store::{DatabaseUrl, OpenError};

#[derive(Debug, Args)]
pub(crate) struct DatabaseArgs {
    /// A database of PostgreSQL in place of the data directory's SQLite: postgres://USER@HOST:PORT/DATABASE. With a password in
    /// it, only as the environment variable: a flag is visible to every user of the machine
    #[arg(
        long,
        env = "MLP_SERVER_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        conflicts_with = "database_url_file"
    )]
    database_url: Option<GivenUrl>,
    /// The file with that URL, which others cannot read
    #[arg(long, env = "MLP_SERVER_DATABASE_URL_FILE", value_name = "FILE")]
    database_url_file: Option<PathBuf>,
    /// With PostgreSQL, the folder of the files audit-key and secrets-key, which `init` makes; every server needs the same
    /// two, and only reads them [default: the data directory]
    #[arg(long, env = "MLP_SERVER_KEYS_DIR", value_name = "DIR")]
    keys_dir: Option<PathBuf>,
}

/// Any text: what is wrong with it is said later, without repeating it, which clap would do.
#[derive(Clone, Debug)]
struct GivenUrl(Secret);

impl FromStr for GivenUrl {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Secret::from_pasted(text)))
    }
}

impl DatabaseArgs {
    pub(crate) fn database(&self) -> Result<Option<Database>, StartError> {
        let url = match (&self.database_url, &self.database_url_file) {
            (Some(given), _) => {
                given.0.expose().parse().map_err(|error: OpenError| StartError::Database(error.to_string()))?
            }
            (None, Some(file)) => read_url(file)?,
            (None, None) => return Ok(None),
        };
        Ok(Some(Database { url, keys_dir: self.keys_dir.clone(), audit_mark: None }))
    }
}

/// A password among the flags is refused: every user of the machine sees those (`ps`).
pub(crate) fn refuse_visible_password(matches: &ArgMatches) -> Result<(), StartError> {
    const ID: &str = "database_url";
    if let Some((_, command)) = matches.subcommand() {
        return refuse_visible_password(command);
    }
    let given = matches.try_get_one::<GivenUrl>(ID).ok().flatten();
    let visible = given.filter(|_| matches.value_source(ID) == Some(ValueSource::CommandLine));
    if visible.and_then(|url| url.0.expose().parse::<DatabaseUrl>().ok()).is_some_and(|url| url.has_password()) {
        return Err(StartError::Database(
            "the password in --database-url is visible to every user of this machine: write the URL to a file that others \
             cannot read and give --database-url-file FILE, or leave the password to ~/.pgpass; then change it"
                .to_owned(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    fn refused(arguments: &[&str]) -> Option<String> {
        let matches = Cli::command().try_get_matches_from(arguments).unwrap();
        refuse_visible_password(&matches).err().map(|error| error.to_string())
    }

    #[test]
    fn a_password_is_not_given_as_a_flag() {
        for command in [vec!["serve"], vec!["audit", "verify"], vec!["init"], vec!["cluster", "list"]] {
            let with = |url| [&["mlplatform-server"], &command[..], &["--database-url", url]].concat();
            let error = refused(&with("postgres://anna:geheim@localhost/d")).unwrap();
            assert!(error.contains("--database-url-file") && !error.contains("geheim"), "{error}");
            assert_eq!(refused(&with("postgres://anna@localhost/d")), None);
        }
        assert_eq!(refused(&["mlplatform-server", "serve"]), None);
        assert_eq!(refused(&["mlplatform-server", "restore", "b", "--data-dir", "d"]), None);
    }

    #[test]
    fn nothing_shows_the_url() {
        let help = Cli::command().find_subcommand_mut("serve").unwrap().render_long_help().to_string();
        assert!(help.contains("[env: MLP_SERVER_DATABASE_URL]"), "{help}");
        let given = GivenUrl(Secret::from_pasted("postgres://anna:geheim@localhost/d"));
        assert!(!format!("{given:?}").contains("geheim"));
        let clash =
            ["mlplatform-server", "init", "--database-url", "postgres://a:geheim@h/d", "--database-url-file", "f"];
        let error = Cli::command().try_get_matches_from(clash).unwrap_err().to_string();
        assert!(!error.contains("geheim"), "{error}");
    }
}
