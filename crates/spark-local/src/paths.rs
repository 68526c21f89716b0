//! Resolution of the file addresses in a manifest to paths of this machine.
//!
//! `local:///opt/spark/…` is the Spark installation, any other `local:///…` and `file:///…` this machine,
//! `s3a://<the cluster's bucket>/…` the bucket's folder, but for the programs that came along with jobs: those are kept
//! where no job can write. What Spark fetches itself (`https://…`, `hdfs://…`) stays.
//!
//! Nothing here looks at a file: whether one is there is asked with the rights of the job ([`crate::file_access`]).

use std::path::{Component, Path, PathBuf};

use crate::s3a::file_uri;

/// What the images of the Spark operator call their Spark.
const IMAGE_HOME: &str = "/opt/spark";
/// The keys of a bucket that begin so are programs that came along with jobs.
const UPLOADS: &str = ".spark-jobs";

/// Where the files of one cluster's jobs are.
#[derive(Clone, Debug)]
pub(crate) struct Locations {
    pub(crate) spark_home: PathBuf,
    /// The name of the cluster's bucket.
    pub(crate) bucket: String,
    /// What jobs read and write.
    pub(crate) folder: PathBuf,
    /// What the platform alone writes.
    pub(crate) uploads: PathBuf,
}

/// A file of this machine.
#[derive(Debug)]
pub(crate) struct LocalFile {
    pub(crate) path: PathBuf,
    /// What is said when it is not there.
    pub(crate) missing: String,
}

/// The address of a program that came along with a job.
pub(crate) fn upload_uri(bucket: &str, job: &str, name: &str) -> String {
    format!("s3a://{bucket}/{UPLOADS}/{job}/{name}")
}

impl Locations {
    /// What to give to Spark; the text says what is wrong with the address, and what would be right.
    pub(crate) fn resolve(&self, uri: &str) -> Result<String, String> {
        let Some(place) = self.locate(uri)? else { return Ok(uri.to_owned()) };
        // Spark reads a path as a URI where it can: one that would be read as another is given as a URI.
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-~+=@".contains(c);
        let path = match place.path.to_str() {
            Some(path) if path.chars().all(plain) => path.to_owned(),
            _ => file_uri(&place.path),
        };
        Ok(split(uri).1.map_or_else(|| path.clone(), |alias| format!("{path}#{alias}")))
    }

    /// The same for one of several files, which Spark is given in one text.
    pub(crate) fn resolve_one_of_many(&self, uri: &str) -> Result<String, String> {
        if uri.contains(',') {
            return Err(format!("'{uri}' has a ',' in it, which is what separates files for Spark: rename the file"));
        }
        self.resolve(uri)
    }

    /// The file of this machine that an address means; `None`: it is none of this machine's.
    pub(crate) fn locate(&self, uri: &str) -> Result<Option<LocalFile>, String> {
        let (uri, _) = split(uri);
        match uri.split_once("://") {
            Some(("local" | "file", path)) => self.machine(uri, path).map(Some),
            Some(("s3a" | "s3", place)) => self.bucket(uri, place).map(Some),
            Some(_) => Ok(None),
            None => self.machine(uri, uri).map(Some),
        }
    }

    fn machine(&self, uri: &str, path: &str) -> Result<LocalFile, String> {
        if !path.starts_with('/') {
            return Err(format!(
                "'{uri}' names no place that the cluster can see: give local:///…, s3a://{}/… or, for the main \
                 program, its file on your machine as pycode_file_path",
                self.bucket
            ));
        }
        let inside = path.strip_prefix(IMAGE_HOME).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let home = self.spark_home.display();
        Ok(match inside {
            Some(rest) => LocalFile {
                path: self.spark_home.join(rest.trim_start_matches('/')),
                missing: format!("'{uri}' does not exist: {IMAGE_HOME} is '{home}' here, and holds no such file"),
            },
            None => LocalFile {
                path: PathBuf::from(path),
                missing: format!(
                    "'{uri}' does not exist on the cluster's machine, or jobs may not read it; {IMAGE_HOME} would be \
                     '{home}'"
                ),
            },
        })
    }

    fn bucket(&self, uri: &str, place: &str) -> Result<LocalFile, String> {
        let (name, key) = place.split_once('/').unwrap_or((place, ""));
        let own = &self.bucket;
        if name != own {
            return Err(format!(
                "'{uri}' is in the bucket '{name}', and this cluster reaches only its own, '{own}': put the file there and give s3a://{own}/…"
            ));
        }
        let missing = format!("'{uri}' does not exist: the bucket '{own}' holds no '{key}'");
        if !Path::new(key).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(missing);
        }
        // Where the first versions put them, programs still are that came along then.
        let upload = Path::new(key).strip_prefix(UPLOADS).map(|rest| self.uploads.join(rest));
        let path = upload.ok().filter(|path| path.exists()).unwrap_or_else(|| self.folder.join(key));
        Ok(LocalFile { path, missing })
    }
}

/// What follows a '#' is the name under which the job sees the file.
fn split(uri: &str) -> (&str, Option<&str>) {
    uri.split_once('#').map_or((uri, None), |(uri, alias)| (uri, Some(alias)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        let uploads = tempfile::tempdir().unwrap();
        std::fs::create_dir(uploads.path().join("j1")).unwrap();
        std::fs::write(uploads.path().join("j1/pi.py"), "").unwrap();
        let locations = Locations {
            spark_home: "/spark".into(),
            bucket: "own".to_owned(),
            folder: "/bucket".into(),
            uploads: uploads.path().to_owned(),
        };
        let uploaded = uploads.path().join("j1/pi.py").display().to_string();
        for (uri, path) in [
            ("local:///opt/spark/examples/pi.py", "/spark/examples/pi.py"),
            ("file:///opt/spark", "/spark/"),
            ("/opt/sparkling/pi.py", "/opt/sparkling/pi.py"),
            ("s3a://own/jobs/a b,c.py", "file:///bucket/jobs/a%20b%2Cc.py"),
            ("s3a://own/jobs/a b.py#b.py", "file:///bucket/jobs/a%20b.py#b.py"),
            ("s3a://own/jobs/a.py#b.py", "/bucket/jobs/a.py#b.py"),
            ("s3a://own/.spark-jobs/j1/pi.py", &uploaded),
            ("s3a://own/.spark-jobs/j2/pi.py", "/bucket/.spark-jobs/j2/pi.py"),
            ("https://host/a.zip#env", "https://host/a.zip#env"),
        ] {
            assert_eq!(locations.resolve(uri), Ok(path.to_owned()));
        }
        for (uri, why) in [
            ("local:///opt/spark/none.py", "/opt/spark is '"),
            ("local:///opt/sparkling/none.py", "does not exist on the cluster's machine"),
            ("s3a://own/none.py", "holds no 'none.py'"),
        ] {
            let missing = locations.locate(uri).unwrap().unwrap().missing;
            assert!(missing.contains(why), "{missing}");
        }
        assert!(locations.resolve_one_of_many("s3a://own/a,b.py").unwrap_err().contains("rename the file"));
        for (uri, why) in [
            ("s3a://other/a.py", "only its own, 'own'"),
            ("s3a://own/../spark/examples/pi.py", "does not exist"),
            ("s3a://own/.spark-jobs/../../x", "does not exist"),
            ("job.py", "pycode_file_path"),
        ] {
            let error = locations.resolve(uri).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
