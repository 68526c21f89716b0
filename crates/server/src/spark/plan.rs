//! A SparkApplication, read for running: what to start, with what, how often.

use serde_json::{Map, Value};

use super::quantity::{memory_mib, millicores};

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) main: Option<String>,
    pub(crate) main_class: Option<String>,
    pub(crate) arguments: Vec<String>,
    pub(crate) deps: Deps,
    /// Of `sparkConf`, then of `hadoopConf` under the names that Spark gives it.
    pub(crate) conf: Vec<(String, String)>,
    pub(crate) driver: Pod,
    pub(crate) executor: Pod,
    pub(crate) instances: u64,
    pub(crate) restart: Restart,
    /// Seconds after its end until the job is deleted.
    pub(crate) time_to_live: Option<i64>,
}

/// What comes along.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deps {
    pub(crate) jars: Vec<String>,
    pub(crate) files: Vec<String>,
    pub(crate) py_files: Vec<String>,
    pub(crate) archives: Vec<String>,
    pub(crate) packages: Vec<String>,
    pub(crate) exclude_packages: Vec<String>,
    pub(crate) repositories: Vec<String>,
}

/// A driver, or an executor.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) cores: u64,
    pub(crate) millicores: u64,
    pub(crate) memory_mib: u64,
    pub(crate) java_options: Option<String>,
    pub(crate) environment: Vec<Variable>,
}

/// Where a part of the environment comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Variable {
    Plain {
        name: String,
        value: String,
    },
    /// One key of an object.
    Key {
        name: String,
        object: Object,
        key: String,
    },
    /// All keys of an object, each behind the prefix.
    All {
        prefix: String,
        object: Object,
    },
}

/// A secret or a config map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) kind: ObjectKind,
    pub(crate) name: String,
    /// Its absence is no error.
    pub(crate) optional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    Secret,
    ConfigMap,
}

impl ObjectKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

/// When a run is followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    Never,
    Always,
    OnFailure,
}

/// How often a run is repeated, and after how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Restart {
    pub(crate) policy: RestartPolicy,
    pub(crate) failure_retries: i64,
    pub(crate) failure_interval: i64,
    pub(crate) submission_retries: i64,
    pub(crate) submission_interval: i64,
}

/// What the operator waits when the manifest does not say.
const INTERVAL: i64 = 5;

impl Restart {
    /// Seconds until the next run; `None`: there is none.
    pub(crate) fn after_run(self, success: bool, runs: i64) -> Option<i64> {
        match self.policy {
            RestartPolicy::Never => None,
            RestartPolicy::Always if success => Some(0),
            RestartPolicy::Always => Some(self.failure_interval),
            RestartPolicy::OnFailure => (!success && runs <= self.failure_retries).then_some(self.failure_interval),
        }
    }

    /// The same after a start that failed.
    pub(crate) fn after_submission(self, attempts: i64) -> Option<i64> {
        match self.policy {
            RestartPolicy::Never => None,
            RestartPolicy::Always => Some(self.submission_interval),
            RestartPolicy::OnFailure => (attempts <= self.submission_retries).then_some(self.submission_interval),
        }
    }
}

impl Plan {
    /// Reads a manifest that is valid as such; what only matters here is checked here.
    pub(crate) fn read(manifest: &Value) -> Result<Self, String> {
        let metadata = At { value: manifest.get("metadata"), path: "metadata" };
        let spec = At { value: manifest.get("spec"), path: "spec" };
        let name = metadata.text("name")?.ok_or("metadata.name: it is missing: set manifest.job_name")?;
        let deps = spec.child("deps", "spec.deps");
        let mut conf = spec.texts_by_key("sparkConf")?;
        let hadoop = spec.texts_by_key("hadoopConf")?;
        conf.extend(hadoop.into_iter().map(|(key, value)| (format!("spark.hadoop.{key}"), value)));
        let executor = spec.child("executor", "spec.executor");
        let instances = match executor.text("instances")? {
            None => 1,
            Some(text) => text.parse().map_err(|_| executor.wrong("instances", &text, "a whole number"))?,
        };
        Ok(Self {
            name,
            namespace: metadata.text("namespace")?.unwrap_or_else(|| "default".to_owned()),
            main: spec.text("mainApplicationFile")?,
            main_class: spec.text("mainClass")?,
            arguments: spec.texts("arguments")?,
            deps: Deps {
                jars: deps.texts("jars")?,
                files: deps.texts("files")?,
                py_files: deps.texts("pyFiles")?,
                archives: deps.texts("archives")?,
                packages: deps.texts("packages")?,
                exclude_packages: deps.texts("excludePackages")?,
                repositories: deps.texts("repositories")?,
            },
            conf,
            driver: pod(&spec.child("driver", "spec.driver"))?,
            executor: pod(&executor)?,
            instances,
            restart: restart(&spec.child("restartPolicy", "spec.restartPolicy"))?,
            time_to_live: spec.number("timeToLiveSeconds")?,
        })
    }

    /// What it takes of a cluster, in thousandths of a core.
    pub(crate) fn millicores(&self) -> u64 {
        self.driver.millicores.saturating_add(self.executor.millicores.saturating_mul(self.instances))
    }

    /// What it takes of a cluster, in MiB.
    pub(crate) fn memory_mib(&self) -> u64 {
        self.driver.memory_mib.saturating_add(self.executor.memory_mib.saturating_mul(self.instances))
    }

    /// The files that come along, under the settings of Spark that list them; each with the field that names it.
    pub(crate) fn lists(&self) -> [(&'static str, Vec<(String, &str)>); 4] {
        let deps = &self.deps;
        [
            ("spark.jars", "spec.deps.jars", &deps.jars),
            ("spark.files", "spec.deps.files", &deps.files),
            ("spark.submit.pyFiles", "spec.deps.pyFiles", &deps.py_files),
            ("spark.archives", "spec.deps.archives", &deps.archives),
        ]
        .map(|(key, field, uris)| {
            let set = self.conf.iter().filter(|(name, _)| name == key).flat_map(|(_, value)| value.split(','));
            let set = set.map(str::trim).filter(|uri| !uri.is_empty());
            let set = set.map(|uri| (format!("spec.sparkConf.{key}"), uri));
            (key, set.chain(uris.iter().map(|uri| (field.to_owned(), uri.as_str()))).collect())
        })
    }

    /// The files that it names, each with its field.
    pub(crate) fn files(&self) -> impl Iterator<Item = (String, &str)> {
        let main = self.main.iter().map(|uri| ("spec.mainApplicationFile".to_owned(), uri.as_str()));
        main.chain(self.lists().into_iter().flat_map(|(_, uris)| uris))
    }

    /// The objects that it names, each once.
    pub(crate) fn objects(&self) -> Vec<&Object> {
        let mut found: Vec<&Object> = Vec::new();
        for variable in self.driver.environment.iter().chain(&self.executor.environment) {
            match variable {
                Variable::Key { object, .. } | Variable::All { object, .. } if !found.contains(&object) => {
                    found.push(object);
                }
                _ => {}
            }
        }
        found
    }
}

fn pod(at: &At<'_>) -> Result<Pod, String> {
    let cores = match at.text("cores")? {
        None => 1,
        Some(text) => {
            let cores = text.parse().ok().filter(|cores| *cores > 0);
            cores.ok_or_else(|| at.wrong("cores", &text, "a whole number from 1"))?
        }
    };
    let millis = match at.text("coreRequest")? {
        None => cores * 1000,
        Some(text) => millicores(&text)
            .ok_or_else(|| at.wrong("coreRequest", &text, "a number of cores such as 1, 0.5 or 500m"))?,
    };
    let memory = |key: &str, default: u64| match at.text(key)? {
        None => Ok(default),
        Some(text) => memory_mib(&text).ok_or_else(|| at.wrong(key, &text, "an amount of memory such as 512m or 2g")),
    };
    let memory_mib = memory("memory", 1024)?.saturating_add(memory("memoryOverhead", 0)?);
    Ok(Pod {
        cores,
        millicores: millis,
        memory_mib,
        java_options: at.text("javaOptions")?,
        environment: environment(at)?,
    })
}

/// All the ways in which a pod is given an environment; a later one wins.
fn environment(at: &At<'_>) -> Result<Vec<Variable>, String> {
    let mut found = Vec::new();
    for source in at.list("envFrom")? {
        let source = At { value: Some(source), path: at.path };
        let prefix = source.text("prefix")?.unwrap_or_default();
        for (key, kind) in [("secretRef", ObjectKind::Secret), ("configMapRef", ObjectKind::ConfigMap)] {
            if let Some(object) = source.object(key, kind)? {
                found.push(Variable::All { prefix: prefix.clone(), object });
            }
        }
    }
    for (name, value) in at.texts_by_key("envVars")? {
        found.push(Variable::Plain { name, value });
    }
    for (name, reference) in at.map("envSecretKeyRefs")?.into_iter().flatten() {
        let reference = At { value: Some(reference), path: at.path };
        let (secret, key) = (reference.text("name")?.unwrap_or_default(), reference.text("key")?.unwrap_or_default());
        let object = Object { kind: ObjectKind::Secret, name: secret, optional: false };
        found.push(Variable::Key { name: name.clone(), object, key });
    }
    for variable in at.list("env")? {
        let variable = At { value: Some(variable), path: at.path };
        let name = variable.text("name")?.ok_or_else(|| format!("{}.env: an entry has no name", at.path))?;
        let from = variable.child("valueFrom", at.path);
        if let Some(value) = variable.text("value")? {
            found.push(Variable::Plain { name, value });
            continue;
        }
        for (key, kind) in [("secretKeyRef", ObjectKind::Secret), ("configMapKeyRef", ObjectKind::ConfigMap)] {
            if let Some(object) = from.object(key, kind)? {
                let key = from.child(key, at.path).text("key")?.unwrap_or_default();
                found.push(Variable::Key { name: name.clone(), object, key });
            }
        }
    }
    Ok(found)
}

fn restart(at: &At<'_>) -> Result<Restart, String> {
    let policy = match at.text("type")?.as_deref() {
        None | Some("Never") => RestartPolicy::Never,
        Some("Always") => RestartPolicy::Always,
        Some("OnFailure") => RestartPolicy::OnFailure,
        Some(other) => return Err(at.wrong("type", other, "one of Never, Always, OnFailure")),
    };
    Ok(Restart {
        policy,
        failure_retries: at.number("onFailureRetries")?.unwrap_or(0),
        failure_interval: at.number("onFailureRetryInterval")?.unwrap_or(INTERVAL),
        submission_retries: at.number("onSubmissionFailureRetries")?.unwrap_or(0),
        submission_interval: at.number("onSubmissionFailureRetryInterval")?.unwrap_or(INTERVAL),
    })
}

/// A place of the manifest. What is null is absent.
#[derive(Clone, Copy)]
struct At<'a> {
    value: Option<&'a Value>,
    path: &'a str,
}

impl<'a> At<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.value?.get(key).filter(|value| !value.is_null())
    }

    fn child<'b>(&self, key: &str, path: &'b str) -> At<'b>
    where
        'a: 'b,
    {
        At { value: self.get(key), path }
    }

    fn wrong(&self, key: &str, given: &str, rule: &str) -> String {
        format!("{}.{key}: '{given}' is not {rule}", self.path)
    }

    /// A text; what YAML reads as a number or a truth value is taken as it is written.
    fn text(&self, key: &str) -> Result<Option<String>, String> {
        self.get(key)
            .map(|value| plain(value).ok_or_else(|| format!("{}.{key}: it is not a text", self.path)))
            .transpose()
    }

    fn number(&self, key: &str) -> Result<Option<i64>, String> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let number = text.parse().ok().filter(|number| *number >= 0);
        number.map(Some).ok_or_else(|| self.wrong(key, &text, "a whole number from 0"))
    }

    fn list(&self, key: &str) -> Result<&'a [Value], String> {
        match self.get(key) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(format!("{}.{key}: it is not a list", self.path)),
        }
    }

    fn map(&self, key: &str) -> Result<Option<&'a Map<String, Value>>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(format!("{}.{key}: it is not a map", self.path)),
        }
    }

    fn texts(&self, key: &str) -> Result<Vec<String>, String> {
        let text = |value| plain(value).ok_or_else(|| format!("{}.{key}: an entry is not a text", self.path));
        self.list(key)?.iter().map(text).collect()
    }

    fn texts_by_key(&self, key: &str) -> Result<Vec<(String, String)>, String> {
        let text = |(name, value): (&String, &Value)| {
            let value = plain(value).ok_or_else(|| format!("{}.{key}.{name}: it is not a text", self.path))?;
            Ok((name.clone(), value))
        };
        self.map(key)?.into_iter().flatten().map(text).collect()
    }

    fn object(&self, key: &str, kind: ObjectKind) -> Result<Option<Object>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let reference = At { value: Some(value), path: self.path };
        let name = reference.text("name")?.ok_or_else(|| format!("{}: a {key} has no name", self.path))?;
        let optional = reference.text("optional")?.as_deref() == Some("true");
        Ok(Some(Object { kind, name, optional }))
    }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest(spec: Value) -> Value {
        json!({"metadata": {"name": "pi-1"}, "spec": spec})
    }

    #[test]
    fn what_is_asked_of_a_cluster() {
        let plan = Plan::read(&manifest(json!({
            "type": "Python",
            "driver": {"cores": 1, "memory": "512m"},
            "executor": {"instances": 2, "cores": "3", "coreRequest": "500m", "memory": "1g", "memoryOverhead": "256m"},
        })));
        let plan = plan.unwrap();
        assert_eq!((plan.millicores(), plan.memory_mib(), plan.executor.cores), (2000, 512 + 2 * 1280, 3));
    }

    #[test]
    fn environments() {
        let plan = Plan::read(&manifest(json!({
            "type": "Python",
            "driver": {
                "envFrom": [{"secretRef": {"name": "s"}}, {"prefix": "P_", "configMapRef": {"name": "c", "optional": true}}],
                "env": [
                    {"name": "A", "value": 1},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                ],
                "envVars": {"C": "x"},
            },
        })));
        let secret = Object { kind: ObjectKind::Secret, name: "s".to_owned(), optional: false };
        let map = Object { kind: ObjectKind::ConfigMap, name: "c".to_owned(), optional: true };
        let plan = plan.unwrap();
        assert_eq!(
            plan.driver.environment,
            [
                Variable::All { prefix: String::new(), object: secret.clone() },
                Variable::All { prefix: "P_".to_owned(), object: map.clone() },
                Variable::Plain { name: "C".to_owned(), value: "x".to_owned() },
                Variable::Plain { name: "A".to_owned(), value: "1".to_owned() },
                Variable::Key { name: "B".to_owned(), object: secret.clone(), key: "k".to_owned() },
            ]
        );
        assert_eq!(plan.objects(), [&secret, &map]);
    }

    #[test]
    fn errors_name_the_place() {
        for (spec, text) in [
            (json!({"type": "Python", "driver": {"memory": "lots"}}), "spec.driver.memory: 'lots' is not an amount"),
            (json!({"type": "Python", "executor": {"instances": "two"}}), "spec.executor.instances: 'two'"),
            (json!({"type": "Python", "restartPolicy": {"type": "Maybe"}}), "spec.restartPolicy.type: 'Maybe'"),
            (json!({"type": "Python", "deps": {"jars": "a.jar"}}), "spec.deps.jars: it is not a list"),
        ] {
            let error = Plan::read(&manifest(spec)).unwrap_err();
            assert!(error.starts_with(text), "{error}");
        }
    }

    #[test]
    fn restarts() {
        let restart = |policy, failure_retries| Restart {
            policy,
            failure_retries,
            failure_interval: 7,
            submission_retries: 1,
            submission_interval: 9,
        };
        assert_eq!(restart(RestartPolicy::Never, 3).after_run(false, 1), None);
        assert_eq!(restart(RestartPolicy::Always, 0).after_run(true, 5), Some(0));
        assert_eq!(restart(RestartPolicy::Always, 0).after_run(false, 5), Some(7));
        let on_failure = restart(RestartPolicy::OnFailure, 2);
        assert_eq!((on_failure.after_run(false, 2), on_failure.after_run(false, 3)), (Some(7), None));
        assert_eq!(on_failure.after_run(true, 1), None);
        assert_eq!((on_failure.after_submission(1), on_failure.after_submission(2)), (Some(9), None));
    }
}
