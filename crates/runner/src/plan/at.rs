//! A cursor over a manifest: typed reads of its fields, with errors that name the field.

use serde_json::{Map, Value};

use super::objects::{Object, ObjectKind};

/// A position in the manifest. What is null is absent.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) value: Option<&'a Value>,
    pub(super) path: &'a str,
}

impl<'a> At<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.value?.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn child<'b>(&self, key: &str, path: &'b str) -> At<'b>
    where
        'a: 'b,
    {
        At { value: self.get(key), path }
    }

    pub(super) fn wrong(&self, key: &str, given: &str, rule: &str) -> String {
        format!("{}.{key}: '{given}' is not {rule}", self.path)
    }

    /// A text; what YAML reads as a number or a truth value is taken as it is written.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, String> {
        self.get(key)
            .map(|value| plain(value).ok_or_else(|| format!("{}.{key}: it is not a text", self.path)))
            .transpose()
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<i64>, String> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let number = text.parse().ok().filter(|number| *number >= 0);
        number.map(Some).ok_or_else(|| self.wrong(key, &text, "a whole number from 0"))
    }

    pub(super) fn integer(&self, key: &str) -> Result<Option<i64>, String> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| self.wrong(key, &text, "a whole number"))
    }

    /// The texts that are not empty.
    pub(super) fn filled(&self, key: &str) -> Result<Vec<String>, String> {
        Ok(self.texts(key)?.into_iter().filter(|text| !text.is_empty()).collect())
    }

    pub(super) fn list(&self, key: &str) -> Result<&'a [Value], String> {
        match self.get(key) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(format!("{}.{key}: it is not a list", self.path)),
        }
    }

    pub(super) fn map(&self, key: &str) -> Result<Option<&'a Map<String, Value>>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(format!("{}.{key}: it is not a map", self.path)),
        }
    }

    pub(super) fn texts(&self, key: &str) -> Result<Vec<String>, String> {
        let text = |value| plain(value).ok_or_else(|| format!("{}.{key}: an entry is not a text", self.path));
        self.list(key)?.iter().map(text).collect()
    }

    pub(super) fn texts_by_key(&self, key: &str) -> Result<Vec<(String, String)>, String> {
        let text = |(name, value): (&String, &Value)| {
            let value = plain(value).ok_or_else(|| format!("{}.{key}.{name}: it is not a text", self.path))?;
            Ok((name.clone(), value))
        };
        // A null in a mapping is an absent key, as the API server drops it.
        self.map(key)?.into_iter().flatten().filter(|(_, value)| !value.is_null()).map(text).collect()
    }

    pub(super) fn object(&self, key: &str, kind: ObjectKind) -> Result<Option<Object>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let reference = At { value: Some(value), path: self.path };
        let name = reference.text("name")?.ok_or_else(|| format!("{}: a {key} has no name", self.path))?;
        let optional = reference.text("optional")?.as_deref() == Some("true");
        Ok(Some(Object { kind, name, optional }))
    }
}

pub(super) fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// The container of a pod template that Spark fills: the first.
pub(super) fn container<'a>(at: &At<'a>) -> At<'a> {
    let template = at.get("template").and_then(|template| template.pointer("/spec/containers/0"));
    At { value: template, path: at.path }
}
