//! Ownership checks of paths, as OpenSSH's `StrictModes`: whether somebody else could put another file in the place of
//! one that the platform trusts.
//!
//! Every folder on the way is looked at, through links, too: in a folder that others can write, they can rename what is there.
//! A folder that is sticky, as `/tmp`, keeps what is another's.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use mlplatform_platform::private_file::PathError;
use mlplatform_spark_local::path_walk;
use rustix::process::getegid;

/// The bit with which nobody can rename what is another's.
const STICKY: u32 = 0o1000;

/// That nobody but this user and root can put another in its place, the rights of the thing itself apart.
pub fn check(path: &Path) -> Result<(), PathError> {
    let failed = |source| PathError::Folder { action: "find", path: path.to_owned(), source };
    let mut places = path_walk::steps(&std::path::absolute(path).map_err(failed)?);
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

/// The same of a file with a secret, and that others cannot read it. What is not there is told by who reads it.
pub fn check_secret(path: &Path) -> Result<(), PathError> {
    check(path)?;
    match fs::metadata(path).map(|meta| meta.mode() & 0o7777) {
        Ok(mode) if mode & 0o007 != 0 => {
            let problem = format!("holds a secret, and others can open it (mode {mode:03o}): chmod o-rwx it");
            Err(PathError::Unsafe { path: path.to_owned(), problem })
        }
        _ => Ok(()),
    }
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
    fn a_secret_is_not_for_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit-key");
        check_secret(&path).unwrap();
        fs::write(&path, "x").unwrap();
        for (mode, good) in [(0o600, true), (0o440, true), (0o644, false), (0o602, false)] {
            set(&path, mode);
            assert_eq!(check_secret(&path).is_ok(), good, "{mode:o}");
        }
        assert!(check_secret(&path).unwrap_err().to_string().contains("mode 602): chmod o-rwx"));
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
}
