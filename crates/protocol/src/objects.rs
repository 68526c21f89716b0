//! Messages for secrets and config maps, defined by this project, because the vendor's routes are not public. The fields are
//! those of Kubernetes.

use std::{borrow::Borrow, collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::token::Secret;

/// The namespace that every cluster has, and that is meant when none is named.
pub const DEFAULT_NAMESPACE: &str = "default";
/// The type of a secret that says none.
pub const OPAQUE: &str = "Opaque";
/// What stands in place of a secret's value.
pub const MASK: &str = "********";
/// The longest name, and the longest key, in characters.
pub const MAX_NAME: usize = 253;
/// The most that the values of one object hold together, in bytes.
pub const MAX_OBJECT: usize = 1 << 20;

/// The name of an object: a DNS-1123 subdomain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ObjectName(String);

/// The key of a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct DataKey(String);

/// A name or a key that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// A name.
    #[error(
        "'{0}' is not a name of a Kubernetes object: give 1 to {MAX_NAME} lower-case letters, digits, '-' and '.', with a letter or digit at each end and beside each '.'"
    )]
    Name(String),
    /// A key.
    #[error("'{0}' is not a key: give 1 to {MAX_NAME} letters, digits, '-', '_' and '.', and not '.' or '..' alone")]
    Key(String),
}

impl ObjectName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`ObjectError::Name`], with the rule.
    pub fn new(text: &str) -> Result<Self, ObjectError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let label = |label: &str| {
            label.starts_with(plain) && label.ends_with(plain) && label.chars().all(|c| plain(c) || c == '-')
        };
        let good = text.len() <= MAX_NAME && text.split('.').all(label);
        if good { Ok(Self(text.to_owned())) } else { Err(ObjectError::Name(shown(text))) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl DataKey {
    /// Reads a key.
    ///
    /// # Errors
    /// [`ObjectError::Key`], with the rule.
    pub fn new(text: &str) -> Result<Self, ObjectError> {
        let good = (1..=MAX_NAME).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
            && !matches!(text, "." | "..");
        if good { Ok(Self(text.to_owned())) } else { Err(ObjectError::Key(shown(text))) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is wrong is repeated, but not a page of it.
fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

impl Borrow<str> for DataKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

macro_rules! texts {
    ($($text:ident)*) => {
        $(
            impl fmt::Display for $text {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.0)
                }
            }

            impl<'de> Deserialize<'de> for $text {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    Self::new(&String::deserialize(deserializer)?).map_err(de::Error::custom)
                }
            }
        )*
    };
}

texts! { ObjectName DataKey }

fn default_namespace() -> String {
    DEFAULT_NAMESPACE.to_owned()
}

fn opaque() -> String {
    OPAQUE.to_owned()
}

/// `create_secret_from_yaml`: what the YAML says, read by the client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateSecretRequest {
    /// As the list of clusters gives it.
    pub cluster_id: String,
    /// Must be there.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Unique in its namespace.
    pub name: ObjectName,
    /// Such as [`OPAQUE`].
    #[serde(rename = "type", default = "opaque")]
    pub kind: String,
    /// Keys, and their values in base64.
    #[serde(default)]
    pub data: BTreeMap<DataKey, Secret>,
}

/// `create_configmap_from_yaml`: what the YAML says, read by the client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateConfigmapRequest {
    /// As the list of clusters gives it.
    pub cluster_id: String,
    /// Must be there.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Unique in its namespace.
    pub name: ObjectName,
    /// Keys and their values.
    #[serde(default)]
    pub data: BTreeMap<DataKey, String>,
    /// Other keys, and their values in base64.
    #[serde(default, rename = "binaryData", skip_serializing_if = "BTreeMap::is_empty")]
    pub binary_data: BTreeMap<DataKey, String>,
}

/// `list_secrets` and `list_configmaps`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ListObjectsRequest {
    /// As the list of clusters gives it.
    pub cluster_id: String,
    /// Must be there.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// See [`crate::PageRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = crate::page::MAX_LIMIT)))]
    pub limit: Option<u32>,
    /// See [`crate::PageRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// `get_secret_detail` and `delete_secret`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SecretRequest {
    /// As the list of clusters gives it.
    pub cluster_id: String,
    /// As the list gives it.
    pub secret_name: String,
    /// Must be there.
    #[serde(default = "default_namespace")]
    pub namespace: String,
}

/// `get_configmap_detail` and `delete_configmap`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConfigmapRequest {
    /// As the list of clusters gives it.
    pub cluster_id: String,
    /// As the list gives it.
    pub configmap_name: String,
    /// Must be there.
    #[serde(default = "default_namespace")]
    pub namespace: String,
}

/// What may be known of a secret: all but its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct SecretInfo {
    /// Unique in its namespace.
    pub name: String,
    /// Such as [`OPAQUE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it is.
    pub namespace: String,
    /// Its keys, each with a mask.
    pub data: BTreeMap<String, String>,
}

/// A config map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ConfigmapInfo {
    /// Keys and their values.
    pub data: BTreeMap<String, String>,
    /// Other keys, and their values in base64.
    #[serde(default, rename = "binaryData", skip_serializing_if = "BTreeMap::is_empty")]
    pub binary_data: BTreeMap<String, String>,
    /// Unique in its namespace.
    pub name: String,
    /// Where it is.
    pub namespace: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn names() {
        let long = "a".repeat(MAX_NAME + 1);
        for good in ["a", "0", "s3-credentials", "my.secret-1.x", &long[1..]] {
            assert_eq!(ObjectName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "A", "a_b", "-a", "a-", "a.", ".a", "a..b", "a.-b", "..", "a b", "имя", "a/b", &long] {
            let message = ObjectName::new(bad).unwrap_err().to_string();
            assert!(message.contains("lower-case letters") && message.len() < 400, "{bad}");
        }
    }

    #[test]
    fn keys() {
        for good in ["AWS_SECRET_ACCESS_KEY", ".dockerconfigjson", "tls.crt", "a-b", "1", "..."] {
            assert_eq!(DataKey::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a b", "a/b", "ключ", "a\n"] {
            assert!(DataKey::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request_shows_no_value() {
        let request: CreateSecretRequest =
            serde_json::from_value(json!({"cluster_id": "c", "name": "s", "data": {"k": "aHVudGVyMg=="}})).unwrap();
        assert_eq!((request.namespace.as_str(), request.kind.as_str()), ("default", "Opaque"));
        assert!(!format!("{request:?}").contains("aHVudGVyMg"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_or_refused(text in "\\PC{0,300}") {
            let _ = (ObjectName::new(&text), DataKey::new(&text));
        }
    }
}
