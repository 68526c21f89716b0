//! The constants and enumerations of a `SparkApplication`.

/// The only version of the API that is spoken here.
pub const API_VERSION: &str = "sparkoperator.k8s.io/v1beta2";
/// The only kind.
pub const KIND: &str = "SparkApplication";
/// What runs a job: `spec.type`.
pub const SPEC_TYPES: [&str; 4] = ["Python", "Scala", "Java", "R"];
/// When a job is run again: `spec.restartPolicy.type`.
pub const RESTART_TYPES: [&str; 3] = ["Never", "Always", "OnFailure"];
/// The Spark of the default manifest.
pub const SPARK_VERSION: &str = "4.3.0";
/// The application of the default manifest: it is part of every Spark.
pub const EXAMPLE: &str = "local:///opt/spark/examples/src/main/python/pi.py";

/// The two kinds of pods that a job has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The one that runs the program.
    Driver,
    /// The ones that work for it.
    Executor,
}

impl Part {
    /// The key under `spec`.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Executor => "executor",
        }
    }
}

/// The lists under `spec.deps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deps {
    /// JAR files.
    Jars,
    /// Files for the working directories.
    Files,
    /// Python modules.
    PyFiles,
    /// Maven coordinates.
    Packages,
}

impl Deps {
    /// The key under `spec.deps`.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Jars => "jars",
            Self::Files => "files",
            Self::PyFiles => "pyFiles",
            Self::Packages => "packages",
        }
    }
}

/// When a job is run again, and how often. The numbers are the reference's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy<'a> {
    /// One of [`RESTART_TYPES`].
    pub kind: &'a str,
    /// How often a job that failed is run again.
    pub on_failure_retries: i64,
    /// Seconds between that.
    pub on_failure_retry_interval: i64,
    /// How often a job that could not be submitted is submitted again.
    pub on_submission_failure_retries: i64,
    /// Seconds between that.
    pub on_submission_failure_retry_interval: i64,
}
