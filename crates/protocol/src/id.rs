//! Public ids of tokens, as arguments.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::token::{Shape, shape};

/// The longest id: more than twice what is made today.
pub(crate) const MAX_CHARS: usize = 64;

/// The public id of a token, `tok_…`. Of its form no more is asked than that it is none of the things that are
/// mistaken for it: whether there is such a token, the store knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct TokenId(String);

/// Why a text is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// A secret; it is not repeated.
    #[error("this is the value of a token: give its id, which begins with 'tok_' and stands in the lists")]
    Value,
    /// Empty, long, or with characters that no id has.
    #[error("'{0}' is not the id of a token: give one that begins with 'tok_', as it stands in the lists")]
    Form(String),
}

impl TokenId {
    /// Reads an id.
    ///
    /// # Errors
    /// [`IdError`], which says what to give instead.
    pub fn new(text: &str) -> Result<Self, IdError> {
        if shape(text) != Shape::Opaque {
            return Err(IdError::Value);
        }
        if text.is_empty() || text.len() > MAX_CHARS || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(IdError::Form(text.chars().flat_map(char::escape_debug).take(MAX_CHARS).collect()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TokenId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token;

    #[test]
    fn ids_and_what_is_mistaken_for_them() {
        let id = token::generate_id().unwrap();
        assert_eq!(TokenId::new(&id).unwrap().as_str(), id);
        let value = token::generate(crate::TokenKind::Registration).unwrap();
        let error = TokenId::new(value.expose()).unwrap_err();
        assert_eq!(error, IdError::Value);
        assert!(!error.to_string().contains(value.expose()));
        for bad in ["", "a b", "ключ", "a\n", &"x".repeat(65)] {
            assert!(TokenId::new(bad).unwrap_err().to_string().contains("is not the id of a token"), "{bad}");
        }
    }
}
