//! The schema of a `SparkApplication`, as one table.
//!
//! It contains the CRD `sparkoperator.k8s.io/v1beta2` and the admission rules of kubeflow/spark-operator v2 at commit
//! 0c707ad05f0d (2026), which knows `memoryLimit`, `driverPodDisruptionBudget` and the refused keys of `sparkConf`. A row is
//! a field's name, its type with its bounds, and whether it is required ([`required()`]). A null is an absent field, as the API
//! server drops it. Rules about several fields are in [`super::cross_field`].
//!
//! Fields that are not in the table are not refused: a newer operator may know them.

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

const fn optional(name: &'static str, ty: Type) -> Field {
    Field { name, ty, required: false }
}

const fn required(name: &'static str, ty: Type) -> Field {
    Field { name, ty, required: true }
}

pub(super) const ROOT: &[&[Field]] = &[&[
    required("apiVersion", Type::OneOf(&[API_VERSION])),
    required("kind", Type::OneOf(&[KIND])),
    required("metadata", Type::Fields(&[METADATA])),
    required("spec", Type::Fields(&[SPEC])),
    optional("status", Type::Map),
]];

const METADATA: &[Field] = &[
    required("name", Type::Name1035),
    optional("namespace", Type::Name1123),
    optional("labels", Type::Labels),
    optional("annotations", Type::TextMap),
];

pub(super) const SPEC: &[Field] = &[
    required("type", Type::OneOf(&SPEC_TYPES)),
    required("sparkVersion", Type::Text),
    optional("mode", Type::OneOf(&["cluster", "client"])),
    optional("suspend", Type::Bool),
    optional("proxyUser", Type::Text),
    optional("image", Type::Text),
    // The CRD takes any text, Spark only these.
    optional("imagePullPolicy", Type::OneOf(&["Always", "IfNotPresent", "Never"])),
    optional("imagePullSecrets", Type::Texts),
    optional("mainClass", Type::Text),
    required("mainApplicationFile", Type::Filled),
    optional("arguments", Type::Texts),
    optional("sparkConf", Type::SparkConf),
    optional("hadoopConf", Type::TextMap),
    optional("sparkConfigMap", Type::Filled),
    optional("hadoopConfigMap", Type::Filled),
    optional("volumes", Type::ListOf(&[&[required("name", Type::Name1123)]])),
    required("driver", Type::Fields(&[POD, DRIVER])),
    required("executor", Type::Fields(&[POD, EXECUTOR])),
    optional("deps", Type::Fields(&[DEPS])),
    optional("restartPolicy", Type::Fields(&[RESTART])),
    optional("nodeSelector", Type::TextMap),
    optional("failureRetries", INT32),
    optional("retryInterval", INT64),
    optional("pythonVersion", Type::OneOf(&["2", "3"])),
    optional("memoryOverheadFactor", Type::Factor),
    optional("monitoring", Type::Fields(&[MONITORING])),
    optional("batchScheduler", Type::Text),
    optional("timeToLiveSeconds", INT64),
    optional("batchSchedulerOptions", Type::Fields(&[BATCH_SCHEDULER])),
    optional("sparkUIOptions", Type::Fields(&[UI])),
    optional("driverIngressOptions", Type::ListOf(&[INGRESS])),
    optional("dynamicAllocation", Type::Fields(&[DYNAMIC_ALLOCATION])),
    optional("driverPodDisruptionBudget", Type::Bool),
];

const DEPS: &[Field] = &[
    optional("jars", Type::Texts),
    optional("files", Type::Texts),
    optional("pyFiles", Type::Texts),
    optional("packages", Type::Coordinates(3)),
    optional("excludePackages", Type::Coordinates(2)),
    optional("repositories", Type::Texts),
    optional("archives", Type::Texts),
];

const RESTART: &[Field] = &[
    optional("type", Type::OneOf(&RESTART_TYPES)),
    optional("onFailureRetries", from(0)),
    optional("onFailureRetryInterval", Type::Int(1, i64::MAX)),
    optional("onSubmissionFailureRetries", from(0)),
    optional("onSubmissionFailureRetryInterval", Type::Int(1, i64::MAX)),
];

const DYNAMIC_ALLOCATION: &[Field] = &[
    optional("enabled", Type::Bool),
    optional("initialExecutors", INT32),
    optional("minExecutors", INT32),
    optional("maxExecutors", INT32),
    optional("shuffleTrackingEnabled", Type::Bool),
    optional("shuffleTrackingTimeout", INT64),
];

const MONITORING: &[Field] = &[
    required("exposeDriverMetrics", Type::Bool),
    required("exposeExecutorMetrics", Type::Bool),
    optional("metricsProperties", Type::Text),
    optional("metricsPropertiesFile", Type::Text),
    optional("prometheus", Type::Fields(&[PROMETHEUS])),
];

const PROMETHEUS: &[Field] = &[
    required("jmxExporterJar", Type::Text),
    optional("port", Type::Int(1024, 49_151)),
    optional("portName", Type::Text),
    optional("configFile", Type::Text),
    optional("configuration", Type::Text),
];

const BATCH_SCHEDULER: &[Field] =
    &[optional("queue", Type::Text), optional("priorityClassName", Type::Text), optional("resources", Type::Map)];

const TLS: &[Field] = &[optional("hosts", Type::Texts), optional("secretName", Type::Text)];

const UI: &[Field] = &[
    optional("servicePort", PORT),
    optional("servicePortName", Type::Text),
    optional("serviceType", Type::Text),
    optional("serviceAnnotations", Type::TextMap),
    optional("serviceLabels", Type::Labels),
    optional("ingressAnnotations", Type::TextMap),
    optional("ingressTLS", Type::ListOf(&[TLS])),
];

const INGRESS: &[Field] = &[
    required("servicePort", PORT),
    required("servicePortName", Type::Text),
    optional("serviceType", Type::Text),
    optional("serviceAnnotations", Type::TextMap),
    optional("serviceLabels", Type::Labels),
    // Optional in the CRD, required by admission.
    required("ingressURLFormat", Type::Filled),
    optional("ingressAnnotations", Type::TextMap),
    optional("ingressTLS", Type::ListOf(&[TLS])),
];

const MOUNT: &[Field] = &[
    required("name", Type::Filled),
    required("mountPath", Type::Filled),
    optional("subPath", Type::Text),
    optional("subPathExpr", Type::Text),
    optional("readOnly", Type::Bool),
    optional("mountPropagation", Type::Text),
];
const CONFIG_MAP: &[Field] = &[required("name", Type::Filled), required("path", Type::Filled)];
const SECRET: &[Field] =
    &[required("name", Type::Filled), required("path", Type::Filled), required("secretType", Type::Text)];
const NAME_KEY: &[Field] = &[required("name", Type::Filled), required("key", Type::Filled)];
const CONTAINER_PORT: &[Field] =
    &[required("name", Type::Text), required("protocol", Type::Text), required("containerPort", PORT)];
// The operator refuses a job that asks for none.
const GPU: &[Field] = &[required("name", Type::Filled), required("quantity", Type::Int(1, i64::MAX))];

const POD: &[Field] = &[
    optional("cores", from(1)),
    optional("coreRequest", Type::Cpu),
    optional("coreLimit", Type::Cpu),
    optional("memory", Type::Memory(1)),
    optional("memoryLimit", Type::MemoryLimit),
    optional("memoryOverhead", Type::Memory(0)),
    optional("gpu", Type::Fields(&[GPU])),
    optional("image", Type::Text),
    optional("configMaps", Type::ListOf(&[CONFIG_MAP])),
    optional("secrets", Type::ListOf(&[SECRET])),
    optional("env", Type::Env),
    optional("envVars", Type::TextMap),
    optional("envFrom", Type::EnvFrom),
    optional("envSecretKeyRefs", Type::MapOf(&[NAME_KEY])),
    optional("labels", Type::Labels),
    optional("annotations", Type::TextMap),
    optional("volumeMounts", Type::ListOf(&[MOUNT])),
    optional("affinity", Type::Map),
    optional("tolerations", Type::List),
    optional("podSecurityContext", Type::Map),
    optional("securityContext", Type::Map),
    optional("schedulerName", Type::Text),
    optional("sidecars", Type::List),
    optional("initContainers", Type::List),
    optional("hostNetwork", Type::Bool),
    optional("nodeSelector", Type::TextMap),
    optional("dnsConfig", Type::Map),
    optional("terminationGracePeriodSeconds", Type::Int(0, i64::MAX)),
    optional("serviceAccount", Type::Text),
    optional("hostAliases", Type::List),
    optional("shareProcessNamespace", Type::Bool),
    optional("template", Type::Map),
    optional("javaOptions", Type::Text),
    optional("lifecycle", Type::Map),
    optional("ports", Type::ListOf(&[CONTAINER_PORT])),
    optional("priorityClassName", Type::Text),
];

const DRIVER: &[Field] = &[
    optional("podName", Type::PodName),
    optional("kubernetesMaster", Type::Text),
    optional("serviceAnnotations", Type::TextMap),
    optional("serviceLabels", Type::Labels),
];

const EXECUTOR: &[Field] = &[optional("instances", from(1)), optional("deleteOnTermination", Type::Bool)];

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
