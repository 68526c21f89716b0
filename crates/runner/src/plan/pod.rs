//! The pod of a driver or of an executor: resources, environment, mounts.

use serde_json::Value;

use super::{
    at::{At, container},
    objects::{Object, ObjectKind},
    variable::Variable,
    volumes::{self, Mount},
};
use crate::quantity::{memory_mib, millicores};

/// A driver, or an executor.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Threads that compute.
    pub cores: u64,
    /// What is taken of the cluster's capacity, in thousandths of a core.
    pub millicores: u64,
    /// With its overhead.
    pub memory_mib: u64,
    /// Options of its Java.
    pub java_options: Option<String>,
    /// In their order: a later one wins.
    pub environment: Vec<Variable>,
    /// In their order.
    pub mounts: Vec<Mount>,
}

/// What a pod's settings are read with.
pub(super) struct App<'a> {
    pub(super) spec: &'a At<'a>,
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    /// Of `sparkConf`: what no field says.
    pub(super) conf: &'a [(String, String)],
}

impl App<'_> {
    pub(super) fn driver(&self) -> Result<Pod, String> {
        self.pod("driver", &self.spec.child("driver", "spec.driver"), &format!("{}-driver", self.name))
    }

    pub(super) fn executor(&self) -> Result<Pod, String> {
        self.pod("executor", &self.spec.child("executor", "spec.executor"), &format!("{}-exec-1", self.name))
    }

    fn pod(&self, part: &str, at: &At<'_>, pod_name: &str) -> Result<Pod, String> {
        let set = |key: &str| {
            let key = format!("spark.{part}.{key}");
            self.conf.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone())
        };
        let cores = match at.text("cores")?.or_else(|| set("cores")) {
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
        let memory = |key: &str, default: u64| match at.text(key)?.or_else(|| set(key)) {
            None => Ok(default),
            // An overhead of none: the only amount of memory that may be.
            Some(text) if key == "memoryOverhead" && is_none(&text) => Ok(0),
            Some(text) => {
                memory_mib(&text).ok_or_else(|| at.wrong(key, &text, "an amount of memory such as 512m or 2g"))
            }
        };
        let memory_mib = memory("memory", 1024)?.saturating_add(memory("memoryOverhead", 0)?);
        let (mounts, mut environment) = volumes::mounts(self.spec, part, at)?;
        environment.extend(self.environment(part, at, pod_name)?);
        Ok(Pod { cores, millicores: millis, memory_mib, java_options: at.text("javaOptions")?, environment, mounts })
    }

    /// All the ways in which a pod is given an environment; a later one wins. A template comes first: Spark and then the
    /// operator add to what it makes.
    fn environment(&self, part: &str, at: &At<'_>, pod_name: &str) -> Result<Vec<Variable>, String> {
        let container = container(at);
        let mut found = sources(&container)?;
        found.extend(sources(at)?);
        found.extend(self.variables(&container, at, pod_name)?);
        let prefixes: &[&str] =
            if part == "driver" { &["spark.kubernetes.driverEnv."] } else { &["spark.executorEnv."] };
        for (key, value) in self.conf {
            if let Some(name) = prefixes.iter().find_map(|prefix| key.strip_prefix(prefix)) {
                found.push(Variable::Plain { name: name.to_owned(), value: value.clone() });
            }
        }
        for (name, value) in at.texts_by_key("envVars")? {
            found.push(Variable::Plain { name, value });
        }
        for (name, reference) in at.map("envSecretKeyRefs")?.into_iter().flatten() {
            let reference = At { value: Some(reference), path: at.path };
            let (secret, key) =
                (reference.text("name")?.unwrap_or_default(), reference.text("key")?.unwrap_or_default());
            let object = Object { kind: ObjectKind::Secret, name: secret, optional: false };
            found.push(Variable::Key { name: name.clone(), object, key });
        }
        found.extend(self.variables(at, at, pod_name)?);
        Ok(found)
    }

    fn variables(&self, at: &At<'_>, pod: &At<'_>, pod_name: &str) -> Result<Vec<Variable>, String> {
        let mut found = Vec::new();
        for (index, variable) in at.list("env")?.iter().enumerate() {
            let variable = At { value: Some(variable), path: at.path };
            let name = variable.text("name")?.ok_or_else(|| format!("{}.env: an entry has no name", at.path))?;
            let from = variable.child("valueFrom", at.path);
            if from.value.is_none() || variable.text("value")?.is_some_and(|value| !value.is_empty()) {
                let value = variable.text("value")?.unwrap_or_default();
                found.push(Variable::Plain { name, value });
                continue;
            }
            for (key, kind) in [("secretKeyRef", ObjectKind::Secret), ("configMapKeyRef", ObjectKind::ConfigMap)] {
                if let Some(object) = from.object(key, kind)? {
                    let key = from.child(key, at.path).text("key")?.unwrap_or_default();
                    found.push(Variable::Key { name: name.clone(), object, key });
                }
            }
            let place = format!("{}.env[{index}].valueFrom", at.path);
            if let Some(field) = from.child("fieldRef", at.path).text("fieldPath")? {
                found.push(match self.field(pod, pod_name, &field) {
                    Some(value) => Variable::Literal { name: name.clone(), value },
                    None => Variable::NeedsContainer {
                        name: name.clone(),
                        problem: format!(
                            "{place}.fieldRef: '{field}' is no field that a pod has here: write the value itself"
                        ),
                    },
                });
            }
            if from.get("resourceFieldRef").is_some() {
                let problem = format!(
                    "{place}.resourceFieldRef: there is no container here whose resources it could tell: write the value \
                     itself"
                );
                found.push(Variable::NeedsContainer { name, problem });
            }
        }
        Ok(found)
    }

    /// A field of the pod that there would be.
    fn field(&self, pod: &At<'_>, pod_name: &str, field: &str) -> Option<String> {
        let of = |map: &str, key: &str| {
            let own = pod.get(map).and_then(|map| map.get(key));
            Some(own.and_then(Value::as_str).unwrap_or_default().to_owned())
        };
        if let Some((map, key)) = field.strip_suffix("']").and_then(|field| field.split_once("['")) {
            return match map {
                "metadata.labels" => of("labels", key),
                "metadata.annotations" => of("annotations", key),
                _ => None,
            };
        }
        let account = || pod.text("serviceAccount").ok().flatten().unwrap_or_else(|| "default".to_owned());
        match field {
            "metadata.name" => Some(pod_name.to_owned()),
            "metadata.namespace" => Some(self.namespace.to_owned()),
            "spec.serviceAccountName" => Some(account()),
            "spec.nodeName" => Some("localhost".to_owned()),
            "status.podIP" | "status.podIPs" | "status.hostIP" | "status.hostIPs" => Some("127.0.0.1".to_owned()),
            _ => None,
        }
    }
}

fn is_none(text: &str) -> bool {
    let digits = text.trim().trim_end_matches(|c: char| c.is_ascii_alphabetic());
    !digits.is_empty() && digits.bytes().all(|byte| byte == b'0')
}

fn sources(at: &At<'_>) -> Result<Vec<Variable>, String> {
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
    Ok(found)
}
