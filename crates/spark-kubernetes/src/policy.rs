//! What a manifest may not ask of a cluster: whatever would give a job more than its own pods.
//!
//! The namespace may be any: it means that of the platform's secrets, and the objects are in the cluster's own.

use serde_json::Value;

use crate::names::PREFIX;

/// A field, and what is refused in it.
#[derive(Debug)]
struct Rule {
    /// Below `spec`; `{pod}` stands for `driver` and `executor`.
    field: &'static str,
    /// Whether the value is refused. Absent, null, false and empty values never are.
    refuses: fn(&Value) -> bool,
    /// Why.
    because: &'static str,
}

fn always(_: &Value) -> bool {
    true
}

const IDENTITY: &str = "the cluster's administrator says whom jobs run as";
const NODE: &str = "a job has no access to its node";
const REACHED: &str = "the cluster's administrator says what can be reached from outside";
const ANY_FIELD: &str = "it can set any field of a pod";
const OTHERS: &str = "it names a config map of the namespace, which may be another job's";
const NAMES: &str = "the platform names what it makes";

/// All of them, in the order in which they are told.
const RULES: &[Rule] = &[
    Rule { field: "{pod}.serviceAccount", refuses: always, because: IDENTITY },
    Rule { field: "{pod}.template", refuses: always, because: ANY_FIELD },
    Rule { field: "{pod}.sidecars", refuses: always, because: ANY_FIELD },
    Rule { field: "{pod}.initContainers", refuses: always, because: ANY_FIELD },
    Rule { field: "{pod}.hostNetwork", refuses: always, because: NODE },
    Rule { field: "{pod}.securityContext", refuses: is_privileged, because: NODE },
    Rule { field: "{pod}.podSecurityContext", refuses: is_privileged, because: NODE },
    Rule { field: "{pod}.priorityClassName", refuses: always, because: "a job does not displace others" },
    Rule { field: "{pod}.podName", refuses: always, because: NAMES },
    Rule { field: "{pod}.labels", refuses: has_reserved_label, because: NAMES },
    Rule { field: "volumes", refuses: has_other_volume, because: NODE },
    Rule { field: "sparkConfigMap", refuses: always, because: OTHERS },
    Rule { field: "hadoopConfigMap", refuses: always, because: OTHERS },
    Rule {
        field: "batchSchedulerOptions.priorityClassName",
        refuses: always,
        because: "a job does not displace others",
    },
    Rule { field: "imagePullSecrets", refuses: always, because: IDENTITY },
    Rule { field: "mode", refuses: is_other_mode, because: "the driver runs in a pod of its own (cluster)" },
    Rule { field: "suspend", refuses: always, because: "the platform says when a job starts" },
    Rule { field: "sparkUIOptions", refuses: always, because: REACHED },
    Rule { field: "driverIngressOptions", refuses: always, because: REACHED },
];

/// Of `spark.kubernetes.`, which can set any field of a pod as well, what is harmless: beginnings of keys.
const HARMLESS: &[&str] = &[
    "spark.kubernetes.allocation.",
    "spark.kubernetes.driver.annotation.",
    "spark.kubernetes.driver.limit.cores",
    "spark.kubernetes.driver.request.cores",
    "spark.kubernetes.driverEnv.",
    "spark.kubernetes.executor.annotation.",
    "spark.kubernetes.executor.deleteOnTermination",
    "spark.kubernetes.executor.limit.cores",
    "spark.kubernetes.executor.request.cores",
    "spark.kubernetes.local.dirs.tmpfs",
    "spark.kubernetes.memoryOverheadFactor",
    "spark.kubernetes.pyspark.pythonVersion",
];
/// The kinds of volumes that hold only what is the job's.
const VOLUMES: &[&str] = &["configMap", "downwardAPI", "emptyDir", "secret"];
/// What of a security context takes rights away, or leaves them.
const CONTEXT: &[&str] = &[
    "allowPrivilegeEscalation",
    "capabilities",
    "fsGroup",
    "fsGroupChangePolicy",
    "privileged",
    "readOnlyRootFilesystem",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "seccompProfile",
    "supplementalGroups",
];

/// Refuses a manifest that asks for too much.
///
/// # Errors
/// The first field that is refused: its name, the rule, the remedy.
pub(crate) fn check(manifest: &Value) -> Result<(), String> {
    let spec = manifest.get("spec").unwrap_or(&Value::Null);
    for rule in RULES {
        let pods: &[&str] = if rule.field.contains("{pod}") { &["driver", "executor"] } else { &[""] };
        for pod in pods {
            let field = rule.field.replace("{pod}", pod);
            let value = spec.pointer(&format!("/{}", field.replace('.', "/"))).unwrap_or(&Value::Null);
            if !is_unset(value) && (rule.refuses)(value) {
                return Err(refusal(&format!("spec.{field}"), rule.because));
            }
        }
    }
    for key in spec.get("sparkConf").and_then(Value::as_object).into_iter().flat_map(|conf| conf.keys()) {
        let name = key.trim();
        let refused = name.starts_with("spark.kubernetes.") && !HARMLESS.iter().any(|start| name.starts_with(start));
        if refused || name == "spark.master" || name == "spark.submit.deployMode" {
            return Err(refusal(&format!("spec.sparkConf.{key}"), ANY_FIELD));
        }
    }
    if manifest.pointer("/metadata/labels").is_some_and(has_reserved_label) {
        return Err(refusal("metadata.labels", NAMES));
    }
    Ok(())
}

fn refusal(field: &str, because: &str) -> String {
    format!("{field}: jobs on Kubernetes may not set it: {because}. Leave it out, or ask an Administrator")
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

fn is_other_mode(mode: &Value) -> bool {
    mode != "cluster"
}

fn has_reserved_label(labels: &Value) -> bool {
    let reserved = [PREFIX, "sparkoperator.k8s.io/", "spark-role", "spark-app-selector", "spark-exec-id"];
    labels
        .as_object()
        .is_some_and(|labels| labels.keys().any(|key| reserved.iter().any(|start| key.starts_with(start))))
}

/// Of each volume, its name and one harmless kind.
fn has_other_volume(volumes: &Value) -> bool {
    let is_harmless = |volume: &Value| {
        volume
            .as_object()
            .is_some_and(|volume| volume.keys().all(|key| key == "name" || VOLUMES.contains(&key.as_str())))
    };
    !volumes.as_array().is_some_and(|volumes| volumes.iter().all(is_harmless))
}

fn is_privileged(context: &Value) -> bool {
    let Some(fields) = context.as_object() else { return true };
    let is_root = |value: &Value| value.as_i64().is_none_or(|id| id <= 0);
    fields.iter().any(|(key, value)| match key.as_str() {
        _ if is_unset(value) => false,
        "allowPrivilegeEscalation" | "privileged" => true,
        "runAsUser" | "runAsGroup" | "fsGroup" => is_root(value),
        "supplementalGroups" => value.as_array().is_none_or(|groups| groups.iter().any(is_root)),
        "capabilities" => value.as_object().is_none_or(|all| all.keys().any(|key| key != "drop")),
        "seccompProfile" => value.get("type").is_none_or(|kind| kind != "RuntimeDefault"),
        key => !CONTEXT.contains(&key),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(spec: &Value) -> Option<String> {
        check(&json!({"metadata": {"name": "j", "namespace": "any"}, "spec": spec})).err()
    }

    #[test]
    fn each_rule_refuses_its_field_and_says_why() {
        let bad = |field: &str| match field {
            "{pod}.securityContext" | "{pod}.podSecurityContext" => json!({"privileged": true}),
            "{pod}.labels" => json!({"mlplatform.io/job": "another"}),
            "volumes" => json!([{"name": "v", "hostPath": {"path": "/"}}]),
            "mode" => json!("client"),
            _ => json!("x"),
        };
        for rule in RULES {
            for pod in ["driver", "executor"] {
                let field = rule.field.replace("{pod}", pod);
                let value = bad(rule.field);
                let spec = match field.split_once('.') {
                    Some((pod, key)) => json!({pod: {key: value}}),
                    None => json!({field.as_str(): value}),
                };
                let text = refused(&spec).unwrap_or_else(|| panic!("{field} is not refused"));
                assert!(text.starts_with(&format!("spec.{field}: ")) && text.contains(rule.because), "{text}");
            }
        }
    }

    #[test]
    fn volumes_and_security_contexts() {
        for volume in ["hostPath", "persistentVolumeClaim", "projected", "csi", "nfs", "ephemeral"] {
            let volumes = json!([{"name": "a", "emptyDir": {}}, {"name": "v", volume: {}}]);
            assert!(refused(&json!({"volumes": volumes})).is_some(), "{volume}");
        }
        let harmless = json!([{"name": "a", "emptyDir": {}}, {"name": "b", "secret": {"secretName": "s"}}]);
        assert_eq!(refused(&json!({"volumes": harmless})), None);
        for context in [
            json!({"runAsUser": 0}),
            json!({"runAsUser": "0"}),
            json!({"capabilities": {"add": ["SYS_ADMIN"]}}),
            json!({"allowPrivilegeEscalation": true}),
            json!({"procMount": "Unmasked"}),
            json!({"seccompProfile": {"type": "Unconfined"}}),
            json!({"supplementalGroups": [1, 0]}),
            json!({"sysctls": [{"name": "a", "value": "b"}]}),
            json!("privileged"),
        ] {
            assert!(refused(&json!({"driver": {"securityContext": context}})).is_some(), "{context}");
        }
        let tight = json!({"runAsNonRoot": true, "runAsUser": 185, "privileged": false, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}});
        assert_eq!(refused(&json!({"driver": {"securityContext": tight, "hostNetwork": false}})), None);
    }

    #[test]
    fn settings_that_go_around_the_fields() {
        for key in [
            "spark.kubernetes.namespace",
            "spark.kubernetes.authenticate.driver.serviceAccountName",
            "spark.kubernetes.driver.podTemplateFile",
            "spark.kubernetes.driver.volumes.hostPath.a.mount.path",
            "spark.kubernetes.driver.secrets.other",
            "spark.kubernetes.driver.secretKeyRef.A",
            "spark.kubernetes.container.image.pullSecrets",
            "spark.master",
        ] {
            let text = refused(&json!({"sparkConf": {key: "x"}})).unwrap_or_else(|| panic!("{key} is not refused"));
            assert!(text.starts_with(&format!("spec.sparkConf.{key}: ")), "{text}");
        }
        let conf = json!({"spark.kubernetes.driverEnv.A": "b", "spark.sql.shuffle.partitions": "2"});
        assert_eq!(refused(&json!({"sparkConf": conf})), None);
        let labels = json!({"metadata": {"name": "j", "labels": {"mlplatform.io/job": "another"}}, "spec": {}});
        assert!(check(&labels).is_err());
    }
}
