//! The check that the user whom jobs run as can reach what they run on: Python, Java, Spark and the data directory.
//!
//! An installation in somebody's private home is one that only its owner reaches.

use std::path::{Path, PathBuf};

use crate::{
    file_access,
    installation::{Installation, Launcher},
    job_user::JobUser,
    path_walk,
};

/// What jobs need, and what it is called.
pub(crate) type Need = (&'static str, PathBuf);

/// What an installation takes; a program in Spark's place knows by itself what it needs.
pub(crate) fn needs(installation: &Installation) -> Vec<Need> {
    match &installation.launcher {
        Launcher::Program(program) => vec![("the program that takes Spark's place", program.clone())],
        Launcher::Java { program, .. } => vec![
            ("Python", installation.python.clone()),
            ("Java", program.clone()),
            ("Spark", installation.spark_home.join("jars")),
        ],
    }
}

/// What keeps the user from what is needed: the first folder on the path that it may not search, and what to do.
pub(crate) async fn problem(runner: &Path, user: &JobUser, needs: &[Need]) -> Result<(), String> {
    let steps: Vec<(&Need, PathBuf)> =
        needs.iter().flat_map(|need| path_walk::steps(&need.1).into_iter().map(move |step| (need, step))).collect();
    let paths = steps.iter().map(|(_, step)| step.clone()).collect();
    let found = file_access::executable(runner, user, paths).await;
    let found = found
        .map_err(|error| format!("whether '{}', whom jobs run as, reaches it is not known: {error}", user.name))?;
    let Some(((what, path), step)) = steps.into_iter().zip(found).find(|(_, passes)| !passes).map(|(step, _)| step)
    else {
        return Ok(());
    };
    let (name, path, shown) = (&user.name, path.display(), step.display());
    Err(if !step.exists() {
        format!("{what} is '{path}', and there is no '{shown}'")
    } else if step.is_dir() {
        format!(
            "'{name}', whom jobs run as, does not reach {what} ('{path}'), because the folder '{shown}' is closed to it: \
             chmod o+x '{shown}', or have it where everybody may look, such as below /opt or /srv"
        )
    } else {
        format!("'{name}', whom jobs run as, may not run {what} ('{shown}'): chmod o+rx '{shown}'")
    })
}
