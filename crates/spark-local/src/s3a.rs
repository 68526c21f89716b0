//! Hadoop's settings for a bucket that is a folder: `s3a://<the cluster's bucket>/…` in a program, through Hadoop's own
//! classes.
//!
//! Hadoop's ViewFs gives a folder the address of the bucket. Two of its tables stand in each other, because what a table
//! lists at its very root are the local file system's own records, which cannot be read under another scheme. For the
//! scheme `s3a` Hadoop and Spark name classes of the library `hadoop-aws`, which talks to real object stores and is not
//! here; those that work on any file system take their place.

use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const VIEWFS: &str = "org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme";
/// What any other bucket is asked for with: it is not there, so no other bucket can be read or written.
const S3A: &str = "org.apache.hadoop.fs.s3a.S3AFileSystem";
const COMMITTERS: &str = "org.apache.hadoop.mapreduce.lib.output.FileOutputCommitterFactory";
/// Keys of [`conf`] whose values in a manifest give way.
const OURS: [&str; 3] = [
    "spark.hadoop.fs.viewfs.overload.scheme.target.s3a.impl",
    "spark.hadoop.mapreduce.outputcommitter.factory.scheme.s3a",
    "spark.sql.streaming.checkpointFileManagerClass",
];
/// Packages of libraries that talk to real object stores.
const ELSEWHERE: [&str; 2] = ["org.apache.hadoop.fs.s3a.", "org.apache.spark.internal.io.cloud."];

/// Version of Spark, as major and minor number.
pub(crate) type SparkVersion = (u32, u32);

/// From the name of a jar that every Spark has, such as `spark-sql_2.13-4.3.0.jar`.
pub(crate) fn spark_version(home: &Path) -> Option<SparkVersion> {
    let names = std::fs::read_dir(home.join("jars")).ok()?.flatten();
    names.filter_map(|entry| version_of(entry.file_name().to_str()?)).next()
}

fn version_of(jar: &str) -> Option<SparkVersion> {
    let (_, version) = jar.strip_prefix("spark-sql_")?.split_once('-')?;
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Spark's settings for a bucket; the manifest cannot change them.
pub(crate) fn conf(bucket: &str, folder: &Path, spark: Option<SparkVersion>) -> Vec<(String, String)> {
    let checkpoints =
        if spark.is_none_or(|version| version >= (4, 1)) { "streaming.checkpointing" } else { "streaming" };
    let checkpoints = format!("org.apache.spark.sql.execution.{checkpoints}.FileSystemBasedCheckpointFileManager");
    let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    vec![
        set("spark.hadoop.fs.s3a.impl", VIEWFS),
        set("spark.hadoop.fs.viewfs.overload.scheme.target.s3a.impl", S3A),
        set(&format!("spark.hadoop.fs.viewfs.mounttable.{bucket}.linkFallback"), "viewfs://folder/bucket"),
        set("spark.hadoop.fs.viewfs.mounttable.folder.link./bucket", &file_uri(folder)),
        set("spark.hadoop.mapreduce.outputcommitter.factory.scheme.s3a", COMMITTERS),
        set("spark.sql.streaming.checkpointFileManagerClass", &checkpoints),
    ]
}

/// Whether a setting of a manifest names a class that is not here, and is not needed for a folder.
pub(crate) fn is_for_object_stores(value: &str) -> bool {
    ELSEWHERE.iter().any(|package| value.trim().starts_with(package))
}

/// Whether a key of Spark's configuration is about how a bucket is reached, which is a folder here, or is set by [`conf`].
/// (Of `fs.s3a.*` Hadoop itself reads one, whatever stands behind the scheme.)
pub(crate) fn is_about_buckets(key: &str) -> bool {
    key.starts_with("spark.hadoop.fs.s3a.") && key != "spark.hadoop.fs.s3a.impl.disable.cache"
        || OURS.contains(&key)
        || key.starts_with("spark.hadoop.fs.viewfs.mounttable.folder.")
}

/// A path as it stands in a URI.
pub(crate) fn file_uri(path: &Path) -> String {
    const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
    format!("file://{}", utf8_percent_encode(&path.to_string_lossy(), PATH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (jar, version) in [
            ("spark-sql_2.13-4.3.0.jar", Some((4, 3))),
            ("spark-sql_2.12-3.5.9.jar", Some((3, 5))),
            ("spark-sql-api_2.13-4.3.0.jar", None),
            ("spark-sql_2.13.jar", None),
        ] {
            assert_eq!(version_of(jar), version, "{jar}");
        }
    }

    #[test]
    fn the_class_for_checkpoints_is_where_that_version_has_it() {
        let class = |version| conf("b", Path::new("/b"), version).pop().map(|(_, class)| class).unwrap();
        for version in [None, Some((4, 1)), Some((4, 3)), Some((5, 0))] {
            assert!(class(version).contains(".streaming.checkpointing."), "{version:?}");
        }
        for version in [Some((3, 5)), Some((4, 0))] {
            assert!(class(version).contains(".execution.streaming.FileSystem"), "{version:?}");
        }
    }

    #[test]
    fn a_path_is_encoded_for_a_uri() {
        assert_eq!(file_uri(Path::new("/a b/é#,%20")), "file:///a%20b/%C3%A9%23%2C%2520");
    }
}
