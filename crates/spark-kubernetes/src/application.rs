//! From a manifest to the SparkApplication that is applied: as it was written, with what must be the platform's.

use std::collections::BTreeMap;

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use mlplatform_runner::{
    plan::{Object, ObjectKind, Plan},
    runner::Run,
};
use serde_json::{Map, Value, json};

use crate::{
    names::{self, LOG_FROM, PROGRAM_FOLDER, RUN},
    settings::KubernetesConfig,
};

/// The kind of the operator's objects.
pub(crate) fn kind() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("sparkoperator.k8s.io", "v1beta2", "SparkApplication"))
}

/// The address of a program that came along, under the name that the user gave it.
pub(crate) fn program_address(name: &str) -> String {
    format!("local://{PROGRAM_FOLDER}/{name}")
}

/// Whether the program is one that came along.
pub(crate) fn has_program(plan: &Plan) -> bool {
    plan.main.as_deref().is_some_and(|main| main.starts_with(&program_address("")))
}

/// The secrets and config maps that a plan names, each once.
pub(crate) fn objects(plan: &Plan) -> Vec<&Object> {
    let mut found: Vec<&Object> = Vec::new();
    for object in plan.objects() {
        if !found.iter().any(|known| known.kind == object.kind && known.name == object.name) {
            found.push(object);
        }
    }
    found
}

/// The object to apply.
///
/// # Errors
/// When the manifest names a secret or a config map in a field whose objects the platform does not provide.
pub(crate) fn application(
    run: Run<'_>,
    config: &KubernetesConfig,
    namespace: &str,
    log_from: u64,
) -> Result<DynamicObject, String> {
    let job = &run.id.job;
    let mut spec = run.manifest.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
    // The platform deletes a job, and nobody else.
    spec.remove("timeToLiveSeconds");
    spec.entry("mode").or_insert_with(|| "cluster".into());
    let version = spec.get("sparkVersion").and_then(Value::as_str).map(str::to_owned);
    // The newest that there is an image for.
    let version = version.or_else(|| config.images.keys().next_back().cloned()).unwrap_or_default();
    let image = config.images.get(&version).cloned();
    spec.insert("sparkVersion".to_owned(), version.into());
    if let Some(image) = image {
        spec.entry("image").or_insert_with(|| image.into());
    }
    rename(&mut spec, &job.id, run.plan)?;
    let labels = names::labels(&config.platform, job);
    for part in ["driver", "executor"] {
        let pod = child(&mut spec, part)?;
        child(pod, "labels")?.extend(labels.iter().map(|(key, value)| (key.clone(), value.clone().into())));
        if let Some(account) = &config.service_account {
            pod.insert("serviceAccount".to_owned(), account.clone().into());
        }
    }
    if has_program(run.plan) {
        let mount = json!({"name": names::program(&job.id), "path": PROGRAM_FOLDER});
        let maps = child(&mut spec, "driver")?.entry("configMaps").or_insert_with(|| json!([]));
        maps.as_array_mut().ok_or("spec.driver.configMaps: it is not a list")?.push(mount);
    }
    let mut object = DynamicObject::new(&names::application(&job.id), &kind()).within(namespace);
    let own = run.manifest.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
    let own = own.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    object.metadata.labels = Some(own.chain(labels).collect());
    let notes = [(RUN, run.id.number.to_string()), (LOG_FROM, log_from.to_string())];
    object.metadata.annotations = Some(notes.map(|(key, value)| (key.to_owned(), value)).into());
    object.data = json!({"spec": spec});
    Ok(object)
}

/// A map below another; made where there is none.
fn child<'a>(map: &'a mut Map<String, Value>, key: &str) -> Result<&'a mut Map<String, Value>, String> {
    let value = map.entry(key).or_insert_with(|| json!({}));
    value.as_object_mut().ok_or_else(|| format!("'{key}' of the manifest: it is not a mapping"))
}

/// The platform's objects have names of their own in the cluster, so that no job can name another's.
fn rename(spec: &mut Map<String, Value>, job: &str, plan: &Plan) -> Result<(), String> {
    let known: BTreeMap<(&str, &str), String> = objects(plan)
        .into_iter()
        .enumerate()
        .map(|(index, object)| ((object.kind.name(), object.name.as_str()), names::values(job, index)))
        .collect();
    for (key, value) in spec.iter_mut() {
        walk(value, key, &format!("spec.{key}"), &known)?;
    }
    Ok(())
}

type Known<'a> = BTreeMap<(&'a str, &'a str), String>;

/// Which kind of object is named below a key, and by which field.
fn reference(key: &str) -> Option<(ObjectKind, &'static str)> {
    match key {
        "secretKeyRef" | "secretRef" | "secrets" | "envSecretKeyRefs" => Some((ObjectKind::Secret, "name")),
        "secret" => Some((ObjectKind::Secret, "secretName")),
        "configMapKeyRef" | "configMapRef" | "configMaps" | "configMap" => Some((ObjectKind::ConfigMap, "name")),
        _ => None,
    }
}

fn walk(value: &mut Value, key: &str, path: &str, known: &Known<'_>) -> Result<(), String> {
    // What a user names freely are no references.
    if matches!(key, "sparkConf" | "hadoopConf" | "labels" | "annotations" | "envVars" | "nodeSelector" | "arguments") {
        return Ok(());
    }
    if let Some((kind, field)) = reference(key) {
        let named: Vec<&mut Value> = match (key, &mut *value) {
            (_, Value::Array(items)) => items.iter_mut().collect(),
            ("envSecretKeyRefs", Value::Object(map)) => map.values_mut().collect(),
            (_, one) => vec![one],
        };
        for one in named {
            let Some(name) = one.get_mut(field) else { continue };
            let text = name.as_str().unwrap_or_default();
            let Some(own) = known.get(&(kind.name(), text)) else {
                return Err(format!("{path}: the {} '{text}' cannot be given to a job there", kind.name()));
            };
            *name = own.clone().into();
        }
        return Ok(());
    }
    match value {
        Value::Array(items) => items
            .iter_mut()
            .enumerate()
            .try_for_each(|(index, item)| walk(item, "", &format!("{path}[{index}]"), known)),
        Value::Object(map) => {
            map.iter_mut().try_for_each(|(key, item)| walk(item, key, &format!("{path}.{key}"), known))
        }
        _ => Ok(()),
    }
}
