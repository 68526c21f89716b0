//! A serde deserializer over the texts of a path or a query: a number's field reads its text as a number, and says so
//! when it is none. (Forms have no types; JSON's deserializer would take `"10"` for a string, and nothing else.)

use serde::{
    Deserializer,
    de::{self, IntoDeserializer, value::MapDeserializer},
    forward_to_deserialize_any,
};
use serde_json::Error;

/// Fields with their texts.
pub(crate) struct Fields<I>(I);

impl<I: Iterator<Item = (String, String)>> Fields<I> {
    pub(crate) fn new(pairs: I) -> Self {
        Self(pairs)
    }
}

impl<'de, I: Iterator<Item = (String, String)>> Deserializer<'de> for Fields<I> {
    type Error = Error;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(MapDeserializer::new(self.0.map(|(name, text)| (name, Text(text)))))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Text(String);

impl IntoDeserializer<'_, Error> for Text {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! numbers {
    ($($deserialize:ident $context:ident;)*) => {
        $(fn $deserialize<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let number = self.0.parse().map_err(|_| {
                de::Error::custom(format_args!("'{}' is not a whole number of that field's size", self.0))
            })?;
            visitor.$context(number)
        })*
    };
}

impl<'de> Deserializer<'de> for Text {
    type Error = Error;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.0)
    }

    fn deserialize_option<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: de::Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.into_deserializer().deserialize_enum(name, variants, visitor)
    }

    fn deserialize_bool<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.as_str() {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            other => Err(de::Error::custom(format_args!("'{other}' is neither true nor false"))),
        }
    }

    numbers! {
        deserialize_i32 visit_i32;
        deserialize_i64 visit_i64;
        deserialize_u16 visit_u16;
        deserialize_u32 visit_u32;
        deserialize_u64 visit_u64;
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}
