//! A serde deserializer over the fields of the path and those of a JSON body: a request is read straight into its type,
//! and nothing of its size is built on the way.

use std::vec::IntoIter;

use serde::{
    Deserializer,
    de::{self, DeserializeSeed, IntoDeserializer, MapAccess, Visitor},
    forward_to_deserialize_any,
};
use serde_json::{Error, Value};

/// An object in JSON, and fields that come before its own.
pub(crate) struct Merged<'de> {
    body: &'de [u8],
    path: Vec<(String, String)>,
}

impl<'de> Merged<'de> {
    pub(crate) fn new(body: &'de [u8], path: Vec<(String, String)>) -> Self {
        Self { body, path }
    }
}

impl<'de> Deserializer<'de> for Merged<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut body = serde_json::Deserializer::from_slice(self.body);
        body.deserialize_map(Outer { path: self.path.into_iter(), visitor })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Outer<V> {
    path: IntoIter<(String, String)>,
    visitor: V,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Outer<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, body: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Chain { path: self.path, value: None, body })
    }
}

struct Chain<A> {
    path: IntoIter<(String, String)>,
    value: Option<String>,
    body: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Chain<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some((name, value)) = self.path.next() else { return self.body.next_key_seed(seed) };
        self.value = Some(value);
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        match self.value.take() {
            // With the errors of JSON.
            Some(value) => seed.deserialize(Value::String(value)).map_err(de::Error::custom),
            None => self.body.next_value_seed(seed),
        }
    }
}
