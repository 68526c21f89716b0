//! The contents of the secrets and config maps that a manifest names.

use std::{collections::BTreeMap, fmt};

use crate::plan::Object;

/// The value under one key of an object.
#[derive(Clone, PartialEq, Eq)]
pub struct Value {
    /// In the clear.
    pub bytes: Vec<u8>,
    /// It stood under `binaryData` of a config map: as in Kubernetes, no job has it in its environment.
    pub is_binary: bool,
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, is_binary: false }
    }
}

/// Without its bytes, which may be a secret.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value").field("is_binary", &self.is_binary).finish_non_exhaustive()
    }
}

/// The keys of an object, with their values.
pub type ObjectData = BTreeMap<String, Value>;

/// What was found of each object that a manifest names.
#[derive(Clone, Debug, Default)]
pub struct Values(Vec<(Object, Option<ObjectData>)>);

impl Values {
    /// Adds an object; `None`: there is none of that name.
    pub fn insert(&mut self, object: Object, data: Option<ObjectData>) {
        self.0.push((object, data));
    }

    /// The contents of an object; `None`: it does not exist.
    #[must_use]
    pub fn get(&self, object: &Object) -> Option<&ObjectData> {
        self.0.iter().find(|(known, _)| known == object).and_then(|(_, data)| data.as_ref())
    }

    /// The first object that does not exist and is not optional.
    #[must_use]
    pub fn missing(&self) -> Option<&Object> {
        self.0.iter().find(|(object, data)| data.is_none() && !object.optional).map(|(object, _)| object)
    }

    /// All objects that exist.
    pub fn iter(&self) -> impl Iterator<Item = (&Object, &ObjectData)> {
        self.0.iter().filter_map(|(object, data)| Some((object, data.as_ref()?)))
    }
}
