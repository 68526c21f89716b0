//! The fields of a `SparkApplication` and their types, as the operator's CRD has them.
//!
//! What is not in these tables is not refused: a newer operator may know it.

use super::{Part, RESTART_TYPES, SPEC_TYPES};

/// A field that is known.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) ty: Type,
    pub(super) required: bool,
}

/// What a field holds.
#[derive(Debug)]
pub(super) enum Type {
    Text,
    OneOf(&'static [&'static str]),
    /// A whole number, at least that.
    Int(i64),
    Bool,
    Texts,
    /// Maven coordinates of that many parts.
    Coordinates(usize),
    TextMap,
    /// Labels of Kubernetes: their values have a grammar.
    Labels,
    SparkConf,
    Memory,
    Cpu,
    /// A positive number, written as a text.
    Factor,
    /// A label of DNS (RFC 1035): begins with a letter.
    Name1035,
    /// A label of DNS (RFC 1123): may begin with a digit.
    Name1123,
    Env,
    EnvFrom,
    Fields(&'static [&'static [Field]]),
    ListOf(&'static [&'static [Field]]),
    /// Kubernetes' own structures are left to it.
    Map,
    List,
}

const fn may(name: &'static str, ty: Type) -> Field {
    Field { name, ty, required: false }
}

const fn must(name: &'static str, ty: Type) -> Field {
    Field { name, ty, required: true }
}

pub(super) const ROOT: &[&[Field]] = &[&[
    must("apiVersion", Type::OneOf(&[super::API_VERSION])),
    must("kind", Type::OneOf(&[super::KIND])),
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

const SPEC: &[Field] = &[
    must("type", Type::OneOf(&SPEC_TYPES)),
    must("sparkVersion", Type::Text),
    may("mode", Type::OneOf(&["cluster", "client"])),
    may("proxyUser", Type::Text),
    may("image", Type::Text),
    may("imagePullPolicy", Type::OneOf(&["Always", "IfNotPresent", "Never"])),
    may("imagePullSecrets", Type::Texts),
    may("mainClass", Type::Text),
    must("mainApplicationFile", Type::Text),
    may("arguments", Type::Texts),
    may("sparkConf", Type::SparkConf),
    may("hadoopConf", Type::TextMap),
    may("sparkConfigMap", Type::Text),
    may("hadoopConfigMap", Type::Text),
    may("volumes", Type::ListOf(&[&[must("name", Type::Name1123)]])),
    must("driver", Type::Fields(&[POD, DRIVER])),
    must("executor", Type::Fields(&[POD, EXECUTOR])),
    may("deps", Type::Fields(&[DEPS])),
    may("restartPolicy", Type::Fields(&[RESTART])),
    may("nodeSelector", Type::TextMap),
    may("failureRetries", Type::Int(0)),
    may("retryInterval", Type::Int(1)),
    may("pythonVersion", Type::OneOf(&["2", "3"])),
    may("memoryOverheadFactor", Type::Factor),
    may("monitoring", Type::Map),
    may("batchScheduler", Type::Text),
    may("timeToLiveSeconds", Type::Int(0)),
    may("batchSchedulerOptions", Type::Map),
    may("sparkUIOptions", Type::Map),
    may("driverIngressOptions", Type::ListOf(&[&[must("servicePort", Type::Int(1))]])),
    may("dynamicAllocation", Type::Fields(&[DYNAMIC_ALLOCATION])),
    may("suspend", Type::Bool),
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
    may("onFailureRetries", Type::Int(0)),
    may("onFailureRetryInterval", Type::Int(1)),
    may("onSubmissionFailureRetries", Type::Int(0)),
    may("onSubmissionFailureRetryInterval", Type::Int(1)),
];

const DYNAMIC_ALLOCATION: &[Field] = &[
    may("enabled", Type::Bool),
    may("initialExecutors", Type::Int(0)),
    may("minExecutors", Type::Int(0)),
    may("maxExecutors", Type::Int(1)),
    may("shuffleTrackingEnabled", Type::Bool),
    may("shuffleTrackingTimeout", Type::Int(0)),
];

const MOUNT: &[Field] = &[must("name", Type::Text), must("mountPath", Type::Text)];
const CONFIG_MAP: &[Field] = &[must("name", Type::Text), must("path", Type::Text)];
const SECRET: &[Field] = &[must("name", Type::Text), must("path", Type::Text), must("secretType", Type::Text)];

const POD: &[Field] = &[
    may("cores", Type::Int(1)),
    may("coreRequest", Type::Cpu),
    may("coreLimit", Type::Cpu),
    may("memory", Type::Memory),
    may("memoryOverhead", Type::Memory),
    may("gpu", Type::Fields(&[&[must("name", Type::Text), must("quantity", Type::Int(1))]])),
    may("image", Type::Text),
    may("configMaps", Type::ListOf(&[CONFIG_MAP])),
    may("secrets", Type::ListOf(&[SECRET])),
    may("env", Type::Env),
    may("envVars", Type::TextMap),
    may("envFrom", Type::EnvFrom),
    may("envSecretKeyRefs", Type::Map),
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
    may("terminationGracePeriodSeconds", Type::Int(0)),
    may("serviceAccount", Type::Text),
    may("hostAliases", Type::List),
    may("shareProcessNamespace", Type::Bool),
    may("template", Type::Map),
    may("javaOptions", Type::Text),
    may("lifecycle", Type::Map),
    may("ports", Type::List),
    may("priorityClassName", Type::Text),
];

const DRIVER: &[Field] = &[
    may("podName", Type::Text),
    may("kubernetesMaster", Type::Text),
    may("serviceAnnotations", Type::TextMap),
    may("serviceLabels", Type::Labels),
];

const EXECUTOR: &[Field] = &[may("instances", Type::Int(1)), may("deleteOnTermination", Type::Bool)];

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
