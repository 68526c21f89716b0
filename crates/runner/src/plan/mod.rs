//! The parsed form of a SparkApplication manifest: what to start, with what, how often.
//!
//! It holds whatever a manifest asks for; what of it a runner cannot give is that runner's to say
//! ([`Runner::check`](crate::runner::Runner::check)).

mod at;
mod objects;
mod pod;
mod variable;
mod volumes;

pub use objects::{Object, ObjectKind};
pub use pod::Pod;
pub use variable::Variable;
pub use volumes::{Content, Mount};

use serde_json::Value;

use self::at::At;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `metadata.name`: the job's.
    pub name: String,
    /// `metadata.namespace`, where the objects are that it names.
    pub namespace: String,
    /// The main program's address.
    pub main: Option<String>,
    /// The main class of a program in Java or Scala.
    pub main_class: Option<String>,
    /// The program's, with references to variables not expanded yet.
    pub arguments: Vec<String>,
    /// The files and packages that come along.
    pub deps: Deps,
    /// Of `sparkConf`, then of `hadoopConf` under the names that Spark gives it.
    pub conf: Vec<(String, String)>,
    /// The driver.
    pub driver: Pod,
    /// Each executor.
    pub executor: Pod,
    /// How many executors there are.
    pub instances: u64,
    /// When a run is followed by another.
    pub restart: Restart,
    /// Seconds after its end until the job is deleted.
    pub time_to_live: Option<i64>,
}

/// The dependencies of a program: files by their addresses, packages by their Maven coordinates.
#[derive(Clone, Debug, Default)]
pub struct Deps {
    /// Jars on the class path.
    pub jars: Vec<String>,
    /// Files in the working folder.
    pub files: Vec<String>,
    /// Python modules on the path.
    pub py_files: Vec<String>,
    /// Archives, unpacked in the working folder.
    pub archives: Vec<String>,
    /// Packages to fetch.
    pub packages: Vec<String>,
    /// Packages to leave out of what the others need.
    pub exclude_packages: Vec<String>,
    /// Where packages are fetched from, beside Maven Central.
    pub repositories: Vec<String>,
}

/// When a run is followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// One run.
    Never,
    /// Without end.
    Always,
    /// As long as runs fail, up to a number of times.
    OnFailure,
}

/// The restart policy: how often a run is repeated, and after how long (in seconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Which runs are repeated.
    pub policy: RestartPolicy,
    /// How often, after runs that failed.
    pub failure_retries: i64,
    /// Seconds between such runs.
    pub failure_interval: i64,
    /// How often, after starts that failed.
    pub submission_retries: i64,
    /// Seconds between such starts.
    pub submission_interval: i64,
}

/// What the operator waits when the manifest does not say.
const INTERVAL: i64 = 5;

impl Restart {
    /// Seconds until the next run; `None`: there is none.
    #[must_use]
    pub fn after_run(self, success: bool, runs: i64) -> Option<i64> {
        match self.policy {
            RestartPolicy::Never => None,
            RestartPolicy::Always if success => Some(0),
            RestartPolicy::Always => Some(self.failure_interval),
            RestartPolicy::OnFailure => (!success && runs <= self.failure_retries).then_some(self.failure_interval),
        }
    }

    /// The same after a start that failed.
    #[must_use]
    pub fn after_submission(self, attempts: i64) -> Option<i64> {
        match self.policy {
            RestartPolicy::Never => None,
            RestartPolicy::Always => Some(self.submission_interval),
            RestartPolicy::OnFailure => (attempts <= self.submission_retries).then_some(self.submission_interval),
        }
    }
}

/// Spark's own name for a program that is among its jars.
pub const SPARK_INTERNAL: &str = "spark-internal";

impl Plan {
    /// Parses a manifest that obeys the contract's own rules.
    ///
    /// # Errors
    /// When a value cannot be used; the text names the field, the value and the rule.
    pub fn read(manifest: &Value) -> Result<Self, String> {
        let metadata = At { value: manifest.get("metadata"), path: "metadata" };
        let spec = At { value: manifest.get("spec"), path: "spec" };
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
            name,
            namespace,
            conf,
        })
    }

    /// What it takes of a cluster, in thousandths of a core.
    #[must_use]
    pub fn millicores(&self) -> u64 {
        self.driver.millicores.saturating_add(self.executor.millicores.saturating_mul(self.instances))
    }

    /// What it takes of a cluster, in MiB.
    #[must_use]
    pub fn memory_mib(&self) -> u64 {
        self.driver.memory_mib.saturating_add(self.executor.memory_mib.saturating_mul(self.instances))
    }

    /// The files that come along, under the settings of Spark that list them; each with the field that names it.
    #[must_use]
    pub fn lists(&self) -> [(&'static str, Vec<(String, &str)>); 4] {
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
    pub fn files(&self) -> impl Iterator<Item = (String, &str)> {
        let main = self.main.iter().filter(|main| *main != SPARK_INTERNAL);
        let main = main.map(|uri| ("spec.mainApplicationFile".to_owned(), uri.as_str()));
        main.chain(self.lists().into_iter().flat_map(|(_, uris)| uris))
    }

    /// The objects that it names, each once.
    #[must_use]
    pub fn objects(&self) -> Vec<&Object> {
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
