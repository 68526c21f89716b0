//! Validation of a JSON body before it is read: that it is JSON in which no object has a name twice (of two values, a
//! proxy and this server might each believe another), and that it is of a bounded number of values. One pass over the
//! bytes that builds nothing; how deep it may be nested, `serde_json` knows.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// Items and fields that a body may hold. The largest manifests in use have some hundreds, and a value costs as much
/// memory as a hundred characters.
pub(crate) const MOST_VALUES: usize = 10_000;
/// The longest name of a field: Kubernetes allows a tenth of it.
const LONGEST_NAME: usize = 4096;

/// What was found in it.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Items and fields.
    pub(crate) values: usize,
    /// It is an object.
    pub(crate) is_object: bool,
    /// A field of that object that stands elsewhere already.
    pub(crate) taken: Option<String>,
}

/// Reads one value through. `taken`: names that the object must not have.
pub(crate) fn check(text: &[u8], taken: &[(String, String)]) -> serde_json::Result<Found> {
    let mut found = Found::default();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    Check { found: &mut found, taken, top: true }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(found)
}

struct Check<'a> {
    found: &'a mut Found,
    taken: &'a [(String, String)],
    top: bool,
}

impl Check<'_> {
    /// For a value inside; `None`: there are too many already, and nothing is remembered of the others.
    fn inner(&mut self) -> Option<Check<'_>> {
        self.found.values = self.found.values.saturating_add(1);
        let bounded = self.found.values <= MOST_VALUES;
        bounded.then_some(Check { found: self.found, taken: &[], top: false })
    }
}

impl<'de> DeserializeSeed<'de> for Check<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        loop {
            let more = match self.inner() {
                Some(inner) => items.next_element_seed(inner)?.is_some(),
                None => items.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                self.found.values = self.found.values.saturating_sub(1);
                return Ok(());
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        self.found.is_object |= self.top;
        let mut names = HashSet::new();
        while let Some(Name(name)) = fields.next_key()? {
            if name.len() > LONGEST_NAME {
                let length = name.len();
                return Err(A::Error::custom(format_args!(
                    "the name of a field has {length} bytes, and no more than {LONGEST_NAME} are read"
                )));
            }
            if self.top && self.taken.iter().any(|(taken, _)| *taken == name) {
                self.found.taken.get_or_insert_with(|| name.to_string());
            }
            let Some(inner) = self.inner() else {
                fields.next_value::<IgnoredAny>()?;
                continue;
            };
            // With its name in a set of those of its object.
            if names.contains(&name) {
                return Err(A::Error::custom(format_args!("'{name}' stands in it twice: send it once")));
            }
            names.insert(name);
            fields.next_value_seed(inner)?;
        }
        Ok(())
    }
}

/// Borrowed, unless it holds an escape.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn values(text: &str) -> usize {
        check(text.as_bytes(), &[]).unwrap().values
    }

    #[test]
    fn as_serde_json_reads_it() {
        for text in [r#"{"a":[null,true,-1,18446744073709551615,1.5,"x\n",{"b":{},"a":[]}]}"#, "0", "\"\"", "[]"] {
            let object = serde_json::from_str::<Value>(text).unwrap().is_object();
            assert_eq!(check(text.as_bytes(), &[]).unwrap().is_object, object);
        }
        for text in ["", "{", "[1,]", "1 2", "nul", "{\"a\":1e999}", &"[".repeat(1_000)] {
            let expected = serde_json::from_str::<Value>(text).unwrap_err().to_string();
            assert_eq!(check(text.as_bytes(), &[]).unwrap_err().to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_what_serde_json_reads(text in "[\\[\\]{}:,\"\"\"ab0-9.e\\\\ -]{0,60}|[{][\"ab:0-9, {}]{0,40}[}]") {
            match (serde_json::from_str::<Value>(&text), check(text.as_bytes(), &[])) {
                (Ok(expected), Ok(found)) => prop_assert_eq!(found.is_object, expected.is_object()),
                (_, Err(error)) => prop_assert!(serde_json::from_str::<Value>(&text).is_err() || error.to_string().contains("twice")),
                (Err(error), Ok(_)) => prop_assert!(false, "{error}"),
            }
        }
    }

    #[test]
    fn no_name_comes_twice() {
        for text in [r#"{"a":1,"b":2,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"[{"x":{"a":1,"a":2}}]"#] {
            let error = check(text.as_bytes(), &[]).unwrap_err().to_string();
            assert!(error.starts_with("'a' stands in it twice: send it once at line 1"), "{error}");
        }
        assert!(check(br#"{"a":{"a":[{"a":1},{"a":1}]}}"#, &[]).is_ok());
        let long = format!(r#"{{"{}":1}}"#, "x".repeat(LONGEST_NAME + 1));
        assert!(check(long.as_bytes(), &[]).unwrap_err().to_string().contains("has 4097 bytes"));
    }

    #[test]
    fn values_are_counted_to_the_last() {
        assert_eq!((values("1"), values("[]"), values("{}"), values("[1,[2,3],{}]")), (0, 0, 0, 5));
        assert_eq!(values(r#"{"a":1,"b":{"c":[null]}}"#), 4);
        let many = |n: usize| format!("[{}0]", "0,".repeat(n - 1));
        assert_eq!((values(&many(MOST_VALUES)), values(&many(1_000_000))), (MOST_VALUES, 1_000_000));
        let fields = (0..20_000).map(|n| format!("\"{n}\":[]")).collect::<Vec<_>>().join(",");
        assert_eq!(values(&format!("{{{fields}}}")), 20_000);
    }

    #[test]
    fn what_is_taken_is_named() {
        let taken = [("id".to_owned(), String::new())];
        let of = |text: &str| check(text.as_bytes(), &taken).unwrap().taken;
        assert_eq!(of(r#"{"a":1,"id":2}"#).as_deref(), Some("id"));
        assert_eq!((of(r#"{"a":{"id":2}}"#), of(r#"[{"id":2}]"#)), (None, None));
    }
}
