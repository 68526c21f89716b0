//! The state of a confirmation: whether a form asks for the token's value, and what was wrong with the one given.

use mlplatform_platform::sessions::sign_in::Confirmation;

/// What a form asks of somebody who is signed in, before it changes anything.
pub(crate) struct ConfirmationPrompt {
    pub(crate) confirmed: Confirmation,
    /// What was wrong with the value that was given.
    pub(crate) problem: Option<&'static str>,
}

impl ConfirmationPrompt {
    pub(crate) fn new(confirmed: Confirmation) -> Self {
        Self { confirmed, problem: None }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.confirmed != Confirmation::Recent
    }

    /// The value that was given is wrong: the field is where to go on.
    pub(crate) fn is_wrong(&self) -> bool {
        self.problem.is_some()
    }
}
