//! A manifest as a YAML tree: reading, writing and changing it.

use super::{
    model::{API_VERSION, Deps, EXAMPLE, KIND, Part, RESTART_TYPES, RestartPolicy, SPARK_VERSION, SPEC_TYPES},
    schema,
};
use crate::yaml::{self, Kind, Mapping, Node, Scalar, Value, YamlError};

/// A job's manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest(Mapping);

/// Why a text is no manifest, or a change cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is not read.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// It is a list or a scalar.
    #[error("line {line}: a manifest is a mapping with apiVersion, kind, metadata and spec, and this is {found}")]
    NotAMapping {
        /// Where it begins.
        line: u32,
        /// What it is.
        found: &'static str,
    },
    /// A field on the way to what shall be changed is something else.
    #[error("{path}{}: this is {found}, and {expected} was expected: mend the manifest first", at_line(*line))]
    Shape {
        /// Which field.
        path: String,
        /// Where it stands; 0: it was not read.
        line: u32,
        /// What it is.
        found: &'static str,
        /// What it ought to be.
        expected: &'static str,
    },
    /// A value that is given for a change breaks a rule.
    #[error("{0}")]
    Value(String),
}

fn at_line(line: u32) -> String {
    if line == 0 { String::new() } else { format!(" (line {line})") }
}

/// A key of the driver's or executor's settings that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// The key, with the path to it.
    pub path: String,
    /// The known key that looks most like it.
    pub nearest: Option<&'static str>,
}

impl Manifest {
    /// Reads a manifest. Whether it is one that the operator takes, [`Manifest::validate`] tells.
    ///
    /// # Errors
    /// When it is no YAML, or no mapping.
    pub fn read(text: &str) -> Result<Self, ManifestError> {
        Self::from_node(yaml::read(text)?)
    }

    /// Reads a manifest from a file's bytes.
    ///
    /// # Errors
    /// As [`Manifest::read`], and when they are not UTF-8.
    pub fn read_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        Self::from_node(yaml::read_bytes(bytes)?)
    }

    /// Takes a tree for a manifest.
    ///
    /// # Errors
    /// When it is no mapping.
    pub fn from_node(node: Node) -> Result<Self, ManifestError> {
        let (line, found) = (node.line, node.what());
        match node.value {
            Value::Mapping(root) => Ok(Self(root)),
            _ => Err(ManifestError::NotAMapping { line, found }),
        }
    }

    /// A manifest that runs as it is: Spark's own example, small enough for a laptop.
    #[must_use]
    pub fn default_for(job_name: &str) -> Self {
        let text = |text: &str| Node::text(text);
        let pod = |more: Vec<(&str, Node)>| {
            let mut fields = more;
            // No coreLimit: more `cores` than that would be refused by Kubernetes, and whoever sets cores forgets it.
            fields.extend([("cores", Node::int(1)), ("memory", text("512m"))]);
            mapping(fields)
        };
        let labels = || ("labels", mapping(vec![("version", text(SPARK_VERSION))]));
        let spec = vec![
            ("type", text("Python")),
            ("pythonVersion", text("3")),
            ("mode", text("cluster")),
            ("image", text(&format!("apache/spark:{SPARK_VERSION}"))),
            ("imagePullPolicy", text("IfNotPresent")),
            ("mainApplicationFile", text(EXAMPLE)),
            ("sparkVersion", text(SPARK_VERSION)),
            ("restartPolicy", mapping(vec![("type", text("Never"))])),
            ("driver", pod(vec![labels(), ("serviceAccount", text("spark"))])),
            ("executor", pod(vec![labels(), ("instances", Node::int(1))])),
        ];
        let metadata = vec![("name", text(job_name)), ("namespace", text("default"))];
        let mut root = Mapping::default();
        root.set("apiVersion", text(API_VERSION));
        root.set("kind", text(KIND));
        root.set("metadata", mapping(metadata));
        root.set("spec", mapping(spec));
        Self(root)
    }

    /// A name for a job that was given none: unlike any other of the cluster.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn new_job_name() -> Result<String, getrandom::Error> {
        let mut random = [0; 4];
        getrandom::fill(&mut random)?;
        Ok(format!("spark-job-{:08x}", u32::from_be_bytes(random)))
    }

    /// The whole tree.
    #[must_use]
    pub const fn root(&self) -> &Mapping {
        &self.0
    }

    /// As YAML.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        yaml::write(&Node::made(Value::Mapping(self.0.clone())))
    }

    /// The value at the end of a path of keys.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        let (first, rest) = path.split_first()?;
        self.0.get(first)?.at(rest)
    }

    /// The scalar at the end of that path, as text; `None`: nothing is there, or null, or a collection.
    #[must_use]
    pub fn text_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.as_scalar().filter(|scalar| scalar.kind() != Kind::Null).map(Scalar::as_str)
    }

    /// `metadata.name`
    #[must_use]
    pub fn job_name(&self) -> Option<&str> {
        self.text_at(&["metadata", "name"])
    }

    /// Sets the scalar under a section (`metadata`, `spec`), or removes it.
    ///
    /// # Errors
    /// When the section is no mapping.
    pub fn set_text(&mut self, section: &str, key: &str, value: Option<&str>) -> Result<(), ManifestError> {
        let section = self.section(&[section])?;
        match value {
            Some(value) => section.set(key, Node::text(value)),
            None => drop(section.remove(key)),
        }
        Ok(())
    }

    /// Sets `spec.arguments`: what the program is given.
    ///
    /// # Errors
    /// When the manifest's section is no mapping.
    pub fn set_arguments(&mut self, arguments: &[String]) -> Result<(), ManifestError> {
        self.section(&["spec"])?.set("arguments", Node::sequence(arguments.iter().map(Node::text).collect()));
        Ok(())
    }

    /// Sets `spec.type`, or removes it.
    ///
    /// # Errors
    /// When it is none of [`SPEC_TYPES`].
    pub fn set_spec_type(&mut self, value: Option<&str>) -> Result<(), ManifestError> {
        if let Some(value) = value.filter(|value| !SPEC_TYPES.contains(value)) {
            return Err(ManifestError::Value(format!(
                "'{}' is not a type of application: it is one of {}",
                value.escape_debug(),
                SPEC_TYPES.join(", ")
            )));
        }
        self.set_text("spec", "type", value)
    }

    /// Merges settings of the driver or the executors. A key that is given replaces what is there, null removes it,
    /// the others stay. Returns the keys that are not known; they are kept all the same.
    ///
    /// # Errors
    /// When the manifest's section is no mapping.
    pub fn set_settings(&mut self, part: Part, settings: Mapping) -> Result<Vec<UnknownKey>, ManifestError> {
        let known = schema::settings(part);
        let mut unknown = Vec::new();
        let section = self.section(&["spec", part.key()])?;
        for entry in &settings {
            let key = entry.key.as_str();
            let field = known.iter().flat_map(|fields| fields.iter()).find(|field| field.name == key);
            if field.is_none() {
                let path = format!("spec.{}.{key}", part.key());
                unknown.push(UnknownKey { path, nearest: schema::nearest(key, known) });
            }
            if entry.value.is_null() {
                section.remove(key);
                continue;
            }
            let mut value = entry.value.clone();
            match field.map(|field| &field.ty) {
                Some(schema::Type::Cpu | schema::Type::MemoryLimit | schema::Type::Text) => make_text(&mut value),
                Some(schema::Type::Env) => make_env_text(&mut value),
                Some(schema::Type::TextMap | schema::Type::Labels) => make_values_text(&mut value),
                _ => {}
            }
            section.set(key, value);
        }
        Ok(unknown)
    }

    /// Merges into `spec.sparkConf`: a key that is given is set, null removes it, the others stay. Values become texts.
    ///
    /// # Errors
    /// When the manifest's section is no mapping, or a value is a collection.
    pub fn set_spark_conf(&mut self, conf: &Mapping) -> Result<(), ManifestError> {
        if let Some(entry) = conf.iter().find(|entry| entry.value.as_scalar().is_none()) {
            return Err(ManifestError::Value(format!(
                "the value of '{}' must be a text, a number or a truth value, not {}",
                entry.key.as_str().escape_debug(),
                entry.value.what()
            )));
        }
        let section = self.section(&["spec", "sparkConf"])?;
        for entry in conf {
            if entry.value.is_null() {
                section.remove(entry.key.as_str());
            } else {
                let mut value = entry.value.clone();
                make_text(&mut value);
                section.set(entry.key.as_str(), value);
            }
        }
        Ok(())
    }

    /// Replaces a list under `spec.deps`.
    ///
    /// # Errors
    /// When the manifest's section is no mapping.
    pub fn set_deps(&mut self, deps: Deps, items: &[String]) -> Result<(), ManifestError> {
        self.section(&["spec", "deps"])?.set(deps.key(), Node::sequence(items.iter().map(Node::text).collect()));
        Ok(())
    }

    /// Appends to a list under `spec.deps` what is not in it.
    ///
    /// # Errors
    /// When the manifest's section is no mapping, or the list no list.
    pub fn add_deps(&mut self, deps: Deps, items: &[String]) -> Result<(), ManifestError> {
        let list = self.list(&["spec", "deps"], deps.key())?;
        for item in items {
            if !list.iter().any(|there| there.as_scalar().is_some_and(|scalar| scalar.as_str() == item)) {
                list.push(Node::text(item));
            }
        }
        Ok(())
    }

    /// Adds environment variables. One whose name is there already takes its place.
    ///
    /// # Errors
    /// When an entry has no name, or the manifest's section or list is something else.
    pub fn add_env(&mut self, part: Part, entries: Vec<Node>) -> Result<(), ManifestError> {
        if let Some(entry) = entries.iter().find(|entry| entry.get("name").and_then(Node::as_str).is_none()) {
            return Err(ManifestError::Value(format!(
                "each variable is a mapping such as {{\"name\": \"MODE\", \"value\": \"fast\"}}; one {}",
                if entry.as_mapping().is_some() { "has no text as its name" } else { "is something else" }
            )));
        }
        let list = self.list(&["spec", part.key()], "env")?;
        for mut entry in entries {
            if let Some(value) = entry.as_mapping_mut().and_then(|entry| entry.get_mut("value")) {
                make_text(value);
            }
            let name = entry.get("name").and_then(Node::as_str).map(str::to_owned);
            match list.iter_mut().find(|there| there.get("name").and_then(Node::as_str) == name.as_deref()) {
                Some(there) => *there = entry,
                None => list.push(entry),
            }
        }
        Ok(())
    }

    /// Adds secrets and config maps whose every key becomes an environment variable. What is there already stays once.
    ///
    /// # Errors
    /// When an entry names neither, or the manifest's section or list is something else.
    pub fn add_env_from(&mut self, part: Part, entries: Vec<Node>) -> Result<(), ManifestError> {
        let named = |entry: &Node| {
            ["secretRef", "configMapRef"].iter().any(|key| entry.at(&[key, "name"]).and_then(Node::as_str).is_some())
        };
        if !entries.iter().all(named) {
            return Err(ManifestError::Value(
                "each source is a mapping such as {\"secretRef\": {\"name\": \"my-secret\"}} or \
                 {\"configMapRef\": {\"name\": \"my-config\"}}"
                    .to_owned(),
            ));
        }
        let list = self.list(&["spec", part.key()], "envFrom")?;
        for entry in entries {
            if !list.contains(&entry) {
                list.push(entry);
            }
        }
        Ok(())
    }

    /// Sets `spec.restartPolicy` anew. `Never` has no numbers.
    ///
    /// # Errors
    /// When the type is unknown, or a number out of its range.
    pub fn set_restart_policy(&mut self, policy: RestartPolicy<'_>) -> Result<(), ManifestError> {
        if !RESTART_TYPES.contains(&policy.kind) {
            return Err(ManifestError::Value(format!(
                "'{}' is not a restart policy: it is one of {}",
                policy.kind.escape_debug(),
                RESTART_TYPES.join(", ")
            )));
        }
        let numbers = [
            ("onFailureRetries", "on_failure_retries", policy.on_failure_retries, 0),
            ("onFailureRetryInterval", "on_failure_retry_interval", policy.on_failure_retry_interval, 1),
            ("onSubmissionFailureRetries", "on_submission_failure_retries", policy.on_submission_failure_retries, 0),
            (
                "onSubmissionFailureRetryInterval",
                "on_submission_failure_retry_interval",
                policy.on_submission_failure_retry_interval,
                1,
            ),
        ];
        if let Some((_, name, number, least)) = numbers.iter().find(|(_, _, number, least)| number < least) {
            return Err(ManifestError::Value(format!("{name} must be at least {least}, not {number}")));
        }
        let mut fields = vec![("type", Node::text(policy.kind))];
        if policy.kind != "Never" {
            fields.extend(numbers.iter().map(|(key, _, number, _)| (*key, Node::int(*number))));
        }
        self.section(&["spec"])?.set("restartPolicy", mapping(fields));
        Ok(())
    }

    /// The mapping at that path, made where it is missing.
    fn section(&mut self, path: &[&str]) -> Result<&mut Mapping, ManifestError> {
        if let Some((path, node)) = self.misshapen(path, |node| node.as_mapping().is_some()) {
            let (line, found) = (node.line, node.what());
            return Err(ManifestError::Shape { path, line, found, expected: "a mapping" });
        }
        let missing = ManifestError::Value("this section cannot be made".to_owned());
        path.iter().try_fold(&mut self.0, |mapping, key| mapping.mapping_mut(key)).ok_or(missing)
    }

    /// The list under that key of that section, made where it is missing.
    fn list(&mut self, path: &[&str], key: &str) -> Result<&mut Vec<Node>, ManifestError> {
        let section = self.section(path)?;
        if let Some(node) = section.get(key).filter(|node| !node.is_null() && node.as_sequence().is_none()) {
            let (line, found) = (node.line, node.what());
            let path = format!("{}.{key}", path.join("."));
            return Err(ManifestError::Shape { path, line, found, expected: "a list" });
        }
        section.sequence_mut(key).ok_or_else(|| ManifestError::Value("this list cannot be made".to_owned()))
    }

    /// The first value on that path that is there and not what it must be.
    fn misshapen(&self, path: &[&str], fits: impl Fn(&Node) -> bool) -> Option<(String, &Node)> {
        (1..=path.len()).find_map(|length| {
            let so_far = path.get(..length)?;
            let node = self.at(so_far).filter(|node| !node.is_null() && !fits(node))?;
            Some((so_far.join("."), node))
        })
    }
}

fn mapping(fields: Vec<(&str, Node)>) -> Node {
    let mut mapping = Mapping::default();
    for (key, value) in fields {
        mapping.set(key, value);
    }
    Node::made(Value::Mapping(mapping))
}

/// What the CRD types as a text becomes one when a program gives a number or a truth value.
fn make_text(node: &mut Node) {
    if let Value::Scalar(scalar) = &node.value
        && !matches!(scalar.kind(), Kind::Str | Kind::Null)
    {
        node.value = Value::Scalar(Scalar::text(scalar.as_str()));
    }
}

fn make_values_text(node: &mut Node) {
    let keys: Vec<String> =
        node.as_mapping().map(|mapping| mapping.keys().map(str::to_owned).collect()).unwrap_or_default();
    for key in keys {
        if let Some(value) = node.as_mapping_mut().and_then(|mapping| mapping.get_mut(&key)) {
            make_text(value);
        }
    }
}

fn make_env_text(node: &mut Node) {
    if let Value::Sequence(items) = &mut node.value {
        for value in items.iter_mut().filter_map(|item| item.as_mapping_mut()?.get_mut("value")) {
            make_text(value);
        }
    }
}
