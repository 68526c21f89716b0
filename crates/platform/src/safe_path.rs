//! Ownership checks of paths, as OpenSSH's `StrictModes`: whether somebody else could put another file in the place of
//! one that the platform trusts.
//!
//! Every folder on the way is looked at, through links, too: in a folder that others can write, they can rename what is there.
//! A folder that is sticky, as `/tmp`, keeps what is another's.

use std::{
    collections::VecDeque,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use rustix::process::getegid;

/// Why a path cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// The folder cannot be used.
    #[error("cannot {action} the data directory '{}': {source}; give a folder that you may write to with --data-dir", path.display())]
    Folder {
        /// What was tried.
        action: &'static str,
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else could change what is in it.
    #[error("cannot trust '{}': it {problem}", path.display())]
    Unsafe {
        /// The folder, or what is in it.
        path: PathBuf,
        /// Why not, and what to do.
        problem: String,
    },
}

/// The bit with which nobody can rename what is another's.
const STICKY: u32 = 0o1000;

/// Links that are followed on one way, as in the system's own limit.
const MOST_LINKS: usize = 40;

/// Everything on the way to an absolute path, as the system walks it: folders, links and what they lead through. The last is
/// the thing itself, or the first that is not there.
pub fn way(path: &Path) -> Vec<PathBuf> {
    let mut places = Vec::new();
    let mut left: VecDeque<PathBuf> = path.components().map(|part| PathBuf::from(part.as_os_str())).collect();
    let (mut at, mut links) = (PathBuf::new(), 0);
    while let Some(part) = left.pop_front() {
        match part.components().next() {
            Some(Component::ParentDir) => drop(at.pop()),
            Some(Component::CurDir) | None => {}
            _ => {
                let next = at.join(&part);
                places.push(next.clone());
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
    places
}

/// That nobody but this user and root can put another in its place, the rights of the thing itself apart.
pub fn check(path: &Path) -> Result<(), PathError> {
    let failed = |source| PathError::Folder { action: "find", path: path.to_owned(), source };
    let mut places = way(&std::path::absolute(path).map_err(failed)?);
    places.pop();
    for folder in places {
        // What is not there yet is made with the right mode; of a link, the folder that it is in counts.
        let Some(meta) = fs::symlink_metadata(&folder).ok().filter(fs::Metadata::is_dir) else { continue };
        let mode = meta.mode() & 0o7777;
        if is_writable_by_others(mode, meta.gid()) && mode & STICKY == 0 {
            let problem = format!(
                "can be written by others (mode {mode:03o}), who could put another '{}' in the place of this one: chmod go-w it",
                path.display()
            );
            return Err(PathError::Unsafe { path: folder, problem });
        }
    }
    Ok(())
}

/// A group of the owner's own is what many systems give everybody.
pub(crate) fn is_writable_by_others(mode: u32, group: u32) -> bool {
    mode & 0o002 != 0 || (mode & 0o020 != 0 && group != getegid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn every_folder_on_the_way_counts() {
        let root = tempfile::tempdir().unwrap();
        let (a, real) = (root.path().join("a"), root.path().join("real"));
        fs::create_dir_all(a.join("b")).unwrap();
        fs::create_dir_all(real.join("c/d")).unwrap();
        symlink(real.join("c"), a.join("b/link")).unwrap();
        let path = a.join("b/link/d/file");
        for folder in [&a, &a.join("b"), &real, &real.join("c")] {
            check(&path).unwrap();
            set(folder, 0o777);
            let problem = check(&path).unwrap_err().to_string();
            assert!(problem.contains("mode 777") && problem.contains(&folder.display().to_string()), "{problem}");
            set(folder, 0o1777);
            check(&path).unwrap();
            set(folder, 0o755);
        }
        // The thing itself may be a link, too.
        symlink(real.join("c/d"), a.join("data")).unwrap();
        set(&real, 0o777);
        assert!(check(&a.join("data")).is_err());
    }

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
        let found = way(&root.join("venv/python"));
        assert_eq!(found.first(), Some(&PathBuf::from("/")));
        let below: Vec<_> = found.iter().filter_map(|place| place.strip_prefix(&root).ok()?.to_str()).collect();
        assert_eq!(below, ["", "venv", "venv/python", "venv/python3", "home", "home/bin", "home/bin/python3"]);
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(way(&root.join("loop/x")).last(), Some(&root.join("loop")));
    }
}
