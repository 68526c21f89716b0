//! The checks before a job is taken or started: is Spark there, and are the files that the manifest names?

use std::{io, path::Path, sync::Arc};

use mlplatform_runner::{
    plan::Plan,
    runner::{ClusterRef, RunnerError},
};

use crate::{
    access_check, file_access,
    installation::{self, Installation},
    job_user::JobUser,
    launch,
    paths::{LocalFile, Locations},
    shared::Shared,
    user_ids,
};

/// Spark, Java and Python, which the jobs' user reaches; the text says what keeps jobs from running.
pub(crate) async fn installation(shared: &Shared) -> Result<Arc<Installation>, String> {
    let Some(user) = shared.job_user() else { return shared.find_installation().await };
    let program = shared.helper_program().map_err(|error| format!("its own program is not found: {error}"))?;
    let config = &shared.config;
    let mut needs = vec![("the data directory", shared.folders.jobs())];
    if config.submit.is_none()
        && let Ok(python) = installation::python(config)
    {
        // Before the search, which asks Python as that user, and hears nothing when it cannot be run.
        needs.push(("Python", python));
    }
    access_check::problem(&program, user, &needs).await?;
    let found = shared.find_installation().await?;
    access_check::problem(&program, user, &access_check::needs(&found)).await.map(|()| found)
}

/// Tells the operator at the start what will keep each job from running as the user that it is to run as.
pub(crate) async fn warn_of_no_jobs(shared: &Shared) {
    if shared.job_user().is_some()
        && let Err(problem) = installation(shared).await
    {
        tracing::warn!("no job can run: {problem}");
    }
}

/// The first Spark whose Connect server asks for a secret.
const AUTHENTICATED: (u32, u32) = (4, 0);

/// Whether a program of Spark's own may be run: a Connect server lets in whoever reaches its port, unless it asks for a secret.
pub(crate) fn check_program(plan: &Plan, installation: &Installation) -> Result<(), String> {
    let is_server = plan.main_class.as_deref() == Some("org.apache.spark.sql.connect.service.SparkConnectServer");
    match installation.spark_version {
        Some((major, minor)) if is_server && (major, minor) < AUTHENTICATED => Err(format!(
            "the Connect server of Spark {major}.{minor} lets in whoever reaches its port: install Spark 4 or later, such as \
             pyspark 4.3, or serve with --connect-listen off"
        )),
        _ => Ok(()),
    }
}

/// What is wrong with the files that a plan names, asked with the rights that the job will have: those of the cluster's
/// group, where each job has an id of its own.
pub(crate) async fn check_files(
    shared: &Shared,
    plan: &Plan,
    locations: &Locations,
    cluster: &ClusterRef,
    job: &str,
) -> Result<Option<String>, RunnerError> {
    // What came along with it is there, and is opened to it when it starts.
    let own = locations.uploads.join(job);
    let is_own = |path: &Path| path.parent() == Some(own.as_path()) && path.file_name().is_some() && path.exists();
    let located: Result<Vec<_>, _> = plan.files().map(|(field, uri)| locate(locations, &field, uri)).collect();
    let main = launch::main_program(plan, locations).err().or_else(|| launch::dependencies(plan, locations).err());
    let files: Vec<(String, LocalFile)> = match (main, located) {
        (Some(problem), _) | (None, Err(problem)) => return Ok(Some(problem)),
        (None, Ok(located)) => located.into_iter().flatten().filter(|(_, file)| !is_own(&file.path)).collect(),
    };
    let failed = |error: io::Error| RunnerError::transient("looking for the files of a job")(error);
    let program = shared.helper_program().map_err(failed)?;
    let paths = files.iter().map(|(_, file)| file.path.clone()).collect();
    let group = user_ids::group(shared, &cluster.id).await?;
    let user = shared.job_user().map(|user| JobUser { gid: group.unwrap_or(user.gid), ..user.clone() });
    let user = user.as_ref();
    let found = file_access::readable(&program, user, paths).await.map_err(failed)?;
    let missing = files.into_iter().zip(found).find(|(_, found)| !found);
    let by = match (user, shared.id_range()) {
        (None, _) => String::new(),
        (Some(user), None) => format!(" (looked for as '{}', whom jobs run as)", user.name),
        (Some(user), Some(_)) => {
            format!(" (looked for as user {} of the cluster's group, with the rights of each job)", user.name)
        }
    };
    Ok(missing.map(|((field, file), _)| format!("{field}: {}{by}", file.missing)))
}

fn locate(locations: &Locations, field: &str, uri: &str) -> Result<Option<(String, LocalFile)>, String> {
    let file = locations.locate(uri).map_err(|problem| format!("{field}: {problem}"))?;
    Ok(file.map(|file| (field.to_owned(), file)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::installation::Launcher;
    use serde_json::json;

    #[test]
    fn a_connect_server_that_asks_for_no_secret_is_not_started() {
        let checked = |version, class: &str| {
            let installation = Installation {
                spark_home: "/usr".into(),
                python: "/usr/bin/python3".into(),
                spark_version: version,
                launcher: Launcher::Java { program: "/java/bin/java".into(), version: 17 },
            };
            let spec = json!({"type": "Scala", "mainClass": class, "mainApplicationFile": "spark-internal"});
            let plan = Plan::read(&json!({"metadata": {"name": "x"}, "spec": spec})).unwrap();
            check_program(&plan, &installation)
        };
        let server = "org.apache.spark.sql.connect.service.SparkConnectServer";
        assert!(checked(Some((3, 5)), server).unwrap_err().contains("Spark 3.5 lets in whoever reaches its port"));
        for (version, class) in [(Some((4, 3)), server), (None, server), (Some((3, 5)), "org.example.Main")] {
            assert_eq!(checked(version, class), Ok(()));
        }
    }
}
