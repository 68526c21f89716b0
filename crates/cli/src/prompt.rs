//! Asking for a token: at a terminal without showing it, else from standard input. Never in an argument, which others see.

use std::io::{self, BufRead, IsTerminal};

use mlplatform_protocol::Secret;

use crate::failure::{Code, Failure};

/// What is read of standard input, at most: a token has 43 bytes.
const LONGEST: u64 = 8192;

/// A token.
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

/// Until Ctrl-C; while a prompt is open, that hears it.
pub(crate) async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
