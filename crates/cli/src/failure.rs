//! How a command ends when it does not end well.

use std::io;

use mlplatform_client::{Error, Kind};

/// Exit codes. They are documented: scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// It is done.
    Success = 0,
    /// It is not; also a job that was waited for and failed.
    Failed = 1,
    /// The command or a setting cannot be meant.
    Usage = 2,
    /// The platform refused the token, or its role.
    Refused = 3,
    /// There is no such thing.
    NotFound = 4,
    /// The time was over.
    Timeout = 5,
    /// Ctrl-C.
    Interrupted = 130,
    /// Whoever read the output has gone.
    Pipe = 141,
}

/// What is told, and the code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    /// Empty: there is nothing to say, or nobody to say it to.
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Code::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Code::Interrupted, "")
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            Kind::Argument | Kind::Configuration | Kind::TokenMissing => Code::Usage,
            Kind::Refused(body) => match body.status {
                401 | 403 => Code::Refused,
                404 => Code::NotFound,
                408 => Code::Timeout,
                _ => Code::Failed,
            },
            Kind::Timeout => Code::Timeout,
            Kind::Foreign { .. } | Kind::Connection | Kind::Closed | Kind::Internal => Code::Failed,
        };
        let hint = match error.kind() {
            Kind::TokenMissing => Some("mlp auth login asks for one and keeps it".to_owned()),
            _ => error.hint().map(str::to_owned),
        };
        let message = match error.kind() {
            // Without the reference's form around it.
            Kind::Refused(body) => body.field().map_or_else(|| error.to_string(), str::to_owned),
            _ => error.to_string(),
        };
        Self { code, message, hint }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Code::Pipe, "");
        }
        Self::failed(format!("the output cannot be written: {error}"))
    }
}
