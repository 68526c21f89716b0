//! Validation rules that involve several fields: of the operator's admission webhook, Spark and Kubernetes.

use std::collections::HashSet;

use super::{
    model::Part,
    quantity::Cpu,
    validate::{Check, found, shorten},
};
use crate::yaml::{Node, Scalar};

/// Keys of `sparkConf` that a field overrides: two different values mean that one is forgotten.
const OVERRIDDEN: [(&str, &[&str]); 8] = [
    ("spark.app.name", &["metadata", "name"]),
    ("spark.driver.cores", &["spec", "driver", "cores"]),
    ("spark.driver.memory", &["spec", "driver", "memory"]),
    ("spark.driver.memoryOverhead", &["spec", "driver", "memoryOverhead"]),
    ("spark.executor.instances", &["spec", "executor", "instances"]),
    ("spark.executor.cores", &["spec", "executor", "cores"]),
    ("spark.executor.memory", &["spec", "executor", "memory"]),
    ("spark.executor.memoryOverhead", &["spec", "executor", "memoryOverhead"]),
];

impl Check<'_> {
    pub(super) fn cross_field_rules(&mut self) {
        self.program();
        self.conf_and_fields();
        self.executors();
        self.ingresses();
        let shared = self.manifest.at(&["spec", "nodeSelector"]).filter(|node| !node.is_null()).is_some();
        for part in [Part::Driver, Part::Executor] {
            let key = part.key();
            let pod = |name: &str| self.manifest.at(&["spec", key, name]).filter(|node| !node.is_null());
            let path = |name: &str| format!("spec.{key}.{name}");
            if let Some(node) = pod("nodeSelector").filter(|_| shared) {
                let rule = "nodeSelector stands in spec, or in driver and executor, not in both";
                self.say(&path("nodeSelector"), node.line, "a second nodeSelector", rule, "remove spec.nodeSelector");
            }
            if let Some(node) = pod("template").filter(|_| !self.has_templates()) {
                let rule = "pod templates need Spark 3.0.0 or later";
                self.say(&path("template"), node.line, "a pod template", rule, "remove it, or set spec.sparkVersion");
            }
            self.cores(key);
            self.mounts(key);
        }
    }

    /// As admission compares versions: what is none is older than all.
    fn has_templates(&self) -> bool {
        let version = self.manifest.text_at(&["spec", "sparkVersion"]).unwrap_or_default();
        let major = version.trim_start_matches('v').split(['.', '-', '+']).next().unwrap_or_default();
        major.parse::<u32>().is_ok_and(|major| major >= 3)
    }

    /// What a pod asks for against its limit: Kubernetes refuses a pod that asks for more. That `cores` are what is asked
    /// for where `coreRequest` does not say otherwise is easily missed, and in many published scripts: a warning.
    fn cores(&mut self, key: &str) {
        let pod = |name: &str| self.manifest.at(&["spec", key, name]).filter(|node| !node.is_null());
        let amount = |name: &str| pod(name)?.as_scalar()?.as_str().parse::<Cpu>().ok();
        let (Some(limit), Some(limit_node)) = (amount("coreLimit"), pod("coreLimit")) else { return };
        let shown = found(limit_node);
        let path = |name: &str| format!("spec.{key}.{name}");
        match (amount("coreRequest"), pod("coreRequest"), amount("cores"), pod("cores")) {
            (Some(request), Some(node), _, _) if request > limit => {
                let rule = format!("no pod may ask for more than its limit, and coreLimit is {shown}");
                self.say(&path("coreRequest"), node.line, found(node), rule, "lower it, or raise coreLimit");
            }
            (None, None, Some(cores), Some(node)) if cores > limit => {
                let rule = format!(
                    "without coreRequest a pod asks for so many cores, and Kubernetes starts none that asks for more than \
                     its coreLimit, which is {shown}"
                );
                let remedy = format!("raise coreLimit to \"{}m\", remove it, or set coreRequest", cores.millis);
                self.warn(&path("cores"), node, rule, remedy);
            }
            _ => {}
        }
    }

    fn mounts(&mut self, part: &str) {
        let named = |list: Option<&Node>| -> Vec<String> {
            let volumes = list.and_then(Node::as_sequence).into_iter().flatten();
            volumes.filter_map(|volume| Some(volume.get("name")?.as_str()?.to_owned())).collect()
        };
        let mut names: HashSet<String> = named(self.manifest.at(&["spec", "volumes"])).into_iter().collect();
        names.extend(named(self.manifest.at(&["spec", part, "template", "spec", "volumes"])));
        let mounts = self.manifest.at(&["spec", part, "volumeMounts"]).and_then(Node::as_sequence);
        for (index, mount) in mounts.into_iter().flatten().enumerate() {
            if let Some(node) = mount.get("name")
                && let Some(name) = node.as_str().filter(|name| !names.contains(*name))
            {
                let path = format!("spec.{part}.volumeMounts[{index}].name");
                let remedy = format!("add a volume named {} there", shorten(name));
                self.say(&path, node.line, found(node), "no volume in spec.volumes has that name", remedy);
            }
        }
    }

    fn program(&mut self) {
        let (Some(kind), Some(file)) =
            (self.manifest.text_at(&["spec", "type"]), self.manifest.at(&["spec", "mainApplicationFile"]))
        else {
            return;
        };
        let Some(name) = file.as_str() else { return };
        let name = name.split(['?', '#']).next().unwrap_or(name).to_ascii_lowercase();
        let language = [(".py", "Python"), (".jar", "Java or Scala"), (".r", "R")];
        let Some((ending, right)) = language.iter().find(|(ending, _)| name.ends_with(ending)) else { return };
        if super::SPEC_TYPES.contains(&kind) && !right.contains(kind) {
            let rule = format!("spec.type is {kind}, and a file that ends in {ending} is {right}");
            self.say(
                "spec.mainApplicationFile",
                file.line,
                found(file),
                rule,
                format!("set spec.type to {right}, or name another file"),
            );
        }
    }

    fn conf_and_fields(&mut self) {
        let Some(conf) = self.manifest.at(&["spec", "sparkConf"]).and_then(Node::as_mapping) else { return };
        for (key, path) in OVERRIDDEN {
            let (Some(entry), Some(wins)) = (conf.entry(key), self.manifest.text_at(path)) else { continue };
            if entry.value.as_scalar().is_some_and(|value| value.as_str() != wins) {
                let here = format!("spec.sparkConf[\"{key}\"]");
                let field = path.join(".");
                let rule = format!("{field} is {} and wins", shorten(wins));
                self.warn(&here, &entry.value, rule, format!("remove it, or set {field}"));
            }
        }
        let namespace = self.manifest.text_at(&["metadata", "namespace"]).unwrap_or("default");
        if let Some(entry) = conf.entry("spark.kubernetes.namespace")
            && entry.value.as_str().is_some_and(|value| value != namespace)
        {
            let rule = format!("the operator takes no other than metadata.namespace, which is {}", shorten(namespace));
            let path = "spec.sparkConf[\"spark.kubernetes.namespace\"]";
            self.say(path, entry.line, found(&entry.value), rule, "remove it, or set metadata.namespace");
        }
    }

    /// What Spark refuses when it starts.
    fn executors(&mut self) {
        let Some(dynamic) = self.manifest.at(&["spec", "dynamicAllocation"]) else { return };
        let enabled = dynamic.get("enabled").and_then(Node::as_scalar).is_some_and(|scalar| scalar.as_str() == "true");
        if !enabled {
            return;
        }
        let number = |key: &str| dynamic.get(key)?.as_scalar()?.as_i128();
        for (key, least) in [("initialExecutors", 0), ("minExecutors", 0), ("maxExecutors", 1)] {
            if let (Some(given), Some(node)) = (number(key), dynamic.get(key))
                && given < least
            {
                let rule = format!("Spark takes no less than {least}");
                self.say(&format!("spec.dynamicAllocation.{key}"), node.line, given.to_string(), rule, "raise it");
            }
        }
        for (low, high) in [("minExecutors", "maxExecutors"), ("initialExecutors", "maxExecutors")] {
            if let (Some(least), Some(most), Some(node)) = (number(low), number(high), dynamic.get(low))
                && least > most
            {
                let rule = format!("{high} is {most}, which is less");
                let remedy = format!("lower it, or raise {high}");
                self.say(&format!("spec.dynamicAllocation.{low}"), node.line, least.to_string(), rule, remedy);
            }
        }
    }

    fn ingresses(&mut self) {
        let (mut ports, mut formats) = (HashSet::new(), HashSet::new());
        let ingresses = self.manifest.at(&["spec", "driverIngressOptions"]).and_then(Node::as_sequence);
        for (index, ingress) in ingresses.into_iter().flatten().enumerate() {
            let path = |key: &str| format!("spec.driverIngressOptions[{index}].{key}");
            if let Some(node) = ingress.get("servicePort")
                && let Some(port) = node.as_scalar().and_then(Scalar::as_i128)
                && !ports.insert(port)
            {
                let rule = "another ingress has that port";
                self.say(&path("servicePort"), node.line, port.to_string(), rule, "choose another");
            }
            if let Some(node) = ingress.get("ingressURLFormat")
                && let Some(format) = node.as_str().filter(|format| !format.is_empty())
                && !formats.insert(format)
            {
                let rule = "another ingress has that URL format";
                self.say(&path("ingressURLFormat"), node.line, found(node), rule, "choose another");
            }
        }
    }
}
