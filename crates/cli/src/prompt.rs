//! The prompt for a token: hidden in a terminal, otherwise from standard input. Never an argument, which other users can see.

use std::io::{self, BufRead, IsTerminal};

use mlplatform_protocol::Secret;

use crate::failure::{Code, Failure};

/// The most bytes read from standard input; a token has 43.
const LONGEST: u64 = 8192;

/// Reads a token.
pub(crate) fn token(question: &str) -> Result<Secret, Failure> {
    let read = if io::stdin().is_terminal() {
        rpassword::prompt_password(question)
    } else {
        let mut line = String::new();
        io::Read::take(io::stdin().lock(), LONGEST).read_line(&mut line).map(|_| line)
    };
    let line = read.map_err(|error| match error.kind() {
        io::ErrorKind::Interrupted => Failure::interrupted(),
        _ => Failure::new(Code::Usage, format!("no token could be read: {error}")),
    })?;
    Ok(Secret::from_pasted(&line))
}

/// Returns on Ctrl-C. An open prompt handles it itself.
pub(crate) async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
