//! The steps of a path as the system walks it: every folder and every link on the way.

use std::{
    collections::VecDeque,
    fs,
    path::{Component, Path, PathBuf},
};

/// Links that are followed on one path, as in the system's own limit.
const MOST_LINKS: usize = 40;

/// Everything on the way to an absolute path: folders, links and what they lead through. The last is the thing itself, or
/// the first that is not there.
#[must_use]
pub fn steps(path: &Path) -> Vec<PathBuf> {
    let mut steps = Vec::new();
    let mut left: VecDeque<PathBuf> = path.components().map(|part| PathBuf::from(part.as_os_str())).collect();
    let (mut at, mut links) = (PathBuf::new(), 0);
    while let Some(part) = left.pop_front() {
        match part.components().next() {
            Some(Component::ParentDir) => drop(at.pop()),
            Some(Component::CurDir) | None => {}
            _ => {
                let next = at.join(&part);
                steps.push(next.clone());
                match fs::read_link(&next) {
                    Err(_) => at = next,
                    Ok(_) if links == MOST_LINKS => break,
                    Ok(leads) => {
                        links += 1;
                        for part in leads.components().rev() {
                            left.push_front(PathBuf::from(part.as_os_str()));
                        }
                    }
                }
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn steps_go_through_links() {
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
        let below: Vec<_> = found.iter().filter_map(|place| place.strip_prefix(&root).ok()?.to_str()).collect();
        assert_eq!(below, ["", "venv", "venv/python", "venv/python3", "home", "home/bin", "home/bin/python3"]);
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(steps(&root.join("loop/x")).last(), Some(&root.join("loop")));
    }
}
