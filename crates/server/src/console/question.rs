//! The state of a confirmation: whether a form asks for the token's value, and what was wrong with the one given.

use crate::sessions::sign_in::Confirmed;

/// What a form asks of somebody who is signed in, before it changes anything.
pub(super) struct Question {
    pub(super) confirmed: Confirmed,
    /// What was wrong with the value that was given.
    pub(super) problem: Option<&'static str>,
}

impl Question {
    pub(super) fn new(confirmed: Confirmed) -> Self {
        Self { confirmed, problem: None }
    }

    pub(super) fn is_due(&self) -> bool {
        self.confirmed != Confirmed::Lately
    }

    /// The value that was given is wrong: the field is where to go on.
    pub(super) fn is_wrong(&self) -> bool {
        self.problem.is_some()
    }
}
