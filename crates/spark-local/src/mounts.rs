//! Volume mounts without containers: their contents as files below a folder of the job's own, which a variable names.
//!
//! The folder is made anew for each run, beside the job's working folder: nothing of it is written once a job can reach it.

use std::{
    collections::BTreeMap,
    fs::{DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, lchown},
    path::{Component, Path, PathBuf},
};

use mlplatform_runner::{
    plan::{Content, Mount, Plan},
    values::Values,
};

/// The environment variable that names the folder below which the mounts are.
pub(crate) const VARIABLE: &str = "MLP_MOUNTS";

/// All files together, with their paths: one config map can be mounted many times.
const LARGEST: usize = 64 << 20;
/// What a file or a folder counts beside its path and what is in it.
const ENTRY: usize = 256;

/// The folders (`None`) and files, by their paths; a folder comes before what is in it.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    entries: BTreeMap<PathBuf, Option<Vec<u8>>>,
    size: usize,
}

/// Where the mounts of a job are.
pub(crate) fn folder_of(job: &Path) -> PathBuf {
    job.join("mounts")
}

/// What is to be laid out for a plan; the text says what cannot be.
pub(crate) fn tree(plan: &Plan, values: &Values) -> Result<Tree, String> {
    let mut tree = Tree::default();
    let mut done: Vec<&Mount> = Vec::new();
    for mount in plan.driver.mounts.iter().chain(&plan.executor.mounts) {
        if !done.iter().any(|other| other.path == mount.path) {
            tree.add(mount, values)?;
            done.push(mount);
        }
    }
    Ok(tree)
}

/// A notice for each mount: where it is; the text says which cannot be together in one process.
pub(crate) fn notices(plan: &Plan) -> Result<Vec<String>, String> {
    let (driver, executor) = (&plan.driver.mounts, &plan.executor.mounts);
    let mut notices: Vec<String> = Vec::new();
    for (index, mount) in driver.iter().chain(executor).enumerate() {
        let before = driver.iter().chain(executor).take(index).find(|other| other.path == mount.path);
        match before {
            Some(other) if other.content != mount.content => {
                return Err(format!(
                    "{} and {} mount different things at '{}', and the driver and the executors are one process here: mount \
                     them at different paths",
                    other.field, mount.field, mount.path
                ));
            }
            Some(_) => continue,
            None => {}
        }
        let (field, path) = (&mount.field, &mount.path);
        if mount.content != Content::Machine {
            notices.push(format!(
                "{field}: there is no container to mount '{path}' in: it is '${VARIABLE}{path}', where {VARIABLE} is a variable \
                 of the job's environment"
            ));
        }
    }
    Ok(notices)
}

impl Tree {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn add(&mut self, mount: &Mount, values: &Values) -> Result<(), String> {
        let at = Path::new(mount.path.trim_start_matches('/'));
        let (object, items, sub_path) = match &mount.content {
            Content::Machine => return Ok(()),
            Content::NeedsContainer(problem) => return Err(problem.clone()),
            Content::Empty => return self.folder(&mount.field, at),
            Content::Object { object, items, sub_path } => (object, items, sub_path),
        };
        let values = match values.get(object) {
            None if !object.optional => return Err(format!("{}: {}", mount.field, object.missing())),
            data => data.cloned().unwrap_or_default(),
        };
        let mut files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
        match items {
            None => files.extend(values.into_iter().map(|(key, value)| (PathBuf::from(key), value.bytes))),
            Some(items) => {
                for (key, path) in items {
                    match values.get(key) {
                        Some(value) => drop(files.insert(path.into(), value.bytes.clone())),
                        None if object.optional => {}
                        None => {
                            let (kind, name) = (object.kind.name(), &object.name);
                            return Err(format!("{}: the {kind} '{name}' has no key '{key}'", mount.field));
                        }
                    }
                }
            }
        }
        let Some(sub_path) = sub_path else {
            self.folder(&mount.field, at)?;
            return files.into_iter().try_for_each(|(path, value)| self.file(&mount.field, &at.join(path), value));
        };
        let mut found = false;
        for (path, value) in files {
            if let Ok(rest) = path.strip_prefix(sub_path) {
                found = true;
                let path = if rest.as_os_str().is_empty() { at.to_owned() } else { at.join(rest) };
                self.file(&mount.field, &path, value)?;
            }
        }
        if found || object.optional {
            return Ok(());
        }
        let (kind, name) = (object.kind.name(), &object.name);
        Err(format!("{}: the {kind} '{name}' has no '{sub_path}', which is the mount's subPath", mount.field))
    }

    fn folder(&mut self, field: &str, path: &Path) -> Result<(), String> {
        let folders = path.ancestors().filter(|folder| !folder.as_os_str().is_empty());
        for folder in folders {
            if !self.entries.contains_key(folder) {
                self.count(field, folder, 0)?;
            }
            if self.entries.entry(folder.to_owned()).or_insert(None).is_some() {
                return Err(format!("{field}: another mount has a file at '/{}'", folder.display()));
            }
        }
        Ok(())
    }

    fn file(&mut self, field: &str, path: &Path, value: Vec<u8>) -> Result<(), String> {
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(format!("{field}: '/{}' is no path inside of the mount", path.display()));
        }
        if let Some(parent) = path.parent() {
            self.folder(field, parent)?;
        }
        self.count(field, path, value.len())?;
        match self.entries.insert(path.to_owned(), Some(value)) {
            None => Ok(()),
            Some(_) => Err(format!("{field}: another mount has something at '/{}'", path.display())),
        }
    }

    fn count(&mut self, field: &str, path: &Path, size: usize) -> Result<(), String> {
        self.size = self.size.saturating_add(path.as_os_str().len()).saturating_add(ENTRY).saturating_add(size);
        if self.size <= LARGEST {
            return Ok(());
        }
        Err(format!("{field}: the mounts have more than {LARGEST} bytes together, paths included: mount fewer"))
    }

    /// Writes all of it below a new folder, for nobody but the user that jobs run as.
    pub(crate) fn write(&self, root: &Path, user: Option<(u32, u32)>) -> io::Result<()> {
        let folder = |path: &Path| DirBuilder::new().mode(0o700).create(path);
        folder(root)?;
        for (path, content) in &self.entries {
            let path = root.join(path);
            match content {
                None => folder(&path)?,
                Some(content) => {
                    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)?;
                }
            }
        }
        // The outermost last: until then nobody else gets in, and nothing that is written can be another's.
        if let Some((user, group)) = user {
            for path in self.entries.keys().rev() {
                lchown(root.join(path), Some(user), Some(group))?;
            }
            lchown(root, Some(user), Some(group))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlplatform_runner::plan::Object;
    use serde_json::json;
    use std::{fs, os::unix::fs::PermissionsExt};

    fn laid_out(driver: serde_json::Value, volumes: serde_json::Value) -> Result<Tree, String> {
        let spec = json!({"type": "Python", "driver": driver, "volumes": volumes});
        let plan = Plan::read(&json!({"metadata": {"name": "j"}, "spec": spec}))?;
        let large = vec![0; 1 << 20];
        let data = |object: &Object| match object.name.as_str() {
            "c" => Some(BTreeMap::from([
                ("a.txt".to_owned(), b"1".to_vec().into()),
                ("b".to_owned(), b"\xff".to_vec().into()),
            ])),
            "odd" => Some(BTreeMap::from([("../../up".to_owned(), b"1".to_vec().into())])),
            "large" => Some(BTreeMap::from([("k".to_owned(), large.clone().into())])),
            _ => None,
        };
        let mut values = Values::default();
        for object in plan.objects() {
            values.insert(object.clone(), data(object));
        }
        tree(&plan, &values)
    }

    fn of_volume(volume: serde_json::Value, mount: serde_json::Value) -> Result<Tree, String> {
        laid_out(json!({"volumeMounts": [mount]}), json!([volume]))
    }

    fn paths(tree: &Tree) -> Vec<String> {
        let shown = |(path, content): (&PathBuf, &Option<Vec<u8>>)| {
            format!("{}{}", path.display(), if content.is_some() { "" } else { "/" })
        };
        tree.entries.iter().map(shown).collect()
    }

    #[test]
    fn what_is_where() {
        let map = json!({"name": "v", "configMap": {"name": "c"}});
        let tree = of_volume(map.clone(), json!({"name": "v", "mountPath": "/etc/app/"})).unwrap();
        assert_eq!(paths(&tree), ["etc/", "etc/app/", "etc/app/a.txt", "etc/app/b"]);
        let tree = of_volume(map, json!({"name": "v", "mountPath": "/etc/app.txt", "subPath": "a.txt"})).unwrap();
        assert_eq!(paths(&tree), ["etc/", "etc/app.txt"]);
        let some = json!({"name": "v", "configMap": {"name": "c", "items": [{"key": "b", "path": "x/y"}]}});
        let tree = of_volume(some.clone(), json!({"name": "v", "mountPath": "/m"})).unwrap();
        assert_eq!(paths(&tree), ["m/", "m/x/", "m/x/y"]);
        let tree = of_volume(some, json!({"name": "v", "mountPath": "/m", "subPath": "x"})).unwrap();
        assert_eq!(paths(&tree), ["m/", "m/y"]);
        let none = json!({"name": "v", "secret": {"secretName": "none", "optional": true}});
        assert_eq!(paths(&of_volume(none, json!({"name": "v", "mountPath": "/m"})).unwrap()), ["m/"]);
        let tree = laid_out(
            json!({"configMaps": [{"name": "c", "path": "/m"}], "volumeMounts": [{"name": "v", "mountPath": "/m/d"}]}),
            json!([{"name": "v"}]),
        )
        .unwrap();
        assert_eq!(paths(&tree), ["m/", "m/a.txt", "m/b", "m/d/"]);

        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("mounts");
        tree.write(&root, None).unwrap();
        assert_eq!(fs::read(root.join("m/b")).unwrap(), b"\xff");
        for (path, mode) in [("", 0o700), ("m/d", 0o700), ("m/b", 0o600)] {
            assert_eq!(fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o777, mode, "{path}");
        }
        assert!(tree.write(&root, None).is_err(), "never into a folder that is there");
    }

    #[test]
    fn what_cannot_be_laid_out_is_told() {
        let map = |more: serde_json::Value| json!({"name": "v", "configMap": more});
        let mount = json!({"name": "v", "mountPath": "/m"});
        for (volume, mount, text) in [
            (map(json!({"name": "none"})), mount.clone(), "the ConfigMap 'none' does not exist in the cluster"),
            (
                map(json!({"name": "c", "items": [{"key": "z", "path": "z"}]})),
                mount,
                "the ConfigMap 'c' has no key 'z'",
            ),
            (map(json!({"name": "c"})), json!({"name": "v", "mountPath": "/m", "subPath": "z"}), "has no 'z'"),
        ] {
            let error = of_volume(volume, mount).unwrap_err();
            assert!(error.starts_with("spec.driver.volumeMounts[0]: ") && error.contains(text), "{error}");
        }
        let twice = json!({"configMaps": [{"name": "c", "path": "/m"}, {"name": "c", "path": "/m/a.txt/x"}]});
        assert!(laid_out(twice, json!([])).unwrap_err().contains("another mount has a file at '/m/a.txt'"));
        let up = laid_out(json!({"configMaps": [{"name": "odd", "path": "/m"}]}), json!([])).unwrap_err();
        assert!(up.contains("'/m/../../up' is no path inside of the mount"), "{up}");
        // 1,000 files of one byte, each in 200 folders.
        let deep = "d/".repeat(200);
        let items: Vec<_> = (0..1000).map(|n| json!({"key": "a.txt", "path": format!("{n}/{deep}f")})).collect();
        let volume = json!({"name": "v", "configMap": {"name": "c", "items": items}});
        let error = of_volume(volume, json!({"name": "v", "mountPath": "/m"})).unwrap_err();
        assert!(error.contains("bytes together, paths included"), "{error}");
        let many: Vec<_> = (0..65).map(|n| json!({"name": "large", "path": format!("/m/{n}")})).collect();
        let error = laid_out(json!({"configMaps": many}), json!([])).unwrap_err();
        assert!(error.contains("more than 67108864 bytes together"), "{error}");
    }
}
