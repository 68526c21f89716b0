//! Names of tokens: visible and distinguishable Unicode text.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use unicode_normalization::UnicodeNormalization;

use crate::token;

/// The longest name, in characters.
pub const MAX_CHARS: usize = 64;

/// Ranges of characters that show nothing or turn the text around them: control, zero-width, bidirectional,
/// filler, variation selector and tag characters. Two names must not look the same and be different.
const INVISIBLE: [(char, char); 20] = [
    ('\u{0}', '\u{1f}'),
    ('\u{7f}', '\u{9f}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// A name of a token: 1 to 64 characters in Unicode's composed form (NFC), all visible, no space at the edges.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct TokenName(String);

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a token's name must not be empty: give it 1 to {MAX_CHARS} characters")]
    Empty,
    /// The value was pasted where the name belongs. It would be stored, listed and logged for everybody to read.
    #[error("this is the value of a token, or holds one: give the token's name")]
    Value,
    /// Too many characters.
    #[error("a token's name has at most {MAX_CHARS} characters; this one has {0}")]
    TooLong(usize),
    /// Space at an edge.
    #[error("the token's name '{0}' must not begin or end with a space: remove it")]
    EdgeSpace(String),
    /// A character that cannot be seen.
    #[error(
        "the token's name '{name}' holds the character U+{:04X}, which cannot be seen or changes the text around it: remove it",
        u32::from(*character)
    )]
    Invisible {
        /// The name, escaped.
        name: String,
        /// The first such character.
        character: char,
    },
}

impl TokenName {
    /// Reads a name. Composed and decomposed spellings of the same letters are the same name.
    ///
    /// # Errors
    /// [`NameError`], which says the rule and what to change.
    pub fn new(text: &str) -> Result<Self, NameError> {
        // Composition never makes more than the characters it was given, so a huge text is refused before it is copied.
        let given = text.chars().count();
        if given > MAX_CHARS * 8 {
            return Err(NameError::TooLong(given));
        }
        let name: String = text.nfc().collect();
        if token::holds_token(&name) {
            return Err(NameError::Value);
        }
        let shown = || name.escape_debug().to_string();
        let chars = name.chars().count();
        if chars == 0 {
            return Err(NameError::Empty);
        }
        if chars > MAX_CHARS {
            return Err(NameError::TooLong(chars));
        }
        if let Some(character) = name.chars().find(|c| is_invisible(*c)) {
            return Err(NameError::Invisible { name: shown(), character });
        }
        if name.starts_with(' ') || name.ends_with(' ') {
            return Err(NameError::EdgeSpace(shown()));
        }
        Ok(Self(name))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The plain space is the only white space that a name may hold.
fn is_invisible(c: char) -> bool {
    (c.is_whitespace() && c != ' ') || INVISIBLE.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TokenName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn good_names() {
        for name in ["a", "anna", "CI / nightly", "Анна", "名前", "<script>", "🙂", "..", "a\\b'c\"d"] {
            assert_eq!(TokenName::new(name).unwrap().as_str(), name);
        }
        assert!(TokenName::new(&"🙂".repeat(64)).is_ok());
        assert_eq!(TokenName::new("e\u{301}").unwrap().as_str(), "é");
    }

    #[test]
    fn bad_names_say_what_to_change() {
        let long = "x".repeat(65);
        let table = [
            ("", "must not be empty"),
            (long.as_str(), "has 65"),
            (" a", "begin or end with a space"),
            ("a ", "begin or end with a space"),
            ("a\nb", "U+000A"),
            ("a\u{200b}b", "U+200B"),
            ("a\u{202e}b", "U+202E"),
            ("a\u{a0}b", "U+00A0"),
            ("a\u{7f}b", "U+007F"),
        ];
        let token = token::generate(token::TokenKind::Access).unwrap();
        for text in [token.expose().to_owned(), format!(" {}\n", token.expose()), format!("x {}", token.expose())] {
            let message = TokenName::new(&text).unwrap_err().to_string();
            assert!(message.contains("value of a token") && !message.contains(token.expose()), "{message}");
        }
        for (name, why) in table {
            let message = TokenName::new(name).unwrap_err().to_string();
            assert!(message.contains(why), "{name:?}: {message}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_stable(text in "\\PC{1,70}") {
            if let Ok(name) = TokenName::new(&text) {
                prop_assert_eq!(TokenName::new(name.as_str()).unwrap(), name);
            }
        }
    }
}
