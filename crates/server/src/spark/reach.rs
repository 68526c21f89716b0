//! Whether the user that jobs run as reaches what they run on: Python, Java, Spark and the data directory. An installation
//! in somebody's private home is one that only its owner reaches.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    files,
    installation::{Installation, Start},
    job_user::JobUser,
};

/// Links in a row that are followed, as in the system's own limit.
const MOST_LINKS: usize = 40;

/// What jobs need, and what it is called.
pub(crate) type Need = (&'static str, PathBuf);

/// What an installation takes; a program in Spark's place knows by itself what it needs.
pub(crate) fn needs(installation: &Installation) -> Vec<Need> {
    match &installation.start {
        Start::Program(program) => vec![("the program that takes Spark's place", program.clone())],
        Start::Java { program, .. } => vec![
            ("Python", installation.python.clone()),
            ("Java", program.clone()),
            ("Spark", installation.spark_home.join("jars")),
        ],
    }
}

/// What keeps the user from what is needed: the first folder on a way that it may not search, and what to do.
pub(crate) async fn problem(runner: &Path, user: &JobUser, needs: &[Need]) -> Result<(), String> {
    let ways: Vec<(&Need, PathBuf)> =
        needs.iter().flat_map(|need| steps(&need.1).into_iter().map(move |step| (need, step))).collect();
    let paths = ways.iter().map(|(_, step)| step.clone()).collect();
    let found = files::executable(runner, user, paths).await;
    let found = found
        .map_err(|error| format!("whether '{}', whom jobs run as, reaches it is not known: {error}", user.name))?;
    let Some(((what, path), step)) = ways.into_iter().zip(found).find(|(_, passes)| !passes).map(|(way, _)| way) else {
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

/// Every folder on the way to a file, and the file; where one is a link, those on the way to what it names, too.
fn steps(path: &Path) -> Vec<PathBuf> {
    let mut steps = Vec::new();
    let mut next = Some(path.to_owned());
    for _ in 0..MOST_LINKS {
        let Some(path) = next.take() else { break };
        let mut way: Vec<_> = path.ancestors().map(Path::to_owned).filter(|step| step.is_absolute()).collect();
        way.reverse();
        steps.extend(way);
        let link = fs::read_link(&path).ok();
        next = link.and_then(|link| Some(path.parent()?.join(link)));
    }
    // Where a folder on the way was a link.
    let real = path.canonicalize().unwrap_or_default();
    let mut way: Vec<_> = real.ancestors().map(Path::to_owned).filter(|step| step.is_absolute()).collect();
    way.reverse();
    steps.extend(way);
    let mut known = std::collections::HashSet::new();
    steps.retain(|step| known.insert(step.clone()));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_way_goes_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for name in ["venv", "home", "home/bin"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        fs::write(root.join("home/bin/python3"), "").unwrap();
        symlink("python3", root.join("venv/python")).unwrap();
        symlink("../home/bin/python3", root.join("venv/python3")).unwrap();
        let found = steps(&root.join("venv/python"));
        assert_eq!(found.first(), Some(&PathBuf::from("/")));
        for name in ["venv", "venv/python", "venv/python3", "home", "home/bin", "home/bin/python3"] {
            assert!(found.contains(&root.join(name)), "{name}: {found:?}");
        }
        symlink("loop", root.join("loop")).unwrap();
        assert!(steps(&root.join("loop")).contains(&root.join("loop")));
        assert_eq!(steps(Path::new("relative")), Vec::<PathBuf>::new());
    }
}
