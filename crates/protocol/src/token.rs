//! The format of tokens.
//!
//! `mlpx_` (registration), `mlpr_` (access, also called refresh) or `mlpa_` (session); then 32 base62
//! characters from the operating system's generator (190 bits, well over the 128 that RFC 6749 §10.10
//! asks for); then 6 base62 characters of the CRC-32 of everything before them. As a regular expression:
//! [`PATTERN`].
//!
//! The checksum is for secret scanners and typing mistakes. It is no proof of authenticity.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The published pattern that finds every token of ours in a text, for scanners of repositories and logs.
pub const PATTERN: &str = "mlp[xra]_[0-9A-Za-z]{38}";

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PREFIX_LEN: usize = 5;
const RANDOM_LEN: usize = 32;
const CHECK_LEN: usize = 6;
const TOKEN_LEN: usize = PREFIX_LEN + RANDOM_LEN + CHECK_LEN;
/// The longest secret that is read. Ours are short; another platform's may be signed documents.
pub const LONGEST: usize = 8192;
const ID_PREFIX: &str = "tok_";
/// What stands in place of a token.
const MASK: &str = "***";
/// How all of them begin, up to the letter of their kind.
const PREFIX: &str = "mlp";
/// The letter and the line below it, also as a URL may have it.
const KINDS: [&str; 9] = ["x_", "r_", "a_", "x%5F", "r%5F", "a%5F", "x%5f", "r%5f", "a%5f"];
/// 119 bits: an id need not be secret, only never the same twice.
const ID_LEN: usize = 20;

/// A secret that travels in a message: serialised as it is, never shown by `Debug`, wiped when dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// White space around a pasted value is stripped; the rest is taken as it is.
    #[must_use]
    pub fn from_pasted(text: &str) -> Self {
        Self(SecretString::from(text.trim()))
    }

    /// The value itself. Call it where the value leaves for the wire, the hash or the user, and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(masked)")
    }
}

impl From<SecretString> for Secret {
    fn from(value: SecretString) -> Self {
        Self(value)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(String::deserialize(deserializer)?.into()))
    }
}

/// A token that somebody presents, for `#[serde(deserialize_with = …)]`: at most [`LONGEST`] bytes.
///
/// # Errors
/// When it is longer; the text is not repeated.
pub fn presented<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    let secret = Secret::deserialize(deserializer)?;
    let length = secret.expose().len();
    if length > LONGEST {
        return Err(de::Error::custom(format_args!("it has {length} bytes, and no token has more than {LONGEST}")));
    }
    Ok(secret)
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// Redeemed once for an access token.
    Registration,
    /// The long-lived one, which the documents call access or refresh token.
    Access,
    /// Minutes; made from an access token, sent with every call.
    Session,
}

impl TokenKind {
    /// Every kind there is.
    pub const ALL: [Self; 3] = [Self::Registration, Self::Access, Self::Session];

    /// The five characters it begins with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Registration => "mlpx_",
            Self::Access => "mlpr_",
            Self::Session => "mlpa_",
        }
    }

    /// As a person would call it.
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Registration => "registration token",
            Self::Access => "access token",
            Self::Session => "session token",
        }
    }
}

/// What can be said of a text by looking at it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One of our formats, with a right checksum.
    Whole(TokenKind),
    /// It begins like one of ours, but its length, an unexpected character or the checksum says that it was
    /// cut or mistyped: there is no need to ask the server.
    Damaged(TokenKind),
    /// Not our format; another platform's token, perhaps. Pass it on as it is.
    Opaque,
}

/// Looks at a text, sends nothing.
#[must_use]
pub fn shape(text: &str) -> Shape {
    let Some(kind) = TokenKind::ALL.into_iter().find(|kind| text.starts_with(kind.prefix())) else {
        return Shape::Opaque;
    };
    let whole = text.len() == TOKEN_LEN
        && text.is_ascii()
        && text.split_at_checked(TOKEN_LEN - CHECK_LEN).is_some_and(|(body, check)| checksum(body) == check);
    if whole { Shape::Whole(kind) } else { Shape::Damaged(kind) }
}

/// The text with `***` in place of what follows a token's prefix: for whatever is shown to somebody. A token that was
/// pasted in the wrong place must not reach a log, an exception or a saved notebook.
#[must_use]
pub fn mask(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(PREFIX) {
        out.push_str(before);
        out.push_str(PREFIX);
        rest = after;
        if let Some((kind, tail)) = KINDS.iter().find_map(|kind| after.strip_prefix(kind).map(|tail| (kind, tail))) {
            out.push_str(kind);
            let secret = tail.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
            if secret.len() < tail.len() {
                out.push_str(MASK);
            }
            rest = secret;
        }
    }
    out.push_str(rest);
    out
}

/// Whether a token, or the best part of one, stands anywhere in the text.
#[must_use]
pub fn holds_token(text: &str) -> bool {
    TokenKind::ALL.iter().any(|kind| {
        text.split(kind.prefix())
            .skip(1)
            .any(|rest| rest.bytes().take_while(u8::is_ascii_alphanumeric).count() >= RANDOM_LEN)
    })
}

/// A new token.
///
/// # Errors
/// When the operating system's generator fails; there is no other source.
pub fn generate(kind: TokenKind) -> Result<Secret, getrandom::Error> {
    let mut text = String::with_capacity(TOKEN_LEN);
    text.push_str(kind.prefix());
    push_random(&mut text, RANDOM_LEN)?;
    let check = checksum(&text);
    text.push_str(&check);
    Ok(Secret(text.into()))
}

/// A new public id, unrelated to any secret: what lists, logs, audit and errors show.
///
/// # Errors
/// As [`generate`].
pub fn generate_id() -> Result<String, getrandom::Error> {
    let mut text = String::with_capacity(ID_PREFIX.len() + ID_LEN);
    text.push_str(ID_PREFIX);
    push_random(&mut text, ID_LEN)?;
    Ok(text)
}

/// `count` characters, each of the 62 equally likely: bytes from 248 up, the part of 256 that 62 does not
/// divide, are thrown away.
fn push_random(text: &mut String, count: usize) -> Result<(), getrandom::Error> {
    const FAIR: u8 = 248;
    let mut left = count;
    let mut bytes = [0_u8; RANDOM_LEN];
    while left > 0 {
        getrandom::fill(&mut bytes)?;
        for digit in bytes.iter().filter(|byte| **byte < FAIR).take(left).map(|byte| digit(u64::from(*byte))) {
            text.push(digit);
            left -= 1;
        }
    }
    Ok(())
}

fn checksum(body: &str) -> String {
    let mut rest = u64::from(crc32fast::hash(body.as_bytes()));
    let mut digits = [' '; CHECK_LEN];
    for place in digits.iter_mut().rev() {
        *place = digit(rest);
        rest /= 62;
    }
    digits.iter().collect()
}

/// The base62 digit of `value` modulo 62.
fn digit(value: u64) -> char {
    let place = usize::try_from(value % 62).unwrap_or_default();
    ALPHABET.get(place).map_or('0', |byte| char::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_made_token_is_whole_and_of_its_kind() {
        for kind in TokenKind::ALL {
            let token = generate(kind).unwrap();
            assert_eq!(shape(token.expose()), Shape::Whole(kind));
            assert_eq!(token.expose().len(), TOKEN_LEN);
        }
    }

    /// Scanners and other implementations rely on these very characters.
    #[test]
    fn the_checksum_is_pinned() {
        let body = "mlpr_0123456789ABCDEFGHIJKLMNOPQRSTUV";
        assert_eq!(checksum(body), "3eM83Q");
        assert_eq!(shape(&format!("{body}3eM83Q")), Shape::Whole(TokenKind::Access));
    }

    #[test]
    fn debug_shows_nothing() {
        let token = generate(TokenKind::Access).unwrap();
        assert_eq!(format!("{token:?}"), "Secret(masked)");
    }

    #[test]
    fn tokens_are_masked_and_found() {
        let token = "mlpr_0123456789ABCDEFGHIJKLMNOPQRSTUV3eM83Q";
        assert_eq!(mask(&format!("/v1_0/tokens/{token}/x")), "/v1_0/tokens/mlpr_***/x");
        assert_eq!(mask(&format!("mlp{token}mlpa_{token}")), "mlpmlpr_***_mlpr_***");
        assert_eq!(mask(&format!("?q={}&x", token.replace('_', "%5F"))), "?q=mlpr%5F***&x");
        assert_eq!(mask("mlp, mlpx_ and mlpz_0"), "mlp, mlpx_ and mlpz_0");
        for text in [token.to_owned(), format!("Anna {token}\n"), format!("mlpx_{token}"), token[..37].to_owned()] {
            assert!(holds_token(&text), "{text}");
        }
        assert!(!holds_token("mlpr_x") && !holds_token("mlpr_ rotation") && !holds_token("anna"));
    }

    #[test]
    fn ids_do_not_repeat() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| generate_id().unwrap()).collect();
        assert_eq!(ids.len(), 1000);
    }

    proptest! {
        /// One wrong character is always seen: CRC-32 finds every burst of up to 32 bits.
        #[test]
        fn one_changed_character_is_seen(place in PREFIX_LEN..TOKEN_LEN, new in 0_u64..62) {
            let token = generate(TokenKind::Registration).unwrap();
            let mut text: Vec<char> = token.expose().chars().collect();
            prop_assume!(text[place] != digit(new));
            text[place] = digit(new);
            let text: String = text.into_iter().collect();
            prop_assert_eq!(shape(&text), Shape::Damaged(TokenKind::Registration));
        }

        #[test]
        fn any_text_has_a_shape(text in "\\PC*") {
            let _ = shape(&text);
        }

        #[test]
        fn any_text_behind_a_prefix_has_a_shape(text in "mlp[xra]_\\PC{0,50}") {
            prop_assert_ne!(shape(&text), Shape::Opaque);
        }
    }
}
