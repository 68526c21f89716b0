//! A SparkApplication, read for running: what to start, with what, how often.

mod at;
mod pod;
mod volumes;

pub(crate) use pod::{Object, ObjectKind, Pod, Variable};
pub(crate) use volumes::{Content, MOUNTS, Mount};

use serde_json::Value;

use self::at::At;

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) main: Option<String>,
    pub(crate) main_class: Option<String>,
    pub(crate) arguments: Vec<String>,
    pub(crate) deps: Deps,
    /// Of `sparkConf`, then of `hadoopConf` under the names that Spark gives it.
    pub(crate) conf: Vec<(String, String)>,
    pub(crate) driver: Pod,
    pub(crate) executor: Pod,
    pub(crate) instances: u64,
    pub(crate) restart: Restart,
    /// Seconds after its end until the job is deleted.
    pub(crate) time_to_live: Option<i64>,
    /// What counts for nothing here, or is elsewhere than the manifest says: told when the job is submitted.
    pub(crate) told: Vec<String>,
}

/// What comes along.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deps {
    pub(crate) jars: Vec<String>,
    pub(crate) files: Vec<String>,
    pub(crate) py_files: Vec<String>,
    pub(crate) archives: Vec<String>,
    pub(crate) packages: Vec<String>,
    pub(crate) exclude_packages: Vec<String>,
    pub(crate) repositories: Vec<String>,
}

/// When a run is followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    Never,
    Always,
    OnFailure,
}

/// How often a run is repeated, and after how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Restart {
    pub(crate) policy: RestartPolicy,
    pub(crate) failure_retries: i64,
    pub(crate) failure_interval: i64,
    pub(crate) submission_retries: i64,
    pub(crate) submission_interval: i64,
}

/// What the operator waits when the manifest does not say.
const INTERVAL: i64 = 5;

impl Restart {
    /// Seconds until the next run; `None`: there is none.
    pub(crate) fn after_run(self, success: bool, runs: i64) -> Option<i64> {
        match self.policy {
            RestartPolicy::Never => None,
            RestartPolicy::Always if success => Some(0),
            RestartPolicy::Always => Some(self.failure_interval),
            RestartPolicy::OnFailure => (!success && runs <= self.failure_retries).then_some(self.failure_interval),
        }
    }

    /// The same after a start that failed.
    pub(crate) fn after_submission(self, attempts: i64) -> Option<i64> {
        match self.policy {
            RestartPolicy::Never => None,
            RestartPolicy::Always => Some(self.submission_interval),
            RestartPolicy::OnFailure => (attempts <= self.submission_retries).then_some(self.submission_interval),
        }
    }
}

impl Plan {
    /// Reads a manifest that is valid as such; what only matters here is checked here.
    pub(crate) fn read(manifest: &Value) -> Result<Self, String> {
        let metadata = At { value: manifest.get("metadata"), path: "metadata" };
        let spec = At { value: manifest.get("spec"), path: "spec" };
        let mut told = super::fields::told(manifest)?;
        let name = metadata.text("name")?.ok_or("metadata.name: it is missing: set manifest.job_name")?;
        let deps = spec.child("deps", "spec.deps");
        let mut conf = spec.texts_by_key("sparkConf")?;
        let hadoop = spec.texts_by_key("hadoopConf")?;
        conf.extend(hadoop.into_iter().map(|(key, value)| (format!("spark.hadoop.{key}"), value)));
        let executor = spec.child("executor", "spec.executor");
        let set = |key: &str| conf.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
        let instances = match executor.text("instances")?.or_else(|| set("spark.executor.instances")) {
            None => 1,
            Some(text) => text.parse().map_err(|_| executor.wrong("instances", &text, "a whole number"))?,
        };
        let namespace = metadata.text("namespace")?.unwrap_or_else(|| "default".to_owned());
        let app = pod::App { spec: &spec, name: &name, namespace: &namespace, conf: &conf };
        let (driver, executors) = (app.driver()?, app.executor()?);
        told.extend(volumes::told(&driver.mounts, &executors.mounts)?);
        Ok(Self {
            main: spec.text("mainApplicationFile")?.filter(|main| !main.is_empty()),
            main_class: spec.text("mainClass")?.filter(|class| !class.is_empty()),
            arguments: spec.texts("arguments")?,
            deps: Deps {
                jars: deps.filled("jars")?,
                files: deps.filled("files")?,
                py_files: deps.filled("pyFiles")?,
                archives: deps.filled("archives")?,
                packages: deps.filled("packages")?,
                exclude_packages: deps.filled("excludePackages")?,
                repositories: deps.filled("repositories")?,
            },
            driver,
            executor: executors,
            instances,
            restart: restart(&spec.child("restartPolicy", "spec.restartPolicy"))?,
            // The operator takes a negative one: it is over at once.
            time_to_live: spec.integer("timeToLiveSeconds")?.map(|seconds| seconds.max(0)),
            told,
            name,
            namespace,
            conf,
        })
    }

    /// What it takes of a cluster, in thousandths of a core.
    pub(crate) fn millicores(&self) -> u64 {
        self.driver.millicores.saturating_add(self.executor.millicores.saturating_mul(self.instances))
    }

    /// What it takes of a cluster, in MiB.
    pub(crate) fn memory_mib(&self) -> u64 {
        self.driver.memory_mib.saturating_add(self.executor.memory_mib.saturating_mul(self.instances))
    }

    /// The files that come along, under the settings of Spark that list them; each with the field that names it.
    pub(crate) fn lists(&self) -> [(&'static str, Vec<(String, &str)>); 4] {
        let deps = &self.deps;
        [
            ("spark.jars", "spec.deps.jars", &deps.jars),
            ("spark.files", "spec.deps.files", &deps.files),
            ("spark.submit.pyFiles", "spec.deps.pyFiles", &deps.py_files),
            ("spark.archives", "spec.deps.archives", &deps.archives),
        ]
        .map(|(key, field, uris)| {
            let set = self.conf.iter().filter(|(name, _)| name == key).flat_map(|(_, value)| value.split(','));
            let set = set.map(str::trim).filter(|uri| !uri.is_empty());
            let set = set.map(|uri| (format!("spec.sparkConf.{key}"), uri));
            (key, set.chain(uris.iter().map(|uri| (field.to_owned(), uri.as_str()))).collect())
        })
    }

    /// The files that it names, each with its field.
    pub(crate) fn files(&self) -> impl Iterator<Item = (String, &str)> {
        let main = self.main.iter().map(|uri| ("spec.mainApplicationFile".to_owned(), uri.as_str()));
        main.chain(self.lists().into_iter().flat_map(|(_, uris)| uris))
    }

    /// The objects that it names, each once.
    pub(crate) fn objects(&self) -> Vec<&Object> {
        let mut found: Vec<&Object> = Vec::new();
        for pod in [&self.driver, &self.executor] {
            let variables = pod.environment.iter().filter_map(Variable::object);
            let mounts = pod.mounts.iter().filter_map(Mount::object);
            for object in variables.chain(mounts) {
                if !found.contains(&object) {
                    found.push(object);
                }
            }
        }
        found
    }
}

fn restart(at: &At<'_>) -> Result<Restart, String> {
    let policy = match at.text("type")?.as_deref() {
        None | Some("Never") => RestartPolicy::Never,
        Some("Always") => RestartPolicy::Always,
        Some("OnFailure") => RestartPolicy::OnFailure,
        Some(other) => return Err(at.wrong("type", other, "one of Never, Always, OnFailure")),
    };
    Ok(Restart {
        policy,
        failure_retries: at.number("onFailureRetries")?.unwrap_or(0),
        failure_interval: at.number("onFailureRetryInterval")?.unwrap_or(INTERVAL),
        submission_retries: at.number("onSubmissionFailureRetries")?.unwrap_or(0),
        submission_interval: at.number("onSubmissionFailureRetryInterval")?.unwrap_or(INTERVAL),
    })
}

#[cfg(test)]
mod tests;
