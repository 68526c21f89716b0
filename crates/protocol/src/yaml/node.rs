//! The nodes of the tree.

use std::collections::HashMap;

use super::{
    limits::MAX_DEPTH,
    scalar::{Kind, Scalar},
};

/// A value and the line it began at.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it stood, from 1; 0: it was made, not read.
    pub line: u32,
}

/// A scalar or a collection.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text, number, truth value or null.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and their values, in order.
    Mapping(Mapping),
}

/// Keys and their values, in the order in which they were written. No key is there twice.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    entries: Vec<Entry>,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key. Keys are found by their text: `1` and `"1"` are the same.
    pub key: Scalar,
    /// Where the key stood, from 1; 0: it was made, not read.
    pub line: u32,
    /// The value.
    pub value: Node,
}

impl Node {
    /// A text, whatever it looks like.
    pub fn text(text: impl Into<String>) -> Self {
        Self::made(Value::Scalar(Scalar::text(text)))
    }

    /// A whole number.
    #[must_use]
    pub fn int(number: i64) -> Self {
        Self::made(Value::Scalar(Scalar::plain(number.to_string())))
    }

    /// `true` or `false`.
    #[must_use]
    pub fn bool(truth: bool) -> Self {
        Self::made(Value::Scalar(Scalar::plain(if truth { "true" } else { "false" })))
    }

    /// Null.
    #[must_use]
    pub fn null() -> Self {
        Self::made(Value::Scalar(Scalar::plain("null")))
    }

    /// A list.
    #[must_use]
    pub const fn sequence(items: Vec<Self>) -> Self {
        Self::made(Value::Sequence(items))
    }

    /// An empty mapping.
    #[must_use]
    pub fn mapping() -> Self {
        Self::made(Value::Mapping(Mapping::default()))
    }

    /// A value that was made, not read.
    #[must_use]
    pub const fn made(value: Value) -> Self {
        Self { value, line: 0 }
    }

    /// The scalar, if it is one.
    #[must_use]
    pub const fn as_scalar(&self) -> Option<&Scalar> {
        if let Value::Scalar(scalar) = &self.value { Some(scalar) } else { None }
    }

    /// The text, if it is a scalar that means a text to every reader, or means different things to different ones.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        self.as_scalar().filter(|scalar| scalar.kind() == Kind::Str).map(Scalar::as_str)
    }

    /// Whether it is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.as_scalar().is_some_and(|scalar| scalar.kind() == Kind::Null)
    }

    /// The items, if it is a list.
    #[must_use]
    pub const fn as_sequence(&self) -> Option<&Vec<Self>> {
        if let Value::Sequence(items) = &self.value { Some(items) } else { None }
    }

    /// The entries, if it is a mapping.
    #[must_use]
    pub const fn as_mapping(&self) -> Option<&Mapping> {
        if let Value::Mapping(mapping) = &self.value { Some(mapping) } else { None }
    }

    /// The entries, if it is a mapping.
    pub const fn as_mapping_mut(&mut self) -> Option<&mut Mapping> {
        if let Value::Mapping(mapping) = &mut self.value { Some(mapping) } else { None }
    }

    /// The value under that key, if it is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_mapping()?.get(key)
    }

    /// The value at the end of that path of keys.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// What it is, for messages: `a list`, `a number`, …
    #[must_use]
    pub fn what(&self) -> &'static str {
        match &self.value {
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
            Value::Scalar(scalar) => match scalar.kind() {
                Kind::Null => "nothing",
                Kind::Bool(_) => "a truth value",
                Kind::Int | Kind::Float => "a number",
                Kind::Str => "a text",
            },
        }
    }

    /// As JSON, in order. JSON has no `.inf` and no number beyond 64 bits: those become their text. Where the spelling
    /// of numbers must survive, send the YAML text.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Sequence(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Value::Mapping(mapping) => Json::Object(
                mapping.iter().map(|entry| (entry.key.as_str().to_owned(), entry.value.to_json())).collect(),
            ),
            Value::Scalar(scalar) => {
                let number = match scalar.kind() {
                    Kind::Null => return Json::Null,
                    Kind::Bool(truth) => return Json::Bool(truth),
                    Kind::Str => None,
                    Kind::Int => scalar.as_i128().and_then(serde_json::Number::from_i128),
                    Kind::Float => scalar.as_f64().and_then(serde_json::Number::from_f64),
                };
                number.map_or_else(|| Json::String(scalar.as_str().to_owned()), Json::Number)
            }
        }
    }

    /// From JSON, in order. `None`: it is nested deeper than [`MAX_DEPTH`].
    #[must_use]
    pub fn from_json(json: &serde_json::Value) -> Option<Self> {
        Self::from_json_within(json, MAX_DEPTH)
    }

    fn from_json_within(json: &serde_json::Value, depth: usize) -> Option<Self> {
        use serde_json::Value as Json;
        let deeper = depth.checked_sub(1)?;
        Some(match json {
            Json::Null => Self::null(),
            Json::Bool(truth) => Self::bool(*truth),
            Json::Number(number) => Self::made(Value::Scalar(number_scalar(&number.to_string()))),
            Json::String(text) => Self::text(text),
            Json::Array(items) => {
                Self::sequence(items.iter().map(|item| Self::from_json_within(item, deeper)).collect::<Option<_>>()?)
            }
            Json::Object(members) => {
                let mut mapping = Mapping::default();
                for (key, value) in members {
                    // The keys of an object differ already.
                    mapping.entries.push(Entry {
                        key: Scalar::text(key),
                        line: 0,
                        value: Self::from_json_within(value, deeper)?,
                    });
                }
                Self::made(Value::Mapping(mapping))
            }
        })
    }
}

/// A number as programs write it (`1e16`, `1.5e-7`), spelled so that every reader of YAML takes it for one.
#[must_use]
pub fn number_scalar(text: &str) -> Scalar {
    let lower = text.to_ascii_lowercase();
    let Some((mantissa, exponent)) = lower.split_once('e') else { return Scalar::plain(lower) };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['+', '-']) { "" } else { "+" };
    Scalar::plain(format!("{mantissa}{point}e{sign}{exponent}"))
}

/// Lines do not matter.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// The order does not matter, nor how keys were quoted.
impl PartialEq for Mapping {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Entry, &Entry)| a.key.as_str() == b.key.as_str();
        if self.len() != other.len() {
            return false;
        }
        if self.iter().zip(other.iter()).all(same) {
            return self.iter().zip(other.iter()).all(|(a, b)| a.value == b.value);
        }
        let theirs: HashMap<&str, &Node> = other.iter().map(|entry| (entry.key.as_str(), &entry.value)).collect();
        self.iter().all(|entry| theirs.get(entry.key.as_str()).is_some_and(|value| **value == entry.value))
    }
}

impl Mapping {
    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.entries.iter()
    }

    /// The keys in their order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.key.as_str())
    }

    /// The entry of that key.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key.as_str() == key)
    }

    /// The value of that key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The value of that key.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries.iter_mut().find(|entry| entry.key.as_str() == key).map(|entry| &mut entry.value)
    }

    /// Sets the value of that key: where the key stands, else at the end.
    pub fn set(&mut self, key: &str, value: Node) {
        match self.get_mut(key) {
            Some(place) => *place = value,
            None => self.push_unchecked(Entry { key: Scalar::text(key), line: 0, value }),
        }
    }

    /// Removes a key and returns its value; the others keep their order.
    pub fn remove(&mut self, key: &str) -> Option<Node> {
        let index = self.entries.iter().position(|entry| entry.key.as_str() == key)?;
        Some(self.entries.remove(index).value)
    }

    /// The mapping under that key: made at the end if the key is missing or null. `None`: something else is there.
    pub fn mapping_mut(&mut self, key: &str) -> Option<&mut Self> {
        if self.get(key).is_none_or(Node::is_null) {
            self.set(key, Node::mapping());
        }
        self.get_mut(key)?.as_mapping_mut()
    }

    /// The list under that key: made at the end if the key is missing or null. `None`: something else is there.
    pub fn sequence_mut(&mut self, key: &str) -> Option<&mut Vec<Node>> {
        if self.get(key).is_none_or(Node::is_null) {
            self.set(key, Node::sequence(Vec::new()));
        }
        match self.get_mut(key) {
            Some(Node { value: Value::Sequence(items), .. }) => Some(items),
            _ => None,
        }
    }

    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// Puts another entry of the same key into its place.
    pub(super) fn replace_at(&mut self, index: usize, entry: Entry) {
        if let Some(place) = self.entries.get_mut(index) {
            *place = entry;
        }
    }

    /// Appends an entry whose key is known to be new.
    pub(super) fn push_unchecked(&mut self, entry: Entry) {
        self.entries.push(entry);
    }
}

impl<'a> IntoIterator for &'a Mapping {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
