//! A secret or a config map as YAML, read as Kubernetes would, with one kindness: manifests are about, in print, whose
//! keys lost their indentation (`name` beside `metadata` instead of in it). A key that can belong to one place only is
//! taken as if it stood there; one that could belong to two, or to none, is an error with its line.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use mlplatform_protocol::{
    Secret,
    objects::{DataKey, MAX_OBJECT, OPAQUE, ObjectName},
    yaml::{self, Entry, Mapping, Node},
};
use secrecy::SecretString;

/// What stands at the top of a manifest of either kind.
const TOP: [&str; 8] = ["apiVersion", "kind", "metadata", "type", "immutable", "data", "stringData", "binaryData"];
/// The mappings of a manifest.
const CONTAINERS: [&str; 4] = ["metadata", "data", "stringData", "binaryData"];
/// What else than the name stands in `metadata`: read by nobody here.
const METADATA: [&str; 4] = ["name", "namespace", "labels", "annotations"];

/// A secret's manifest. Values are in base64.
#[derive(Debug)]
pub(crate) struct SecretForm {
    pub(crate) name: ObjectName,
    pub(crate) kind: String,
    pub(crate) data: BTreeMap<DataKey, Secret>,
}

/// A config map's manifest.
#[derive(Debug)]
pub(crate) struct ConfigmapForm {
    pub(crate) name: ObjectName,
    pub(crate) data: BTreeMap<DataKey, String>,
    /// In base64.
    pub(crate) binary_data: BTreeMap<DataKey, String>,
}

/// What is wrong, beginning with the line where there is one. No value of a secret is in it.
type Problem = String;

/// Reads a secret.
pub(crate) fn secret(yaml: &[u8], namespace: &str) -> Result<SecretForm, Problem> {
    let root = yaml::read_bytes(yaml).map_err(|error| error.to_string())?;
    let parts = Parts::of(&root, "Secret")?;
    let name = parts.name(namespace)?;
    let kind = match parts.top("type") {
        None => OPAQUE.to_owned(),
        Some(entry) => text(entry, "type")?.to_owned(),
    };
    if let Some(entry) = parts.top("binaryData") {
        return Err(format!("line {}: a Secret has no binaryData: put values in base64 under data", entry.line));
    }
    let mut data = BTreeMap::new();
    for entry in parts.values("data")? {
        let (key, value) = encoded(entry, "data", "stringData")?;
        data.insert(key, Secret::from(SecretString::from(value)));
    }
    for entry in parts.values("stringData")? {
        // As in Kubernetes: of a key in both places, this one counts.
        let value = BASE64_STANDARD.encode(text(entry, "stringData")?);
        data.insert(data_key(entry, "stringData")?, Secret::from(SecretString::from(value)));
    }
    let size = data.iter().map(|(key, value)| key.as_str().len() + decoded_len(value.expose())).sum();
    check_size(size)?;
    Ok(SecretForm { name, kind, data })
}

/// Reads a config map.
pub(crate) fn configmap(yaml: &[u8], namespace: &str) -> Result<ConfigmapForm, Problem> {
    let root = yaml::read_bytes(yaml).map_err(|error| error.to_string())?;
    let parts = Parts::of(&root, "ConfigMap")?;
    let name = parts.name(namespace)?;
    for key in ["stringData", "type"] {
        if let Some(entry) = parts.top(key) {
            return Err(format!("line {}: a ConfigMap has no {key}: its values are text, under data", entry.line));
        }
    }
    let mut data = BTreeMap::new();
    for entry in parts.values("data")? {
        data.insert(data_key(entry, "data")?, text(entry, "data")?.to_owned());
    }
    let mut binary_data = BTreeMap::new();
    for entry in parts.values("binaryData")? {
        let (key, value) = encoded(entry, "binaryData", "data")?;
        if data.contains_key(&key) {
            let line = entry.line;
            return Err(format!("line {line}: '{key}' is in data and in binaryData: remove one of the two"));
        }
        binary_data.insert(key, value);
    }
    let texts: usize = data.iter().map(|(key, value)| key.as_str().len() + value.len()).sum();
    let bytes: usize = binary_data.iter().map(|(key, value)| key.as_str().len() + decoded_len(value)).sum();
    check_size(texts + bytes)?;
    Ok(ConfigmapForm { name, data, binary_data })
}

/// A value in base64. Long ones are folded over several lines: white space means nothing in them.
fn encoded(entry: &Entry, container: &str, plain: &str) -> Result<(DataKey, String), Problem> {
    let key = data_key(entry, container)?;
    let mut value = text(entry, container)?.to_owned();
    value.retain(|c| !c.is_ascii_whitespace());
    if BASE64_STANDARD.decode(&value).is_err() {
        let line = entry.line;
        return Err(format!(
            "line {line}: the value of {container}.{key} is not base64: encode it (printf %s value | base64), or put it as it is under {plain}"
        ));
    }
    Ok((key, value))
}

/// How many bytes whole base64 stands for.
fn decoded_len(base64: &str) -> usize {
    (base64.len() / 4 * 3).saturating_sub(base64.bytes().rev().take_while(|byte| *byte == b'=').count())
}

fn check_size(size: usize) -> Result<(), Problem> {
    if size <= MAX_OBJECT {
        return Ok(());
    }
    Err(format!("it holds {size} bytes of values: at most {MAX_OBJECT} are kept in one object"))
}

/// The keys of a manifest, each where it belongs.
struct Parts<'a> {
    root: &'a Mapping,
    /// What stands in each of the mappings, and what stands beside it and means it.
    inside: BTreeMap<&'static str, Vec<&'a Entry>>,
}

impl<'a> Parts<'a> {
    fn of(root: &'a Node, kind: &'static str) -> Result<Self, Problem> {
        let line = root.line.max(1);
        let Some(mapping) = root.as_mapping() else {
            return Err(format!(
                "line {line}: here is {}: a manifest is a mapping with kind, metadata and data",
                root.what()
            ));
        };
        let mut parts = Self { root: mapping, inside: BTreeMap::new() };
        parts.check_kind(kind)?;
        parts.sort()?;
        Ok(parts)
    }

    fn top(&self, key: &str) -> Option<&'a Entry> {
        self.root.entry(key)
    }

    fn check_kind(&self, kind: &'static str) -> Result<(), Problem> {
        let Some(entry) = self.top("kind") else { return Err(format!("kind is missing: write 'kind: {kind}'")) };
        match (entry.value.as_str().unwrap_or_default(), kind) {
            (found, _) if found == kind => {}
            ("Secret", _) => {
                return Err(format!("line {}: this is a Secret: create_secret_from_yaml takes it", entry.line));
            }
            ("ConfigMap", _) => {
                return Err(format!("line {}: this is a ConfigMap: create_configmap_from_yaml takes it", entry.line));
            }
            (found, _) => {
                let found = found.escape_debug();
                return Err(format!("line {}: kind is '{found}', and should be '{kind}'", entry.line));
            }
        }
        match self.top("apiVersion") {
            Some(entry) if entry.value.as_str() != Some("v1") => {
                Err(format!("line {}: the apiVersion of a {kind} is v1", entry.line))
            }
            _ => Ok(()),
        }
    }

    /// Puts each key where it belongs.
    fn sort(&mut self) -> Result<(), Problem> {
        for container in CONTAINERS {
            let Some(entry) = self.top(container) else { continue };
            let inside = match entry.value.as_mapping() {
                Some(mapping) => mapping.iter().collect(),
                None if entry.value.is_null() => Vec::new(),
                None => {
                    let what = entry.value.what();
                    return Err(format!("line {}: {container} is {what}, and should be a mapping", entry.line));
                }
            };
            self.inside.insert(container, inside);
        }
        // The container with nothing in it that the keys from here on seem to have been indented under.
        let mut above = None;
        for entry in self.root {
            let key = entry.key.as_str();
            if TOP.contains(&key) {
                above = CONTAINERS.into_iter().find(|c| *c == key && entry.value.is_null());
                continue;
            }
            let of_metadata = METADATA.contains(&key) && !self.has("metadata", key);
            let of_above = above.filter(|above| *above == "metadata" || entry.value.as_scalar().is_some());
            let place = match (of_above, of_metadata) {
                (Some("metadata"), _) | (None, true) => "metadata",
                (Some(above), false) => above,
                (Some(above), true) => {
                    return Err(format!(
                        "line {}: '{key}' could belong to metadata or to {above}: indent it under one of them",
                        entry.line
                    ));
                }
                (None, false) if METADATA.contains(&key) => {
                    return Err(format!(
                        "line {}: '{key}' stands in metadata already: remove one of the two",
                        entry.line
                    ));
                }
                (None, false) => {
                    return Err(format!(
                        "line {}: '{}' belongs to nothing here: indent it under metadata or data, or remove it",
                        entry.line,
                        shown(key)
                    ));
                }
            };
            if self.has(place, key) {
                return Err(format!(
                    "line {}: '{}' is in {place} already: remove one of the two",
                    entry.line,
                    shown(key)
                ));
            }
            self.inside.entry(place).or_default().push(entry);
        }
        Ok(())
    }

    fn has(&self, container: &str, key: &str) -> bool {
        self.metadata(container, key).is_some()
    }

    fn metadata(&self, container: &str, key: &str) -> Option<&'a Entry> {
        self.inside.get(container)?.iter().find(|entry| entry.key.as_str() == key).copied()
    }

    fn name(&self, namespace: &str) -> Result<ObjectName, Problem> {
        if let Some(entry) = self.metadata("metadata", "namespace").filter(|entry| !entry.value.is_null()) {
            let said = text(entry, "metadata")?;
            if said != namespace {
                let (line, said) = (entry.line, shown(said));
                return Err(format!(
                    "line {line}: the manifest is for the namespace '{said}', and the call for '{namespace}': give namespace='{said}', or change the manifest"
                ));
            }
        }
        let entry = self.metadata("metadata", "name");
        let entry = entry.ok_or("metadata.name is missing: write 'name: …' indented under 'metadata:'")?;
        let name = text(entry, "metadata")?;
        ObjectName::new(name).map_err(|problem| format!("line {}: metadata.name: {problem}", entry.line))
    }

    fn values(&self, container: &str) -> Result<&[&'a Entry], Problem> {
        Ok(self.inside.get(container).map(Vec::as_slice).unwrap_or_default())
    }
}

/// A scalar's text, as it stands there: Kubernetes insists on quotes around `5432` and `true`, but here they can mean
/// nothing else. Nothing is the empty text, as there.
fn text<'a>(entry: &'a Entry, container: &str) -> Result<&'a str, Problem> {
    match entry.value.as_scalar() {
        Some(_) if entry.value.is_null() => Ok(""),
        Some(scalar) => Ok(scalar.as_str()),
        None => {
            let (line, key, what) = (entry.line, shown(entry.key.as_str()), entry.value.what());
            Err(format!(
                "line {line}: {container}.{key} is {what}, and should be a text: for a file's content write '{key}: |'"
            ))
        }
    }
}

fn data_key(entry: &Entry, container: &str) -> Result<DataKey, Problem> {
    DataKey::new(entry.key.as_str()).map_err(|problem| format!("line {}: {container}: {problem}", entry.line))
}

fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(yaml: &str) -> BTreeMap<String, String> {
        let form = secret(yaml.as_bytes(), "default").unwrap();
        assert_eq!(form.name.as_str(), "s3");
        let decode = |value: &Secret| String::from_utf8(BASE64_STANDARD.decode(value.expose()).unwrap()).unwrap();
        form.data.iter().map(|(key, value)| (key.to_string(), decode(value))).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn well_formed() {
        let yaml = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s3\n  labels: {a: b}\ntype: Opaque\n\
                    data:\n  a: b25l\n  b: b25l\nstringData:\n  b: two\n  port: 5432\n  on: yes\n  empty:\n";
        let expected = [("a", "one"), ("b", "two"), ("port", "5432"), ("on", "yes"), ("empty", "")];
        assert_eq!(values(yaml), pairs(&expected));
        let folded = "kind: Secret\nmetadata: {name: s3}\ndata:\n  a: |\n    b2\n    5l\n";
        assert_eq!(values(folded), pairs(&[("a", "one")]));
        let none = "kind: Secret\nmetadata: {name: s3}\n";
        assert_eq!(values(none), pairs(&[]));
    }

    #[test]
    fn lost_indentation_with_one_reading() {
        for yaml in [
            "apiVersion: v1\nkind: Secret\nmetadata:\nname: s3\ntype: Opaque\ndata:\n  a: b25l\n",
            "apiVersion: v1\nkind: Secret\nmetadata:\nname: s3\nnamespace: default\ntype: Opaque\ndata:\na: b25l\n",
            "kind: Secret\nname: s3\nmetadata:\n  labels: {x: y}\ndata:\n  a: b25l\n",
            "kind: Secret\nname: s3\nstringData:\na: one\n",
            "data:\na: b25l\nkind: Secret\nmetadata:\nname: s3\n",
            "kind: Secret\nmetadata:\n  name: s3\ndata:\n\na: b25l\ntype: Opaque\n",
        ] {
            assert_eq!(values(yaml), pairs(&[("a", "one")]), "{yaml}");
        }
        let named = "kind: Secret\nmetadata:\n  name: s3\nstringData:\nname: anna\n";
        assert_eq!(values(named), pairs(&[("name", "anna")]));
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_its_line() {
        let head = "kind: Secret\nmetadata:\n  name: s3\n";
        let table = [
            ("- a\n".to_owned(), "line 1: here is a list"),
            ("metadata: {name: s3}\n".to_owned(), "kind is missing"),
            (
                "kind: ConfigMap\nmetadata: {name: s3}\n".to_owned(),
                "line 1: this is a ConfigMap: create_configmap_from_yaml",
            ),
            ("kind: Pod\n".to_owned(), "line 1: kind is 'Pod', and should be 'Secret'"),
            (format!("apiVersion: v2\n{head}"), "line 1: the apiVersion of a Secret is v1"),
            ("kind: Secret\ndata: {}\n".to_owned(), "metadata.name is missing"),
            (
                "kind: Secret\nmetadata:\ndata:\nname: s3\n".to_owned(),
                "line 4: 'name' could belong to metadata or to data",
            ),
            (format!("{head}name: s4\n"), "line 4: 'name' stands in metadata already"),
            (format!("{head}colour: red\n"), "line 4: 'colour' belongs to nothing here"),
            (format!("{head}data:\n  a: b25l\nb: b25l\n"), "line 6: 'b' belongs to nothing here"),
            (format!("{head}data: []\n"), "line 4: data is a list"),
            (format!("{head}binaryData: {{a: b25l}}\n"), "line 4: a Secret has no binaryData"),
            (format!("{head}data:\n  a: 'hunter 2!'\n"), "line 5: the value of data.a is not base64"),
            (format!("{head}data:\n  a: [x]\n"), "line 5: data.a is a list, and should be a text"),
            (format!("{head}data:\n  'a b': b25l\n"), "line 5: data: 'a b' is not a key"),
            (format!("{head}data:\n  a: b25l\n  a: b25l\n"), "line 6"),
            ("kind: Secret\nmetadata:\n  name: S3\n".to_owned(), "line 3: metadata.name: 'S3' is not a name"),
            (
                "kind: Secret\nmetadata:\n  name: s3\n  namespace: x\n".to_owned(),
                "line 4: the manifest is for the namespace 'x'",
            ),
        ];
        for (yaml, why) in table {
            let problem = secret(yaml.as_bytes(), "default").unwrap_err();
            assert!(problem.contains(why) && !problem.contains("hunter"), "{yaml}: {problem}");
        }
        let large = format!("{head}stringData:\n  a: {}\n  b: {0}\n", "x".repeat(MAX_OBJECT / 2));
        assert!(secret(large.as_bytes(), "default").unwrap_err().contains("at most 1048576"));
    }

    #[test]
    fn config_maps() {
        let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\nname: conf\ndata:\n  a: 010\n  log4j.properties: |\n    x=1\n    y=2\n";
        let form = configmap(yaml.as_bytes(), "default").unwrap();
        assert_eq!(form.name.as_str(), "conf");
        let data: Vec<_> = form.data.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(data, [("a", "010"), ("log4j.properties", "x=1\ny=2\n")]);
        assert!(form.binary_data.is_empty());
        let head = "kind: ConfigMap\nmetadata: {name: conf}\n";
        for more in ["binaryData: {key.jks: /u3+ 7Q==}\n", "data:\n  a: b\nbinaryData:\nkey.jks: |\n  /u3+\n  7Q==\n"] {
            let form = configmap(format!("{head}{more}").as_bytes(), "default").unwrap();
            let data: Vec<_> = form.binary_data.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            assert_eq!(data, [("key.jks", "/u3+7Q==")], "{more}");
        }
        let large = "QUFB".repeat(MAX_OBJECT / 3 + 1);
        let problem = configmap(format!("{head}binaryData: {{a: {large}}}\n").as_bytes(), "default").unwrap_err();
        assert!(problem.contains("at most 1048576"), "{problem}");
        for (more, why) in [
            ("stringData: {a: b}\n", "line 3: a ConfigMap has no stringData"),
            ("type: Opaque\n", "line 3: a ConfigMap has no type"),
            ("binaryData: [a]\n", "line 3: binaryData is a list"),
            ("binaryData: {a: 'no!'}\n", "line 3: the value of binaryData.a is not base64"),
            ("data: {a: b}\nbinaryData: {a: b25l}\n", "line 4: 'a' is in data and in binaryData"),
        ] {
            let problem = configmap(format!("{head}{more}").as_bytes(), "default").unwrap_err();
            assert!(problem.contains(why), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (secret(&bytes, "default"), configmap(&bytes, "default"));
        }

        #[test]
        fn any_keys_are_sorted_or_refused(
            keys in proptest::collection::vec("(kind: Secret|metadata:|data:|stringData:|name: a|  name: a|a: b25l|  a: b25l|x: [1])", 0..8)
        ) {
            let _ = secret(keys.join("\n").as_bytes(), "default");
        }
    }
}
