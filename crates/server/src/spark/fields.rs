//! What becomes of each field of a manifest on one machine without containers: nothing is passed over in silence.
//!
//! `docs/spark.md` shows this table, and a test compares the two.

use serde_json::Value;

use super::s3a;

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// It does what it says; how.
    Honoured(&'static str),
    /// It counts for nothing, and an event `SettingIgnored` says so; why.
    Told(&'static str),
    /// A job would be wrong to run without it; what to do.
    Refused(&'static str),
}

use Treatment::{Honoured, Refused, Told};

/// Fields of `spec`; `pod.x` stands for `driver.x` and `executor.x`.
pub(crate) const TABLE: &[(&str, Treatment)] = &[
    ("type", Honoured("as it is")),
    ("sparkVersion", Honoured("shown only: the platform's own Spark runs the job")),
    ("mode", Honoured("the driver runs on the platform in both modes")),
    ("suspend", Refused("a suspended job is not run: submit it when it is to run")),
    ("proxyUser", Told("a job runs as the user of all jobs")),
    ("image", Honoured("shown only: jobs run on the platform's own Spark and Python")),
    ("imagePullPolicy", Honoured("shown only: there is no image")),
    ("imagePullSecrets", Honoured("shown only: there is no image")),
    ("mainClass", Honoured("as it is")),
    ("mainApplicationFile", Honoured("as it is")),
    ("arguments", Honoured("`$(NAME)` is the driver's variable of that name")),
    ("sparkConf", Honoured("as it is, but for `spark.kubernetes.*` and where the driver listens, which are told")),
    ("sparkConfigMap", Honoured("files below `$MLP_MOUNTS`; `SPARK_CONF_DIR` names the folder")),
    ("hadoopConf", Honoured("as `spark.hadoop.*`; `fs.s3a.*` is told, because the bucket is a folder here")),
    ("hadoopConfigMap", Honoured("files below `$MLP_MOUNTS`; `HADOOP_CONF_DIR` names the folder")),
    (
        "volumes",
        Honoured(
            "config maps, secrets, `emptyDir`; `hostPath` where it is mounted at its own path; others are refused",
        ),
    ),
    ("driver", Honoured("see below")),
    ("executor", Honoured("see below")),
    ("deps", Honoured("as it is")),
    ("restartPolicy", Honoured("as it is")),
    ("nodeSelector", Told("there is one machine")),
    ("failureRetries", Told("the operator does not read it either: set restartPolicy")),
    ("retryInterval", Told("the operator does not read it either: set restartPolicy")),
    ("pythonVersion", Honoured("shown only: the platform's Python 3 runs the job")),
    ("memoryOverheadFactor", Told("driver and executors are one process: set memory")),
    ("monitoring", Told("nothing collects metrics")),
    ("batchScheduler", Told("jobs start in the order of submitting")),
    ("batchSchedulerOptions", Told("jobs start in the order of submitting")),
    ("timeToLiveSeconds", Honoured("as it is")),
    ("sparkUIOptions", Told("Spark's user interface is off")),
    ("driverIngressOptions", Told("there is no ingress")),
    ("dynamicAllocation", Told("driver and executors are one process: set executor.instances")),
    ("driverPodDisruptionBudget", Told("there are no pods")),
    ("pod.cores", Honoured("as it is")),
    ("pod.coreRequest", Honoured("what is taken of the cluster's capacity")),
    ("pod.coreLimit", Honoured("shown only: threads are `cores`")),
    ("pod.memory", Honoured("as it is")),
    ("pod.memoryLimit", Told("the process is not limited: set memory")),
    ("pod.memoryOverhead", Honoured("counts as memory")),
    ("pod.gpu", Told("the job sees the devices that the machine has")),
    ("pod.image", Told("jobs run on the platform's own Spark and Python")),
    ("pod.configMaps", Honoured("files below `$MLP_MOUNTS`")),
    ("pod.secrets", Honoured("files below `$MLP_MOUNTS`")),
    (
        "pod.env",
        Honoured("`$(NAME)` is a variable before it; `fieldRef` knows the names, labels and addresses of a pod"),
    ),
    ("pod.envVars", Honoured("as `env`")),
    ("pod.envFrom", Honoured("as it is")),
    ("pod.envSecretKeyRefs", Honoured("as it is")),
    ("pod.labels", Honoured("shown only, and for `fieldRef`")),
    ("pod.annotations", Honoured("shown only, and for `fieldRef`")),
    ("pod.volumeMounts", Honoured("files and folders below `$MLP_MOUNTS`")),
    ("pod.affinity", Told("there is one machine")),
    ("pod.tolerations", Told("there is one machine")),
    ("pod.podSecurityContext", Told("a job runs as the user of all jobs")),
    ("pod.securityContext", Told("a job runs as the user of all jobs")),
    ("pod.schedulerName", Told("jobs start in the order of submitting")),
    ("pod.sidecars", Told("there are no containers")),
    ("pod.initContainers", Told("there are no containers: do it in the program")),
    ("pod.hostNetwork", Honoured("a job is in the machine's network")),
    ("pod.nodeSelector", Told("there is one machine")),
    ("pod.dnsConfig", Told("the machine's is used")),
    ("pod.terminationGracePeriodSeconds", Told("a job that is deleted is asked to end, and then ended")),
    ("pod.serviceAccount", Honoured("shown only, and for `fieldRef`: there is no Kubernetes to call")),
    ("pod.hostAliases", Told("the machine's names are used")),
    ("pod.shareProcessNamespace", Told("there are no containers")),
    (
        "pod.template",
        Honoured("`env`, `envFrom`, `volumeMounts` of its first container and its `volumes`; the rest is told"),
    ),
    (
        "pod.javaOptions",
        Honoured("of the driver, which is executors, too; of the executors alone they count for nothing"),
    ),
    ("pod.lifecycle", Told("there are no containers")),
    ("pod.ports", Told("a job listens where it wants")),
    ("pod.priorityClassName", Told("jobs start in the order of submitting")),
    ("driver.podName", Told("the driver's pod is named after the job")),
    ("driver.kubernetesMaster", Told("there is no Kubernetes")),
    ("driver.serviceAnnotations", Told("there is no service")),
    ("driver.serviceLabels", Told("there is no service")),
    ("executor.instances", Honoured("as many threads as all have cores")),
    ("executor.deleteOnTermination", Honoured("nothing of an executor remains")),
];

/// The most fields that nobody knows which are told.
const MOST: usize = 20;
/// Keys of `sparkConf` that the platform sets itself.
const OURS: [&str; 3] = ["spark.submit.deployMode", "spark.driver.host", "spark.driver.bindAddress"];

fn treatment(section: &str, key: &str) -> Option<Treatment> {
    let find = |path: String| TABLE.iter().find(|(name, _)| *name == path).map(|(_, treatment)| *treatment);
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

/// What is said of a manifest's fields; the text says which one keeps it from being run.
pub(crate) fn told(manifest: &Value) -> Result<Vec<String>, String> {
    let mut told = Vec::new();
    let mut unknown = 0;
    for section in ["", "driver", "executor"] {
        let fields =
            manifest.get("spec").and_then(|spec| if section.is_empty() { Some(spec) } else { spec.get(section) });
        for (key, value) in fields.and_then(Value::as_object).into_iter().flatten() {
            if is_nothing(value) {
                continue;
            }
            let path = if section.is_empty() { format!("spec.{key}") } else { format!("spec.{section}.{key}") };
            match treatment(section, key) {
                Some(Honoured(_)) => {}
                Some(Told(why)) => told.push(format!("{path}: it counts for nothing here: {why}")),
                Some(Refused(why)) => return Err(format!("{path}: {why}")),
                None if unknown < MOST => {
                    unknown += 1;
                    let path: String = path.chars().take(100).collect();
                    told.push(format!("{path}: it counts for nothing here: no such field is known"));
                }
                None => {}
            }
        }
        if section == "executor" && fields.and_then(|pod| pod.get("javaOptions")).is_some_and(|text| !is_nothing(text))
        {
            told.push(
                "spec.executor.javaOptions: it counts for nothing here: driver and executors are one process: set \
                 spec.driver.javaOptions"
                    .to_owned(),
            );
        }
        if let Some(template) = fields.and_then(|pod| pod.get("template")) {
            let rest = rest_of_template(template);
            if !rest.is_empty() {
                told.push(format!("spec.{section}.template: of it count for nothing here: {}", rest.join(", ")));
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
        told.push(format!("spec.sparkConf: of it count for nothing here: {}", listed(&ignored)));
    }
    // Names alone: their values are keys of a bucket.
    for (field, prefix) in [("sparkConf", ""), ("hadoopConf", "spark.hadoop.")] {
        let conf = manifest.get("spec").and_then(|spec| spec.get(field)).and_then(Value::as_object);
        // Those that name a class are told one by one.
        let is_told = |value: &Value| value.as_str().is_some_and(s3a::is_for_object_stores);
        let about = conf.into_iter().flatten().filter(|(key, value)| {
            s3a::is_about_buckets(&format!("{prefix}{key}")) && !is_nothing(value) && !is_told(value)
        });
        let about: Vec<&str> = about.map(|(key, _)| key.as_str()).collect();
        if !about.is_empty() {
            let names = listed(&about);
            told.push(format!(
                "spec.{field}: of it count for nothing here, because the bucket is a folder of the platform: {names}"
            ));
        }
    }
    Ok(told)
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

    fn row(field: &str, treatment: Treatment) -> String {
        let (word, text) = match treatment {
            Honoured(how) => ("honoured", how),
            Told(why) => ("told", why),
            Refused(why) => ("refused", why),
        };
        format!("| `{field}` | {word} | {text} |")
    }

    #[test]
    fn the_guide_shows_the_table() {
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spark.md");
        let guide = fs::read_to_string(guide).unwrap();
        let shown: Vec<&str> = guide
            .lines()
            .filter(|line| ["| honoured |", "| told |", "| refused |"].iter().any(|word| line.contains(word)))
            .collect();
        let expected: Vec<String> = TABLE.iter().map(|(field, treatment)| row(field, *treatment)).collect();
        assert_eq!(shown, expected, "\n{}", expected.join("\n"));
    }

    #[test]
    fn every_field_of_the_operator_has_a_row() {
        for (section, key) in mlplatform_protocol::manifest::known_fields() {
            assert!(treatment(section, key).is_some(), "{section}.{key}");
        }
    }

    #[test]
    fn nothing_is_passed_over_in_silence() {
        let manifest = |more: serde_json::Value| json!({"metadata": {"name": "j"}, "spec": more});
        for (key, treatment) in TABLE {
            let pods: &[&str] = if let Some(key) = key.strip_prefix("pod.") {
                &[&format!("driver.{key}"), &format!("executor.{key}")]
            } else {
                &[key]
            };
            for path in pods {
                let spec = path.rsplit('.').fold(json!({"x": 1}), |inner, key| json!({key: inner}));
                let found = told(&manifest(spec));
                match treatment {
                    Honoured(_) => {}
                    Told(why) => {
                        assert_eq!(found, Ok(vec![format!("spec.{path}: it counts for nothing here: {why}")]));
                    }
                    Refused(why) => assert_eq!(found, Err(format!("spec.{path}: {why}"))),
                }
                for nothing in [json!(null), json!(""), json!([]), json!({}), json!(false)] {
                    let spec = path.rsplit('.').fold(nothing, |inner, key| json!({key: inner}));
                    assert_eq!(told(&manifest(spec)), Ok(vec![]), "{path}");
                }
            }
        }
        let unknown = told(&manifest(json!({"driver": {"coreLimt": "1"}, "new": 1}))).unwrap();
        assert_eq!(unknown.len(), 2);
        assert!(unknown[1].starts_with("spec.driver.coreLimt: it counts for nothing here"), "{unknown:?}");
        let many: serde_json::Map<_, _> = (0..1000).map(|n| (format!("k{n}"), json!(1))).collect();
        assert_eq!(told(&manifest(many.into())).unwrap().len(), MOST);
        let conf = json!({"sparkConf": {"spark.driver.host": "h", "spark.kubernetes.x": "y", "spark.a": "b",
            "spark.kubernetes.driverEnv.A": "b"}});
        assert_eq!(
            told(&manifest(conf)).unwrap(),
            ["spec.sparkConf: of it count for nothing here: spark.driver.host, spark.kubernetes.x"]
        );
        let keys = json!({
            "sparkConf": {"spark.hadoop.fs.s3a.endpoint": "https://hunter2", "spark.a": "b", "spark.hadoop.fs.gs.x": "y"},
            "hadoopConf": {"fs.s3a.secret.key": "hunter2", "fs.s3a.access.key": "hunter2", "fs.s3a.path.style.access": "",
                "fs.s3a.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem", "fs.s3a.impl.disable.cache": "true"},
        });
        let why = "of it count for nothing here, because the bucket is a folder of the platform";
        assert_eq!(
            told(&manifest(keys)).unwrap(),
            [
                format!("spec.sparkConf: {why}: spark.hadoop.fs.s3a.endpoint"),
                format!("spec.hadoopConf: {why}: fs.s3a.secret.key, fs.s3a.access.key"),
            ]
        );
        let many: serde_json::Map<_, _> = (0..1000).map(|n| (format!("fs.s3a.{n}"), json!("x"))).collect();
        let many = told(&manifest(json!({"hadoopConf": many}))).unwrap();
        assert!(many.len() == 1 && many[0].ends_with(" and 980 more"), "{many:?}");
        let options = json!({"executor": {"javaOptions": "-Dx"}});
        assert!(told(&manifest(options)).unwrap()[0].ends_with("set spec.driver.javaOptions"));
    }
}
