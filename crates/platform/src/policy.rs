//! The token policy of the operator: how long tokens may live, and how many one issuer may have.
//!
//! It is held where a secret is about to be made: when a registration token is made, again when it is redeemed (the
//! operator may have thought otherwise meanwhile), and when a token is rotated. Tokens that were made before go on
//! working. What goes beyond is refused, and says by how much; nothing is ever shortened in silence.

use jiff::Timestamp;
use mlplatform_protocol::{ErrorCode, Lifetime};

use crate::{
    clock::{micros, timestamp},
    error::{Error, Result},
    tokens::row::TokenRow,
};

/// Living access tokens and waiting registration tokens of one issuer, unless the operator says otherwise: far more
/// than a team makes, few enough that whoever has stolen an Administrator's token does not fill the disk.
pub const TOKENS_PER_ISSUER: u32 = 10_000;

/// The rules. The default is the documents': any lifetime, also none.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// The longest lifetime of a registration token; `None`: any.
    pub longest_register_token: Option<Lifetime>,
    /// The longest lifetime of an access token; `None`: any.
    pub longest_access_token: Option<Lifetime>,
    /// Whether an access token may live for ever; `None`: unless there is a longest lifetime.
    pub never_ending: Option<bool>,
    /// How many living access tokens and waiting registration tokens one issuer may have.
    pub tokens_per_issuer: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            longest_register_token: None,
            longest_access_token: None,
            never_ending: None,
            tokens_per_issuer: TOKENS_PER_ISSUER,
        }
    }
}

impl Policy {
    /// A registration token, and the access token that it shall make.
    pub(crate) fn creation(&self, access_ttl: Lifetime, refresh_ttl: Option<Lifetime>) -> Result<()> {
        if let Some(longest) = self.longest_register_token.filter(|longest| access_ttl > *longest) {
            return Err(Error::refused(
                ErrorCode::BadRequest,
                format!(
                    "access_ttl: a registration token of '{access_ttl}' would live longer than this platform allows, '{longest}': give '{longest}' or less"
                ),
            ));
        }
        self.access_lifetime(refresh_ttl)
    }

    /// An access token that is made.
    pub(crate) fn access_lifetime(&self, refresh_ttl: Option<Lifetime>) -> Result<()> {
        let Some(rule) = self.broken_by(refresh_ttl) else { return Ok(()) };
        let (what, remedy) = match (refresh_ttl, self.longest_access_token) {
            (Some(given), Some(longest)) => (format!("of '{given}'"), format!("'{longest}' or less")),
            (None, Some(longest)) => ("that never expires".to_owned(), format!("'{longest}' or less")),
            _ => ("that never expires".to_owned(), "one".to_owned()),
        };
        let text = format!("refresh_ttl: an access token {what} is not allowed, because {rule}: give {remedy}");
        Err(Error::refused(ErrorCode::BadRequest, text))
    }

    /// What a registration token grants that was made a while ago.
    pub(crate) fn redemption(&self, access_lifetime: Option<Lifetime>) -> Result<()> {
        let Some(rule) = self.broken_by(access_lifetime) else { return Ok(()) };
        let granted = access_lifetime.map_or_else(|| "that never expires".to_owned(), |life| format!("of '{life}'"));
        let text = format!(
            "the registration token is for an access token {granted}, and {rule} now: ask an Administrator for a new registration token"
        );
        Err(Error::refused(ErrorCode::Conflict, text))
    }

    /// A new secret for a token, which would live as long as that, and the old one's overlap.
    pub(crate) fn rotation(&self, token: &TokenRow, overlap: Option<Lifetime>, now: Timestamp) -> Result<()> {
        if let (Some(overlap), Some(longest)) = (overlap, self.longest_access_token)
            && overlap > longest
        {
            return Err(Error::refused(
                ErrorCode::BadRequest,
                format!("overlap: '{overlap}' is longer than this platform lets a secret live, '{longest}': give less"),
            ));
        }
        let left = token.expires_at.map(|end| end.saturating_sub(now.as_microsecond()));
        let longest = self.longest_access_token;
        let rule = match (left, longest) {
            (None, _) if !self.may_never_end() => self.rule_of_never(),
            (Some(left), Some(longest)) if left > micros(longest.duration()) => rule_of(longest),
            _ => return Ok(()),
        };
        let ends =
            token.expires_at.map_or_else(|| "never expires".to_owned(), |end| format!("ends at {}", timestamp(end)));
        let text = format!(
            "the token '{}' {ends}, and {rule} now, so it gets no new secret: delete it (delete_token) and make another",
            token.name
        );
        Err(Error::refused(ErrorCode::Conflict, text))
    }

    /// One more for an issuer who has that many.
    pub(crate) fn one_more(&self, issuer: &str, has: i64) -> Result<()> {
        let limit = self.tokens_per_issuer;
        if has < i64::from(limit) {
            return Ok(());
        }
        let text = format!(
            "the tokens that '{issuer}' has issued, living or waiting to be redeemed, are {has}, and this platform allows {limit}: delete some (delete_token, delete_register_token), or let its operator allow more (--tokens-per-issuer)"
        );
        Err(Error::refused(ErrorCode::Conflict, text))
    }

    fn may_never_end(&self) -> bool {
        self.never_ending.unwrap_or(self.longest_access_token.is_none())
    }

    /// The rule that an access token of that lifetime would break.
    fn broken_by(&self, lifetime: Option<Lifetime>) -> Option<String> {
        match (lifetime, self.longest_access_token) {
            (None, _) if !self.may_never_end() => Some(self.rule_of_never()),
            (Some(lifetime), Some(longest)) if lifetime > longest => Some(rule_of(longest)),
            _ => None,
        }
    }

    fn rule_of_never(&self) -> String {
        self.longest_access_token.map_or_else(|| "every access token here needs a lifetime".to_owned(), rule_of)
    }
}

fn rule_of(longest: Lifetime) -> String {
    format!("this platform lets an access token live for at most '{longest}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(text: &str) -> Option<Lifetime> {
        Some(text.parse().unwrap())
    }

    fn token(expires_at: Option<i64>) -> TokenRow {
        TokenRow {
            seq: 1,
            id: "tok_1".to_owned(),
            name: "anna".to_owned(),
            role: "USER".to_owned(),
            issuer_id: None,
            issuer_name: "admin".to_owned(),
            created_at: 0,
            expires_at,
            last_used_at: None,
            last_used_address: None,
        }
    }

    #[test]
    fn by_default_everything_is_allowed() {
        let policy = Policy::default();
        policy.creation(life("2562047h").unwrap(), None).unwrap();
        policy.redemption(None).unwrap();
        policy.rotation(&token(None), life("2562047h"), Timestamp::UNIX_EPOCH).unwrap();
    }

    #[test]
    fn refusals_name_value_rule_and_remedy() {
        let policy = Policy {
            longest_register_token: life("24h"),
            longest_access_token: life("720h"),
            tokens_per_issuer: 2,
            ..Policy::default()
        };
        let hour = life("1h").unwrap();
        policy.creation(life("1d").unwrap(), life("30d")).unwrap();
        policy.redemption(life("30d")).unwrap();
        policy.one_more("admin", 1).unwrap();
        let epoch = Timestamp::UNIX_EPOCH;
        policy.rotation(&token(Some(micros(life("30d").unwrap().duration()))), None, epoch).unwrap();
        let table = [
            (
                policy.creation(life("25h").unwrap(), None),
                ["access_ttl: a registration token of '25h'", "give '24h' or less"],
            ),
            (policy.creation(hour, life("721h")), ["refresh_ttl: an access token of '721h'", "give '720h' or less"]),
            (policy.creation(hour, None), ["an access token that never expires", "at most '720h'"]),
            (policy.redemption(None), ["that never expires, and this platform lets", "ask an Administrator"]),
            (policy.redemption(life("721h")), ["of '721h'", "ask an Administrator"]),
            (policy.one_more("admin", 2), ["'admin' has issued", "are 2, and this platform allows 2"]),
            (policy.rotation(&token(None), None, epoch), ["'anna' never expires", "delete it"]),
            (policy.rotation(&token(Some(i64::MAX)), None, epoch), ["'anna' ends at 9999", "delete it"]),
            (policy.rotation(&token(Some(1)), life("721h"), epoch), ["overlap: '721h'", "'720h'"]),
        ];
        for (refused, texts) in table {
            let error = refused.unwrap_err().to_string();
            assert!(texts.iter().all(|text| error.contains(text)), "{error}");
        }
    }

    #[test]
    fn never_and_a_longest_lifetime_are_two_questions() {
        let hour = life("1h").unwrap();
        let long = Policy { longest_access_token: life("1h"), never_ending: Some(true), ..Policy::default() };
        long.creation(hour, None).unwrap();
        assert!(long.creation(hour, life("2h")).is_err());
        let ending = Policy { never_ending: Some(false), ..Policy::default() };
        ending.creation(hour, life("2562047h")).unwrap();
        let error = ending.creation(hour, None).unwrap_err().to_string();
        assert!(error.contains("needs a lifetime: give one"), "{error}");
    }
}
