//! Where the files are that a manifest names.
//!
//! `local:///opt/spark/…` is the Spark installation, any other `local:///…` and `file:///…` this machine,
//! `s3a://<the cluster's bucket>/…` the bucket's folder. What Spark fetches itself (`https://…`, `hdfs://…`) stays.

use std::path::{Component, Path, PathBuf};

/// What the images of the Spark operator call their Spark.
const IMAGE_HOME: &str = "/opt/spark";

/// The places of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) spark_home: PathBuf,
    /// Name and folder.
    pub(crate) bucket: Option<(String, PathBuf)>,
}

impl Places {
    /// What to give to Spark; the text says what is wrong with the place, and what would be right.
    pub(crate) fn resolve(&self, uri: &str) -> Result<String, String> {
        // What follows a '#' is the name under which the job sees it.
        let (uri, alias) = uri.split_once('#').map_or((uri, None), |(uri, alias)| (uri, Some(alias)));
        let path = match uri.split_once("://") {
            Some(("local" | "file", path)) => self.machine(uri, path)?,
            Some(("s3a" | "s3", place)) => self.bucket(uri, place)?,
            Some(_) => return Ok(uri.to_owned()),
            None => self.machine(uri, uri)?,
        };
        let path = path.display();
        Ok(alias.map_or_else(|| path.to_string(), |alias| format!("{path}#{alias}")))
    }

    fn machine(&self, uri: &str, path: &str) -> Result<PathBuf, String> {
        if !path.starts_with('/') {
            return Err(format!(
                "'{uri}' names no place that the cluster can see: give local:///…, s3a://{}/… or, for the main \
                 program, its file on your machine as pycode_file_path",
                self.bucket.as_ref().map_or("<bucket>", |(name, _)| name)
            ));
        }
        let inside = path.strip_prefix(IMAGE_HOME).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let found =
            inside.map_or_else(|| PathBuf::from(path), |rest| self.spark_home.join(rest.trim_start_matches('/')));
        if found.exists() {
            return Ok(found);
        }
        let home = self.spark_home.display();
        Err(match inside {
            Some(_) => format!("'{uri}' does not exist: {IMAGE_HOME} is '{home}' here, and holds no such file"),
            None => format!("'{uri}' does not exist on the cluster's machine; {IMAGE_HOME} would be '{home}'"),
        })
    }

    fn bucket(&self, uri: &str, place: &str) -> Result<PathBuf, String> {
        let (name, key) = place.split_once('/').unwrap_or((place, ""));
        let Some((own, folder)) = &self.bucket else {
            return Err(format!("'{uri}': this cluster has no bucket"));
        };
        if name != own {
            return Err(format!(
                "'{uri}' is in the bucket '{name}', and this cluster reaches only its own, '{own}': put the file there and give s3a://{own}/…"
            ));
        }
        let inside = Path::new(key).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        let found = folder.join(key);
        if !inside || !found.exists() {
            return Err(format!("'{uri}' does not exist: the bucket '{own}' holds no '{key}'"));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let root = tempfile::tempdir().unwrap();
        let (home, bucket) = (root.path().join("spark"), root.path().join("bucket"));
        for file in [home.join("examples/pi.py"), bucket.join("jobs/a b.py")] {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        let places = Places { spark_home: home.clone(), bucket: Some(("own".to_owned(), bucket.clone())) };
        let resolved = |uri: &str| places.resolve(uri);
        let path = |path: PathBuf| Ok(path.display().to_string());
        assert_eq!(resolved("local:///opt/spark/examples/pi.py"), path(home.join("examples/pi.py")));
        assert_eq!(resolved("s3a://own/jobs/a b.py"), path(bucket.join("jobs/a b.py")));
        assert_eq!(resolved("s3a://own/jobs/a b.py#b.py"), path(bucket.join("jobs/a b.py#b.py")));
        assert_eq!(resolved("https://host/a.jar"), Ok("https://host/a.jar".to_owned()));
        for (uri, why) in [
            ("local:///opt/spark/none.py", "/opt/spark is '"),
            ("local:///opt/sparkling/none.py", "does not exist on the cluster's machine"),
            ("s3a://other/a.py", "only its own, 'own'"),
            ("s3a://own/none.py", "holds no 'none.py'"),
            ("s3a://own/../spark/examples/pi.py", "does not exist"),
            ("job.py", "pycode_file_path"),
        ] {
            let error = resolved(uri).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
