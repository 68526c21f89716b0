//! The fields of a `SparkApplication`: one table of what the operator takes.
//!
//! It states the CRD `sparkoperator.k8s.io/v1beta2` and the admission rules of kubeflow/spark-operator v2 at commit
//! 0c707ad05f0d (2026), which knows `memoryLimit`, `driverPodDisruptionBudget` and the refused keys of `sparkConf`. A row is
//! a field's name, its type with its bounds, and whether it is required ([`must`]). A null is an absent field, as the API
//! server drops it. Rules about several fields are in [`super::together`].
//!
//! What is not in the table is not refused: a newer operator may know it.

use super::model::{API_VERSION, KIND, Part, RESTART_TYPES, SPEC_TYPES};

/// A row of the table.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) ty: Type,
    pub(super) required: bool,
}

/// What a field holds. Where the CRD says no more than "a string", an empty text is one: [`Type::Text`].
#[derive(Debug)]
pub(super) enum Type {
    /// Any text, the empty one included.
    Text,
    /// A text that Kubernetes or Spark refuses empty.
    Filled,
    OneOf(&'static [&'static str]),
    /// A whole number between the two.
    Int(i64, i64),
    Bool,
    /// A list of texts, which may be empty.
    Texts,
    /// Maven coordinates of that many parts; Spark refuses others.
    Coordinates(usize),
    TextMap,
    /// Labels of Kubernetes: their values have a grammar.
    Labels,
    /// Without the keys that admission refuses.
    SparkConf,
    /// An amount of memory as Spark reads it, with the least number.
    Memory(u64),
    /// An amount of CPU as Kubernetes reads it.
    Cpu,
    /// An amount of memory of Kubernetes (`2Gi`), or of Spark (`2g`), which the operator translates.
    MemoryLimit,
    /// A positive number, written as a text; Spark refuses others.
    Factor,
    /// A label of DNS (RFC 1035), which begins with a letter: admission refuses others.
    Name1035,
    /// A label of DNS (RFC 1123), which may begin with a digit: Kubernetes refuses others.
    Name1123,
    /// The CRD's pattern of `podName`, which is not anchored: at least one of a-z and 0-9.
    PodName,
    Env,
    EnvFrom,
    Fields(&'static [&'static [Field]]),
    ListOf(&'static [&'static [Field]]),
    /// Any keys, each with these fields.
    MapOf(&'static [&'static [Field]]),
    /// A mapping of Kubernetes' own, left to it.
    Map,
    /// A list of Kubernetes' own mappings, left to it.
    List,
}

const INT32: Type = Type::Int(i32::MIN as i64, i32::MAX as i64);
const INT64: Type = Type::Int(i64::MIN, i64::MAX);
const PORT: Type = Type::Int(1, 65_535);

const fn from(least: i64) -> Type {
    Type::Int(least, i32::MAX as i64)
}

const fn may(name: &'static str, ty: Type) -> Field {
    Field { name, ty, required: false }
}

const fn must(name: &'static str, ty: Type) -> Field {
    Field { name, ty, required: true }
}

pub(super) const ROOT: &[&[Field]] = &[&[
    must("apiVersion", Type::OneOf(&[API_VERSION])),
    must("kind", Type::OneOf(&[KIND])),
    must("metadata", Type::Fields(&[METADATA])),
    must("spec", Type::Fields(&[SPEC])),
    may("status", Type::Map),
]];

const METADATA: &[Field] = &[
    must("name", Type::Name1035),
    may("namespace", Type::Name1123),
    may("labels", Type::Labels),
    may("annotations", Type::TextMap),
];

pub(super) const SPEC: &[Field] = &[
    must("type", Type::OneOf(&SPEC_TYPES)),
    must("sparkVersion", Type::Text),
    may("mode", Type::OneOf(&["cluster", "client"])),
    may("suspend", Type::Bool),
    may("proxyUser", Type::Text),
    may("image", Type::Text),
    // The CRD takes any text, Spark only these.
    may("imagePullPolicy", Type::OneOf(&["Always", "IfNotPresent", "Never"])),
    may("imagePullSecrets", Type::Texts),
    may("mainClass", Type::Text),
    must("mainApplicationFile", Type::Filled),
    may("arguments", Type::Texts),
    may("sparkConf", Type::SparkConf),
    may("hadoopConf", Type::TextMap),
    may("sparkConfigMap", Type::Filled),
    may("hadoopConfigMap", Type::Filled),
    may("volumes", Type::ListOf(&[&[must("name", Type::Name1123)]])),
    must("driver", Type::Fields(&[POD, DRIVER])),
    must("executor", Type::Fields(&[POD, EXECUTOR])),
    may("deps", Type::Fields(&[DEPS])),
    may("restartPolicy", Type::Fields(&[RESTART])),
    may("nodeSelector", Type::TextMap),
    may("failureRetries", INT32),
    may("retryInterval", INT64),
    may("pythonVersion", Type::OneOf(&["2", "3"])),
    may("memoryOverheadFactor", Type::Factor),
    may("monitoring", Type::Fields(&[MONITORING])),
    may("batchScheduler", Type::Text),
    may("timeToLiveSeconds", INT64),
    may("batchSchedulerOptions", Type::Fields(&[BATCH_SCHEDULER])),
    may("sparkUIOptions", Type::Fields(&[UI])),
    may("driverIngressOptions", Type::ListOf(&[INGRESS])),
    may("dynamicAllocation", Type::Fields(&[DYNAMIC_ALLOCATION])),
    may("driverPodDisruptionBudget", Type::Bool),
];

const DEPS: &[Field] = &[
    may("jars", Type::Texts),
    may("files", Type::Texts),
    may("pyFiles", Type::Texts),
    may("packages", Type::Coordinates(3)),
    may("excludePackages", Type::Coordinates(2)),
    may("repositories", Type::Texts),
    may("archives", Type::Texts),
];

const RESTART: &[Field] = &[
    may("type", Type::OneOf(&RESTART_TYPES)),
    may("onFailureRetries", from(0)),
    may("onFailureRetryInterval", Type::Int(1, i64::MAX)),
    may("onSubmissionFailureRetries", from(0)),
    may("onSubmissionFailureRetryInterval", Type::Int(1, i64::MAX)),
];

const DYNAMIC_ALLOCATION: &[Field] = &[
    may("enabled", Type::Bool),
    may("initialExecutors", INT32),
    may("minExecutors", INT32),
    may("maxExecutors", INT32),
    may("shuffleTrackingEnabled", Type::Bool),
    may("shuffleTrackingTimeout", INT64),
];

const MONITORING: &[Field] = &[
    must("exposeDriverMetrics", Type::Bool),
    must("exposeExecutorMetrics", Type::Bool),
    may("metricsProperties", Type::Text),
    may("metricsPropertiesFile", Type::Text),
    may("prometheus", Type::Fields(&[PROMETHEUS])),
];

const PROMETHEUS: &[Field] = &[
    must("jmxExporterJar", Type::Text),
    may("port", Type::Int(1024, 49_151)),
    may("portName", Type::Text),
    may("configFile", Type::Text),
    may("configuration", Type::Text),
];

const BATCH_SCHEDULER: &[Field] =
    &[may("queue", Type::Text), may("priorityClassName", Type::Text), may("resources", Type::Map)];

const TLS: &[Field] = &[may("hosts", Type::Texts), may("secretName", Type::Text)];

const UI: &[Field] = &[
    may("servicePort", PORT),
    may("servicePortName", Type::Text),
    may("serviceType", Type::Text),
    may("serviceAnnotations", Type::TextMap),
    may("serviceLabels", Type::Labels),
    may("ingressAnnotations", Type::TextMap),
    may("ingressTLS", Type::ListOf(&[TLS])),
];

const INGRESS: &[Field] = &[
    must("servicePort", PORT),
    must("servicePortName", Type::Text),
    may("serviceType", Type::Text),
    may("serviceAnnotations", Type::TextMap),
    may("serviceLabels", Type::Labels),
    // Optional in the CRD, required by admission.
    must("ingressURLFormat", Type::Filled),
    may("ingressAnnotations", Type::TextMap),
    may("ingressTLS", Type::ListOf(&[TLS])),
];

const MOUNT: &[Field] = &[
    must("name", Type::Filled),
    must("mountPath", Type::Filled),
    may("subPath", Type::Text),
    may("subPathExpr", Type::Text),
    may("readOnly", Type::Bool),
    may("mountPropagation", Type::Text),
];
const CONFIG_MAP: &[Field] = &[must("name", Type::Filled), must("path", Type::Filled)];
const SECRET: &[Field] = &[must("name", Type::Filled), must("path", Type::Filled), must("secretType", Type::Text)];
const NAME_KEY: &[Field] = &[must("name", Type::Filled), must("key", Type::Filled)];
const CONTAINER_PORT: &[Field] = &[must("name", Type::Text), must("protocol", Type::Text), must("containerPort", PORT)];
// The operator refuses a job that asks for none.
const GPU: &[Field] = &[must("name", Type::Filled), must("quantity", Type::Int(1, i64::MAX))];

const POD: &[Field] = &[
    may("cores", from(1)),
    may("coreRequest", Type::Cpu),
    may("coreLimit", Type::Cpu),
    may("memory", Type::Memory(1)),
    may("memoryLimit", Type::MemoryLimit),
    may("memoryOverhead", Type::Memory(0)),
    may("gpu", Type::Fields(&[GPU])),
    may("image", Type::Text),
    may("configMaps", Type::ListOf(&[CONFIG_MAP])),
    may("secrets", Type::ListOf(&[SECRET])),
    may("env", Type::Env),
    may("envVars", Type::TextMap),
    may("envFrom", Type::EnvFrom),
    may("envSecretKeyRefs", Type::MapOf(&[NAME_KEY])),
    may("labels", Type::Labels),
    may("annotations", Type::TextMap),
    may("volumeMounts", Type::ListOf(&[MOUNT])),
    may("affinity", Type::Map),
    may("tolerations", Type::List),
    may("podSecurityContext", Type::Map),
    may("securityContext", Type::Map),
    may("schedulerName", Type::Text),
    may("sidecars", Type::List),
    may("initContainers", Type::List),
    may("hostNetwork", Type::Bool),
    may("nodeSelector", Type::TextMap),
    may("dnsConfig", Type::Map),
    may("terminationGracePeriodSeconds", Type::Int(0, i64::MAX)),
    may("serviceAccount", Type::Text),
    may("hostAliases", Type::List),
    may("shareProcessNamespace", Type::Bool),
    may("template", Type::Map),
    may("javaOptions", Type::Text),
    may("lifecycle", Type::Map),
    may("ports", Type::ListOf(&[CONTAINER_PORT])),
    may("priorityClassName", Type::Text),
];

const DRIVER: &[Field] = &[
    may("podName", Type::PodName),
    may("kubernetesMaster", Type::Text),
    may("serviceAnnotations", Type::TextMap),
    may("serviceLabels", Type::Labels),
];

const EXECUTOR: &[Field] = &[may("instances", from(1)), may("deleteOnTermination", Type::Bool)];

/// The settings of the driver, or of the executors.
pub(super) const fn settings(part: Part) -> &'static [&'static [Field]] {
    match part {
        Part::Driver => &[POD, DRIVER],
        Part::Executor => &[POD, EXECUTOR],
    }
}

/// The known name that looks most like that, if any does.
pub(super) fn nearest(name: &str, known: &[&[Field]]) -> Option<&'static str> {
    if name.len() > 64 {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    let name = plain(name);
    let allowed = 1 + name.chars().count() / 4;
    let all = known.iter().flat_map(|fields| fields.iter());
    let distances = all.map(|field| (distance(&name, &plain(field.name)), field.name));
    distances.filter(|(distance, _)| *distance <= allowed).min().map(|(_, name)| name)
}

/// How many letters must be added, removed or replaced to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (above, y) in row.iter().skip(1).zip(b.chars()) {
            left = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// Every field that the operator knows in `spec` (`""`), `driver` and `executor`, with its section.
pub fn known_fields() -> impl Iterator<Item = (&'static str, &'static str)> {
    let of = |section: &'static str, fields: &'static [&'static [Field]]| {
        fields.iter().flat_map(|fields| fields.iter()).map(move |field| (section, field.name))
    };
    of("", &[SPEC]).chain(of("driver", settings(Part::Driver))).chain(of("executor", settings(Part::Executor)))
}
