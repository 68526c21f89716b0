//! The volume mounts of a pod.

use serde_json::Value;

use super::{
    at::{At, container},
    objects::{Object, ObjectKind},
    variable::Variable,
};

/// More than any pod has; each is a copy.
const MOST: usize = 100;
/// The longest path of a mount.
const LONGEST_PATH: usize = 1024;
/// Where the operator mounts the two maps of configuration.
const SPARK_CONF: &str = "/etc/spark/conf";
const HADOOP_CONF: &str = "/etc/hadoop/conf";

/// A volume mount.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    /// Of the manifest: `spec.driver.volumeMounts[0]`.
    pub field: String,
    /// Absolute, of plain components.
    pub path: String,
    /// What is there.
    pub content: Content,
}

/// The content of a mount.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Files: all keys of an object, or those with the paths that they get.
    Object {
        /// Which object.
        object: Object,
        /// Keys and the paths of their files; `None`: all keys, under their own names.
        items: Option<Vec<(String, String)>>,
        /// Only this one of the files, and the mount's path is its own.
        sub_path: Option<String>,
    },
    /// A folder of the job's own.
    Empty,
    /// What the machine itself has at that path.
    Machine,
    /// What only a container can be given; the text is for whoever submits to a runner without containers.
    NeedsContainer(String),
}

impl Mount {
    pub(super) const fn object(&self) -> Option<&Object> {
        match &self.content {
            Content::Object { object, .. } => Some(object),
            _ => None,
        }
    }
}

/// The mounts of a pod, and the variables that point at them.
pub(super) fn mounts(spec: &At<'_>, part: &str, at: &At<'_>) -> Result<(Vec<Mount>, Vec<Variable>), String> {
    let (mut found, mut variables) = (Vec::new(), Vec::new());
    let full = |field: String, path: &str, kind, name: String| {
        let object = Object { kind, name, optional: false };
        mount(field, path, Content::Object { object, items: None, sub_path: None })
    };
    for (key, path, variable) in
        [("sparkConfigMap", SPARK_CONF, "SPARK_CONF_DIR"), ("hadoopConfigMap", HADOOP_CONF, "HADOOP_CONF_DIR")]
    {
        if let Some(name) = spec.text(key)? {
            found.push(full(format!("spec.{key}"), path, ObjectKind::ConfigMap, name)?);
            variables.push(Variable::Mounted { name: variable.to_owned(), path: path.to_owned() });
        }
    }
    for (list, kind) in [("configMaps", ObjectKind::ConfigMap), ("secrets", ObjectKind::Secret)] {
        for (index, item) in at.list(list)?.iter().enumerate() {
            let item = At { value: Some(item), path: at.path };
            let (name, path) = (item.text("name")?.unwrap_or_default(), item.text("path")?.unwrap_or_default());
            let variable = match item.text("secretType")?.as_deref() {
                Some("GCPServiceAccount") => Some(("GOOGLE_APPLICATION_CREDENTIALS", "key.json")),
                Some("HadoopDelegationToken") => Some(("HADOOP_TOKEN_FILE_LOCATION", "hadoop.token")),
                _ => None,
            };
            if let Some((variable, file)) = variable {
                let path = format!("{}/{file}", path.trim_end_matches('/'));
                variables.push(Variable::Mounted { name: variable.to_owned(), path });
            }
            found.push(full(format!("{}.{list}[{index}]", at.path), &path, kind, name)?);
        }
    }
    let template = at.get("template").and_then(|template| template.get("spec"));
    let template = At { value: template, path: at.path };
    let volumes: Vec<&Value> = template.list("volumes")?.iter().chain(spec.list("volumes")?).collect();
    let container = container(at);
    let of_container = container.list("volumeMounts")?.iter().enumerate();
    let of_container = of_container
        .map(|(index, item)| (format!("spec.{part}.template.spec.containers[0].volumeMounts[{index}]"), item));
    let own = at.list("volumeMounts")?.iter().enumerate();
    let own = own.map(|(index, item)| (format!("spec.{part}.volumeMounts[{index}]"), item));
    for (field, item) in of_container.chain(own) {
        let item = At { value: Some(item), path: at.path };
        let (name, path) = (item.text("name")?.unwrap_or_default(), item.text("mountPath")?.unwrap_or_default());
        let volume = volumes.iter().rfind(|volume| volume.get("name").and_then(Value::as_str) == Some(name.as_str()));
        let Some(volume) = volume else {
            return Err(format!("{field}: no volume is named '{name}': add one to spec.volumes"));
        };
        // Spark's own scratch space: SPARK_LOCAL_DIRS is the job's own folder.
        if name.starts_with("spark-local-dir-") {
            continue;
        }
        if item.text("subPathExpr")?.is_some_and(|text| !text.is_empty()) {
            let problem = format!("{field}.subPathExpr: it is not known here: write the path itself as subPath");
            found.push(mount(field.clone(), &path, Content::NeedsContainer(problem))?);
            continue;
        }
        let sub_path = item.text("subPath")?.filter(|text| !text.is_empty());
        let volume = At { value: Some(*volume), path: at.path };
        found.push(mount(field.clone(), &path, content(&field, &name, &path, &volume, sub_path)?)?);
    }
    if found.len() > MOST {
        return Err(format!("{}: it mounts {} volumes, and at most {MOST} are laid out", at.path, found.len()));
    }
    Ok((found, variables))
}

fn content(field: &str, name: &str, path: &str, volume: &At<'_>, sub_path: Option<String>) -> Result<Content, String> {
    for (source, key, kind) in
        [("configMap", "name", ObjectKind::ConfigMap), ("secret", "secretName", ObjectKind::Secret)]
    {
        if volume.get(source).is_none() {
            continue;
        }
        let at = volume.child(source, volume.path);
        let object = Object {
            kind,
            name: at.text(key)?.ok_or_else(|| format!("{field}: the volume '{name}' names no {}", kind.name()))?,
            optional: at.text("optional")?.as_deref() == Some("true"),
        };
        let mut items = None;
        if at.get("items").is_some() {
            let mut all = Vec::new();
            for item in at.list("items")? {
                let item = At { value: Some(item), path: at.path };
                let (key, path) = (item.text("key")?.unwrap_or_default(), item.text("path")?.unwrap_or_default());
                if !is_plain(&path) {
                    return Err(format!("{field}: '{path}' is no path inside of the volume '{name}'"));
                }
                all.push((key, path));
            }
            items = Some(all);
        }
        return Ok(Content::Object { object, items, sub_path });
    }
    let sources: Vec<&str> = volume
        .value
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(key, value)| *key != "name" && !value.is_null())
        .map(|(key, _)| key.as_str())
        .collect();
    match sources.as_slice() {
        [] | ["emptyDir"] if sub_path.as_deref().is_none_or(is_plain) => Ok(Content::Empty),
        ["hostPath"] => {
            let host = volume.child("hostPath", volume.path).text("path")?.unwrap_or_default();
            if host.trim_end_matches('/') == path.trim_end_matches('/') && sub_path.is_none() {
                return Ok(Content::Machine);
            }
            Ok(Content::NeedsContainer(format!(
                "{field}: the volume '{name}' is the machine's '{host}', and there is no container to mount it in at \
                 '{path}': mount it at '{host}', or put the files into the cluster's bucket"
            )))
        }
        others => Ok(Content::NeedsContainer(format!(
            "{field}: the volume '{name}' is of the kind {}, which does not exist here: put the files into the cluster's \
             bucket, a config map or a secret",
            others.join(", ")
        ))),
    }
}

fn mount(field: String, path: &str, content: Content) -> Result<Mount, String> {
    let inside = path.strip_prefix('/').map(|inside| inside.trim_end_matches('/'));
    if path.len() > LONGEST_PATH || !inside.is_some_and(is_plain) {
        let shown: String = path.chars().take(80).collect();
        return Err(format!(
            "{field}: '{shown}' is no path to mount at: it begins with '/', and has no '..', ':' and ','"
        ));
    }
    Ok(Mount { field, path: format!("/{}", inside.unwrap_or_default()), content })
}

/// Of ordinary components alone.
fn is_plain(path: &str) -> bool {
    let plain = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255 && !part.contains(['\0', ':', ',']);
    path.len() <= LONGEST_PATH && path.split('/').all(plain)
}
