//! The authenticated caller of a request: a living access token, and the session that it came with.

use mlplatform_protocol::{Access, ErrorCode, Open, TokenInfo};

use crate::{error::Error, secret::Digest};

/// Who makes a request: a living token that was read just now.
#[derive(Clone, Debug)]
pub struct Caller {
    info: TokenInfo,
    /// Digest of the session that it comes with.
    session: Digest,
    /// A rotation has ended that session, and it may only ask for that rotation again.
    ended: bool,
}

impl Caller {
    /// That token, which must have been read just now.
    pub(crate) fn new(info: TokenInfo, session: Digest) -> Self {
        Self { info, session, ended: false }
    }

    /// That of a session which a rotation has ended: it may only ask for that rotation again.
    pub(crate) fn of_ended_session(info: TokenInfo, session: Digest) -> Self {
        Self { info, session, ended: true }
    }

    /// The token's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.info.id
    }

    /// The token's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// All of it: `who_am_i`.
    #[must_use]
    pub fn info(&self) -> &TokenInfo {
        &self.info
    }

    pub(crate) fn session(&self) -> &Digest {
        &self.session
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn is_administrator(&self) -> bool {
        self.may(Access::Administrator)
    }

    /// Whether the role is high enough.
    #[must_use]
    pub fn may(&self, access: Access) -> bool {
        matches!(self.info.role, Open::Known(role) if access.allows(role))
    }
}

/// The refusal that an exchange heals.
pub(crate) fn session_ended() -> Error {
    unauthorized("the session is unknown or has ended: exchange your access token again (create_session)")
}

/// A refusal with status 401.
pub(crate) fn unauthorized(text: &str) -> Error {
    Error::refused(ErrorCode::Unauthorized, text)
}
