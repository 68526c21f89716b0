//! Failures of a command: message, hint, exit code.

use std::io;

use mlplatform_client::{Error, Kind};

/// Exit codes. They are documented, and scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Success.
    Success = 0,
    /// Failure, also of a job that was waited for.
    Failed = 1,
    /// Wrong usage, or an invalid setting.
    Usage = 2,
    /// The platform refused the token, or its role.
    Refused = 3,
    /// Not found.
    NotFound = 4,
    /// Timeout.
    Timeout = 5,
    /// Ctrl-C.
    Interrupted = 130,
    /// The reader closed the output (SIGPIPE).
    Pipe = 141,
}

/// The message and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    /// Empty: nothing is printed.
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
            Kind::TokenMissing => Some("mlp auth login asks for one and stores it".to_owned()),
            _ => error.hint().map(str::to_owned),
        };
        let message = match error.kind() {
            // Only the error text, without the reference's form.
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
