//! The table of a manifest's fields: which are supported on one machine without containers, which are ignored and which
//! are refused. Nothing is passed over in silence.
//!
//! `docs/spark.md` shows this table, and a test compares the two.

use mlplatform_runner::plan::{Content, Plan, Variable};
use serde_json::Value;

use crate::{mounts, s3a};

/// The support of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// It does what it says; how.
    Supported(&'static str),
    /// It counts for nothing, and an event `SettingIgnored` says so; why.
    Ignored(&'static str),
    /// A job would be wrong to run without it; what to do.
    Rejected(&'static str),
}

use Support::{Ignored, Rejected, Supported};

/// Fields of `spec`; `pod.x` stands for `driver.x` and `executor.x`.
pub(crate) const TABLE: &[(&str, Support)] = &[
    ("type", Supported("as it is")),
    ("sparkVersion", Supported("shown only: the platform's own Spark runs the job")),
    ("mode", Supported("the driver runs on the platform in both modes")),
    ("suspend", Rejected("a suspended job is not run: submit it when it is to run")),
    ("proxyUser", Ignored("a job runs as the user of all jobs")),
    ("image", Supported("shown only: jobs run on the platform's own Spark and Python")),
    ("imagePullPolicy", Supported("shown only: there is no image")),
    ("imagePullSecrets", Supported("shown only: there is no image")),
    ("mainClass", Supported("as it is")),
    ("mainApplicationFile", Supported("as it is")),
    ("arguments", Supported("`$(NAME)` is the driver's variable of that name")),
    ("sparkConf", Supported("as it is, but for `spark.kubernetes.*` and where the driver listens, which are ignored")),
    ("sparkConfigMap", Supported("files below `$MLP_MOUNTS`; `SPARK_CONF_DIR` names the folder")),
    ("hadoopConf", Supported("as `spark.hadoop.*`; `fs.s3a.*` is ignored, because the bucket is a folder here")),
    ("hadoopConfigMap", Supported("files below `$MLP_MOUNTS`; `HADOOP_CONF_DIR` names the folder")),
    (
        "volumes",
        Supported(
            "config maps, secrets, `emptyDir`; `hostPath` where it is mounted at its own path; others are refused",
        ),
    ),
    ("driver", Supported("see below")),
    ("executor", Supported("see below")),
    ("deps", Supported("as it is")),
    ("restartPolicy", Supported("as it is")),
    ("nodeSelector", Ignored("there is one machine")),
    ("failureRetries", Ignored("the operator does not read it either: set restartPolicy")),
    ("retryInterval", Ignored("the operator does not read it either: set restartPolicy")),
    ("pythonVersion", Supported("shown only: the platform's Python 3 runs the job")),
    ("memoryOverheadFactor", Ignored("driver and executors are one process: set memory")),
    ("monitoring", Ignored("nothing collects metrics")),
    ("batchScheduler", Ignored("jobs start in the order of submitting")),
    ("batchSchedulerOptions", Ignored("jobs start in the order of submitting")),
    ("timeToLiveSeconds", Supported("as it is")),
    ("sparkUIOptions", Ignored("Spark's user interface is off")),
    ("driverIngressOptions", Ignored("there is no ingress")),
    ("dynamicAllocation", Ignored("driver and executors are one process: set executor.instances")),
    ("driverPodDisruptionBudget", Ignored("there are no pods")),
    ("pod.cores", Supported("as it is")),
    ("pod.coreRequest", Supported("what is taken of the cluster's capacity")),
    ("pod.coreLimit", Supported("shown only: threads are `cores`")),
    ("pod.memory", Supported("as it is")),
    ("pod.memoryLimit", Ignored("the process is not limited: set memory")),
    ("pod.memoryOverhead", Supported("counts as memory")),
    ("pod.gpu", Ignored("the job sees the devices that the machine has")),
    ("pod.image", Ignored("jobs run on the platform's own Spark and Python")),
    ("pod.configMaps", Supported("files below `$MLP_MOUNTS`")),
    ("pod.secrets", Supported("files below `$MLP_MOUNTS`")),
    (
        "pod.env",
        Supported("`$(NAME)` is a variable before it; `fieldRef` knows the names, labels and addresses of a pod"),
    ),
    ("pod.envVars", Supported("as `env`")),
    ("pod.envFrom", Supported("as it is")),
    ("pod.envSecretKeyRefs", Supported("as it is")),
    ("pod.labels", Supported("shown only, and for `fieldRef`")),
    ("pod.annotations", Supported("shown only, and for `fieldRef`")),
    ("pod.volumeMounts", Supported("files and folders below `$MLP_MOUNTS`")),
    ("pod.affinity", Ignored("there is one machine")),
    ("pod.tolerations", Ignored("there is one machine")),
    ("pod.podSecurityContext", Ignored("a job runs as the user of all jobs")),
    ("pod.securityContext", Ignored("a job runs as the user of all jobs")),
    ("pod.schedulerName", Ignored("jobs start in the order of submitting")),
    ("pod.sidecars", Ignored("there are no containers")),
    ("pod.initContainers", Ignored("there are no containers: do it in the program")),
    ("pod.hostNetwork", Supported("a job is in the machine's network")),
    ("pod.nodeSelector", Ignored("there is one machine")),
    ("pod.dnsConfig", Ignored("the machine's is used")),
    ("pod.terminationGracePeriodSeconds", Ignored("a job that is deleted is asked to end, and then ended")),
    ("pod.serviceAccount", Supported("shown only, and for `fieldRef`: there is no Kubernetes to call")),
    ("pod.hostAliases", Ignored("the machine's names are used")),
    ("pod.shareProcessNamespace", Ignored("there are no containers")),
    (
        "pod.template",
        Supported("`env`, `envFrom`, `volumeMounts` of its first container and its `volumes`; the rest is ignored"),
    ),
    (
        "pod.javaOptions",
        Supported("of the driver, which is executors, too; of the executors alone they count for nothing"),
    ),
    ("pod.lifecycle", Ignored("there are no containers")),
    ("pod.ports", Ignored("a job listens where it wants")),
    ("pod.priorityClassName", Ignored("jobs start in the order of submitting")),
    ("driver.podName", Ignored("the driver's pod is named after the job")),
    ("driver.kubernetesMaster", Ignored("there is no Kubernetes")),
    ("driver.serviceAnnotations", Ignored("there is no service")),
    ("driver.serviceLabels", Ignored("there is no service")),
    ("executor.instances", Supported("as many threads as all have cores")),
    ("executor.deleteOnTermination", Supported("nothing of an executor remains")),
];

/// The most unknown fields that are named.
const MOST: usize = 20;
/// Keys of `sparkConf` that the platform sets itself.
const OURS: [&str; 3] = ["spark.submit.deployMode", "spark.driver.host", "spark.driver.bindAddress"];

fn support(section: &str, key: &str) -> Option<Support> {
    let find = |path: String| TABLE.iter().find(|(name, _)| *name == path).map(|(_, support)| *support);
    match section {
        "" => find(key.to_owned()),
        _ => find(format!("pod.{key}")).or_else(|| find(format!("{section}.{key}"))),
    }
}

/// Nothing that could count for anything.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// A notice for each field that counts for nothing here, or is elsewhere than the manifest says; the error text says which
/// one keeps the job from being run. `isolated`: each job has a user of its own.
pub(crate) fn notices(manifest: &Value, plan: &Plan, isolated: bool) -> Result<Vec<String>, String> {
    let mut notices = of_fields(manifest)?;
    for pod in [&plan.driver, &plan.executor] {
        let of_mount = pod.mounts.iter().find_map(|mount| match &mount.content {
            Content::NeedsContainer(problem) => Some(problem),
            _ => None,
        });
        let of_variable = pod.environment.iter().find_map(|variable| match variable {
            Variable::NeedsContainer { problem, .. } => Some(problem),
            _ => None,
        });
        if let Some(problem) = of_mount.or(of_variable) {
            return Err(problem.clone());
        }
    }
    notices.extend(mounts::notices(plan)?);
    for (key, value) in plan.conf.iter().filter(|(_, value)| s3a::is_for_object_stores(value)) {
        notices.push(format!(
            "sparkConf.{key}: '{value}' is for object stores, and is left out: the bucket is a folder of the platform here"
        ));
    }
    let shown = plan.conf.iter().any(|(key, value)| key == "spark.ui.enabled" && value.eq_ignore_ascii_case("true"));
    if shown && isolated {
        notices.push(
            "sparkConf.spark.ui.enabled: Spark's page is off, because other jobs of this machine could read it"
                .to_owned(),
        );
    }
    Ok(notices)
}

fn of_fields(manifest: &Value) -> Result<Vec<String>, String> {
    let mut notices = Vec::new();
    let mut unknown = 0;
    for section in ["", "driver", "executor"] {
        let fields =
            manifest.get("spec").and_then(|spec| if section.is_empty() { Some(spec) } else { spec.get(section) });
        for (key, value) in fields.and_then(Value::as_object).into_iter().flatten() {
            if is_nothing(value) {
                continue;
            }
            let path = if section.is_empty() { format!("spec.{key}") } else { format!("spec.{section}.{key}") };
            match support(section, key) {
                Some(Supported(_)) => {}
                Some(Ignored(why)) => notices.push(format!("{path}: it counts for nothing here: {why}")),
                Some(Rejected(why)) => return Err(format!("{path}: {why}")),
                None if unknown < MOST => {
                    unknown += 1;
                    let path: String = path.chars().take(100).collect();
                    notices.push(format!("{path}: it counts for nothing here: no such field is known"));
                }
                None => {}
            }
        }
        if section == "executor" && fields.and_then(|pod| pod.get("javaOptions")).is_some_and(|text| !is_nothing(text))
        {
            notices.push(
                "spec.executor.javaOptions: it counts for nothing here: driver and executors are one process: set \
                 spec.driver.javaOptions"
                    .to_owned(),
            );
        }
        if let Some(template) = fields.and_then(|pod| pod.get("template")) {
            let rest = rest_of_template(template);
            if !rest.is_empty() {
                notices.push(format!("spec.{section}.template: of it count for nothing here: {}", rest.join(", ")));
            }
        }
    }
    let conf = manifest.pointer("/spec/sparkConf").and_then(Value::as_object);
    let ignored = |key: &str| {
        OURS.contains(&key) || key.starts_with("spark.kubernetes.") && !key.starts_with("spark.kubernetes.driverEnv.")
    };
    let ignored: Vec<&str> =
        conf.into_iter().flatten().map(|(key, _)| key.as_str()).filter(|key| ignored(key)).collect();
    if !ignored.is_empty() {
        notices.push(format!("spec.sparkConf: of it count for nothing here: {}", listed(&ignored)));
    }
    // Names alone: their values are keys of a bucket.
    for (field, prefix) in [("sparkConf", ""), ("hadoopConf", "spark.hadoop.")] {
        let conf = manifest.get("spec").and_then(|spec| spec.get(field)).and_then(Value::as_object);
        // Those that name a class have a notice each.
        let has_own_notice = |value: &Value| value.as_str().is_some_and(s3a::is_for_object_stores);
        let about = conf.into_iter().flatten().filter(|(key, value)| {
            s3a::is_about_buckets(&format!("{prefix}{key}")) && !is_nothing(value) && !has_own_notice(value)
        });
        let about: Vec<&str> = about.map(|(key, _)| key.as_str()).collect();
        if !about.is_empty() {
            let names = listed(&about);
            notices.push(format!(
                "spec.{field}: of it count for nothing here, because the bucket is a folder of the platform: {names}"
            ));
        }
    }
    Ok(notices)
}

/// The first of them, and how many more there are.
fn listed(keys: &[&str]) -> String {
    let shown: Vec<String> = keys.iter().take(MOST).map(|key| key.chars().take(100).collect()).collect();
    let more = keys.len().saturating_sub(MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// What of a pod template is not taken, by its path.
fn rest_of_template(template: &Value) -> Vec<String> {
    let mut rest = Vec::new();
    let keys = |value: Option<&Value>, prefix: &str, taken: &[&str], rest: &mut Vec<String>| {
        for (key, value) in value.and_then(Value::as_object).into_iter().flatten() {
            if !taken.contains(&key.as_str()) && !is_nothing(value) && rest.len() < MOST {
                rest.push(format!("{prefix}{key}").chars().take(100).collect());
            }
        }
    };
    keys(Some(template), "", &["spec", "apiVersion", "kind"], &mut rest);
    let spec = template.get("spec");
    keys(spec, "spec.", &["containers", "volumes"], &mut rest);
    let containers = spec.and_then(|spec| spec.get("containers")).and_then(Value::as_array);
    keys(
        containers.and_then(|containers| containers.first()),
        "spec.containers[0].",
        &["name", "env", "envFrom", "volumeMounts"],
        &mut rest,
    );
    if containers.is_some_and(|containers| containers.len() > 1) {
        rest.push("spec.containers[1]".to_owned());
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::{fs, path::Path};

    fn row(field: &str, support: Support) -> String {
        let (word, text) = match support {
            Supported(how) => ("supported", how),
            Ignored(why) => ("ignored", why),
            Rejected(why) => ("refused", why),
        };
        format!("| `{field}` | {word} | {text} |")
    }

    #[test]
    fn the_guide_shows_the_table() {
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spark.md");
        let guide = fs::read_to_string(guide).unwrap();
        let shown: Vec<&str> = guide
            .lines()
            .filter(|line| ["| supported |", "| ignored |", "| refused |"].iter().any(|word| line.contains(word)))
            .collect();
        let expected: Vec<String> = TABLE.iter().map(|(field, support)| row(field, *support)).collect();
        assert_eq!(shown, expected, "\n{}", expected.join("\n"));
    }

    #[test]
    fn every_field_of_the_operator_has_a_row() {
        for (section, key) in mlplatform_protocol::manifest::known_fields() {
            assert!(support(section, key).is_some(), "{section}.{key}");
        }
    }

    #[test]
    fn nothing_is_passed_over_in_silence() {
        let manifest = |more: serde_json::Value| json!({"metadata": {"name": "j"}, "spec": more});
        for (key, support) in TABLE {
            let pods: &[&str] = if let Some(key) = key.strip_prefix("pod.") {
                &[&format!("driver.{key}"), &format!("executor.{key}")]
            } else {
                &[key]
            };
            for path in pods {
                let spec = path.rsplit('.').fold(json!({"x": 1}), |inner, key| json!({key: inner}));
                let found = of_fields(&manifest(spec));
                match support {
                    Supported(_) => {}
                    Ignored(why) => {
                        assert_eq!(found, Ok(vec![format!("spec.{path}: it counts for nothing here: {why}")]));
                    }
                    Rejected(why) => assert_eq!(found, Err(format!("spec.{path}: {why}"))),
                }
                for nothing in [json!(null), json!(""), json!([]), json!({}), json!(false)] {
                    let spec = path.rsplit('.').fold(nothing, |inner, key| json!({key: inner}));
                    assert_eq!(of_fields(&manifest(spec)), Ok(vec![]), "{path}");
                }
            }
        }
        let unknown = of_fields(&manifest(json!({"driver": {"coreLimt": "1"}, "new": 1}))).unwrap();
        assert_eq!(unknown.len(), 2);
        assert!(unknown[1].starts_with("spec.driver.coreLimt: it counts for nothing here"), "{unknown:?}");
        let many: serde_json::Map<_, _> = (0..1000).map(|n| (format!("k{n}"), json!(1))).collect();
        assert_eq!(of_fields(&manifest(many.into())).unwrap().len(), MOST);
        let conf = json!({"sparkConf": {"spark.driver.host": "h", "spark.kubernetes.x": "y", "spark.a": "b",
            "spark.kubernetes.driverEnv.A": "b"}});
        assert_eq!(
            of_fields(&manifest(conf)).unwrap(),
            ["spec.sparkConf: of it count for nothing here: spark.driver.host, spark.kubernetes.x"]
        );
        let keys = json!({
            "sparkConf": {"spark.hadoop.fs.s3a.endpoint": "https://hunter2", "spark.a": "b", "spark.hadoop.fs.gs.x": "y"},
            "hadoopConf": {"fs.s3a.secret.key": "hunter2", "fs.s3a.access.key": "hunter2", "fs.s3a.path.style.access": "",
                "fs.s3a.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem", "fs.s3a.impl.disable.cache": "true"},
        });
        let why = "of it count for nothing here, because the bucket is a folder of the platform";
        assert_eq!(
            of_fields(&manifest(keys)).unwrap(),
            [
                format!("spec.sparkConf: {why}: spark.hadoop.fs.s3a.endpoint"),
                format!("spec.hadoopConf: {why}: fs.s3a.secret.key, fs.s3a.access.key"),
            ]
        );
        let many: serde_json::Map<_, _> = (0..1000).map(|n| (format!("fs.s3a.{n}"), json!("x"))).collect();
        let many = of_fields(&manifest(json!({"hadoopConf": many}))).unwrap();
        assert!(many.len() == 1 && many[0].ends_with(" and 980 more"), "{many:?}");
        let options = json!({"executor": {"javaOptions": "-Dx"}});
        assert!(of_fields(&manifest(options)).unwrap()[0].ends_with("set spec.driver.javaOptions"));
    }

    fn all(manifest: &serde_json::Value, isolated: bool) -> Result<Vec<String>, String> {
        notices(manifest, &Plan::read(manifest)?, isolated)
    }

    #[test]
    fn notices_of_a_template_and_of_settings() {
        let container =
            json!({"name": "spark", "env": [{"name": "T", "value": "t"}], "resources": {"limits": {"cpu": 1}}});
        let spec = json!({"containers": [container, {}], "hostname": "h"});
        let manifest = json!({"metadata": {"name": "j"}, "spec": {
            "type": "Python", "driver": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": spec}},
            "sparkConf": {"spark.kubernetes.driver.label.x": "y", "spark.x": "org.apache.hadoop.fs.s3a.X",
                "spark.ui.enabled": "True"},
        }});
        let mut expected = vec![
            "spec.driver.template: of it count for nothing here: metadata, spec.hostname, spec.containers[0].resources, \
             spec.containers[1]",
            "spec.sparkConf: of it count for nothing here: spark.kubernetes.driver.label.x",
            "sparkConf.spark.x: 'org.apache.hadoop.fs.s3a.X' is for object stores, and is left out: the bucket is a folder \
             of the platform here",
        ];
        assert_eq!(all(&manifest, false).unwrap(), expected);
        expected
            .push("sparkConf.spark.ui.enabled: Spark's page is off, because other jobs of this machine could read it");
        assert_eq!(all(&manifest, true).unwrap(), expected);
    }

    #[test]
    fn what_needs_a_container_is_refused() {
        let mount = |volume: serde_json::Value| {
            json!({"metadata": {"name": "j"}, "spec": {"volumes": [volume],
                "driver": {"volumeMounts": [{"name": "v", "mountPath": "/m"}]}}})
        };
        let claim = mount(json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}}));
        assert!(all(&claim, false).unwrap_err().contains("of the kind persistentVolumeClaim"));
        let field = json!([{"name": "F", "valueFrom": {"fieldRef": {"fieldPath": "status.phase"}}}]);
        let field = json!({"metadata": {"name": "j"}, "spec": {"executor": {"env": field}}});
        assert!(all(&field, false).unwrap_err().contains("'status.phase' is no field"));
        let shown = all(&mount(json!({"name": "v", "emptyDir": {}})), false).unwrap();
        assert!(shown.len() == 1 && shown[0].contains("it is '$MLP_MOUNTS/m'"), "{shown:?}");
        let machine = mount(json!({"name": "v", "hostPath": {"path": "/m/"}}));
        assert_eq!(all(&machine, false), Ok(vec![]));
        let [one, other] = ["a", "b"].map(|name| json!({"configMaps": [{"name": name, "path": "/etc/app"}]}));
        let two = json!({"metadata": {"name": "j"}, "spec": {"driver": one, "executor": other}});
        assert!(all(&two, false).unwrap_err().contains("mount different things at '/etc/app'"));
    }
}
