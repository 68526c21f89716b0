//! A control group (cgroup v2) for the processes of one run: whatever they do, they and their descendants are in it, and
//! the kernel ends them all at once (`cgroup.kill`).
//!
//! It is made below the platform's own group, which root may do, and a user to whom a group was delegated
//! (`systemd-run --user`, `Delegate=yes`). Elsewhere there is none, and the process tree has to do.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The folder of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// A new group below that of this process; `None`: the system has none, or does not let us.
    pub(crate) fn make(name: &str) -> Option<Self> {
        let group = own()?.join(format!("mlplatform-{name}"));
        // Of a run that did not begin.
        let _ = fs::remove_dir(&group);
        fs::create_dir(&group).ok()?;
        let made = Self(group);
        // Before Linux 5.14 there is no such file: a process that forks is then ended no better than by the tree.
        if made.0.join("cgroup.kill").exists() {
            return Some(made);
        }
        made.remove();
        None
    }

    /// One that was made before, if it is still there.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let is_ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("mlplatform-"));
        (is_ours && path.join("cgroup.kill").exists()).then(|| Self(path.to_owned()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Starts something in the group: this process is a member while it does, because a child is born where its parent
    /// is. Nothing of it can then be outside, not even for a moment. Gives also whether this process is out again: the
    /// group must not be ended otherwise.
    pub(crate) fn within<T>(&self, start: impl FnOnce() -> T) -> (T, bool) {
        let enter = |group: &Path| fs::write(group.join("cgroup.procs"), std::process::id().to_string()).is_ok();
        match own() {
            Some(home) if enter(&self.0) => (start(), enter(&home)),
            _ => (start(), true),
        }
    }

    /// Those in it and in groups below it, which a job may have made.
    pub(crate) fn is_empty(&self) -> bool {
        let events = fs::read_to_string(self.0.join("cgroup.events")).unwrap_or_default();
        !events.lines().any(|line| line == "populated 1")
    }

    /// The members, those in groups below it apart.
    pub(crate) fn members(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// SIGKILL for all of them, those that are being born included.
    pub(crate) fn kill(&self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
    }

    /// Once it is empty.
    pub(crate) fn remove(&self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// The folder of this process's own group.
fn own() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| folder(line, own))
}

/// Where a group is below a mount, if that is one of groups and shows this one.
fn folder(mount: &str, group: &str) -> Option<PathBuf> {
    let (mount, kind) = mount.split_once(" - ")?;
    if kind.split(' ').next() != Some("cgroup2") {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    let inside = if root == "/" { group } else { group.strip_prefix(root)? };
    Some(Path::new(point).join(inside.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_where_they_are_mounted() {
        let found = |mount, group| folder(mount, group).map(|path| path.display().to_string());
        let unified = "30 23 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
        assert_eq!(found(unified, "/a/b.service").as_deref(), Some("/sys/fs/cgroup/a/b.service"));
        assert_eq!(found(unified, "/").as_deref(), Some("/sys/fs/cgroup/"));
        let container = "30 23 0:27 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup rw";
        assert_eq!(found(container, "/docker/1/x").as_deref(), Some("/sys/fs/cgroup/x"));
        assert_eq!(found(container, "/other"), None);
        assert_eq!(found("31 23 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids", "/"), None);
    }
}
