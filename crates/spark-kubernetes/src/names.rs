//! The names and labels of what the platform makes in a cluster. All of it follows from the ids that the store gives.

use std::collections::BTreeMap;

use mlplatform_runner::runner::JobRef;

/// Who owns the fields that the platform sets.
pub(crate) const FIELD_MANAGER: &str = "mlplatform";
/// What every label and annotation of the platform begins with.
pub(crate) const PREFIX: &str = "mlplatform.io/";
pub(crate) const PLATFORM: &str = "mlplatform.io/platform";
pub(crate) const CLUSTER: &str = "mlplatform.io/cluster";
pub(crate) const JOB: &str = "mlplatform.io/job";
/// What an object is for: [`PROGRAM`] or [`VALUES`].
pub(crate) const PURPOSE: &str = "mlplatform.io/purpose";
pub(crate) const PROGRAM: &str = "program";
pub(crate) const VALUES: &str = "values";
pub(crate) const RUN: &str = "mlplatform.io/run";
pub(crate) const LOG_FROM: &str = "mlplatform.io/log-from";
/// Which submission a pod belongs to, as the operator labels it.
pub(crate) const SUBMISSION: &str = "sparkoperator.k8s.io/submission-id";
pub(crate) const ROLE: &str = "spark-role";
pub(crate) const DRIVER: &str = "driver";
pub(crate) const DRIVER_CONTAINER: &str = "spark-kubernetes-driver";
/// Where a program that came along is in the driver's file system.
pub(crate) const PROGRAM_FOLDER: &str = "/opt/mlplatform/program";

const OBJECTS: &str = "mlp-";

/// The name of a job's SparkApplication.
pub(crate) fn application(job: &str) -> String {
    format!("{OBJECTS}{job}")
}

/// The config map with the program that came along with a job.
pub(crate) fn program(job: &str) -> String {
    format!("{OBJECTS}{job}-program")
}

/// The secret or config map that stands for the object of that index in a job's manifest. Short: Spark makes the name of a
/// volume of it, which has 63 characters at most.
pub(crate) fn values(job: &str, index: usize) -> String {
    format!("{OBJECTS}{job}-v{index}")
}

/// The jobs that an object of that name may belong to.
pub(crate) fn possible_jobs(name: &str) -> impl Iterator<Item = &str> {
    let rest = name.strip_prefix(OBJECTS);
    rest.into_iter()
        .flat_map(|rest| rest.match_indices('-').map(|(at, _)| rest.get(..at).unwrap_or(rest)).chain([rest]))
}

/// The labels of whatever belongs to a job.
pub(crate) fn labels(platform: &str, job: &JobRef) -> BTreeMap<String, String> {
    [(PLATFORM, platform), (CLUSTER, &job.cluster), (JOB, &job.id)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Selects what belongs to a job.
pub(crate) fn of_job(platform: &str, job: &str) -> String {
    format!("{PLATFORM}={platform},{JOB}={job}")
}

/// Selects what belongs to a cluster.
pub(crate) fn of_cluster(platform: &str, cluster: &str) -> String {
    format!("{PLATFORM}={platform},{CLUSTER}={cluster}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_names_its_job() {
        let found: Vec<_> = possible_jobs("mlp-a1-b2-driver").collect();
        assert_eq!(found, ["a1", "a1-b2", "a1-b2-driver"]);
        assert_eq!(possible_jobs("other-a1").count(), 0);
        let uuid = "01234567-89ab-cdef-0123-456789abcdef";
        assert!(format!("{}-volume", values(uuid, 99)).len() <= 63);
    }
}
