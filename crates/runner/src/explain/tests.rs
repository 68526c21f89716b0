//! Each cause against what Spark, Hadoop, Java and Python really print: the files in `samples` hold logs of programs that failed.

use std::{collections::BTreeMap, path::Path};

use super::*;

const BUCKET: &str = "mine";

/// The texts of a file, each by its name.
fn samples(file: &str) -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/explain/samples").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let parts = text.split("@@@@ ").skip(1).filter_map(|part| part.split_once('\n'));
    parts.map(|(name, log)| (name.to_owned(), log.to_owned())).collect()
}

/// Cause, sentence, remedy.
fn found(log: &str) -> (String, String, String) {
    let lines: Vec<&str> = log.lines().collect();
    if let Some(found) = find_known(&lines) {
        let Finding { cause, sentence, remedy } = (found.rule.explain)(found.line, BUCKET);
        return (cause.to_owned(), sentence, remedy);
    }
    let raised = exception(last_error(&lines)).unwrap_or_default();
    let cause = if raised.is_empty() { "exit-code" } else { "program-error" };
    (cause.to_owned(), raised.to_owned(), String::new())
}

/// What is said of each program: cause, what the sentence names, what the remedy names.
const TABLE: &[(&str, &str, &str, &str)] = &[
    ("address", "address-in-use", "port", "port 0"),
    ("address_java", "address-in-use", "port", "port 0"),
    ("ansi_cast", "program-error", "[CAST_INVALID_INPUT]", ""),
    ("arrow_missing", "missing-module", "'pyarrow'", "add_pyfiles"),
    ("bad", "syntax-error", "", "py_compile"),
    ("class_forname", "missing-class", "'com.example.Missing'", "add_jars"),
    ("class_jdbc", "missing-class", "'org.postgresql.Driver'", "add_packages"),
    ("class_py4j", "missing-class", "class of Java", "add_jars"),
    ("column", "missing-column", "`nme`", "printSchema"),
    ("conf_file_missing", "missing-file", "'file:/data/no file.txt'", "add_files"),
    ("csv_missing", "missing-file", "'file:/data/a b.csv'", "s3a://mine/"),
    ("disk_java", "disk-full", "disk", "administrator"),
    ("disk_py", "disk-full", "disk", "administrator"),
    ("environ", "missing-key", "'NO", "add_driver_env"),
    ("exists", "output-exists", "/o3", "overwrite"),
    ("fs_user", "missing-class", "'com.example.FooFileSystem'", "add_jars"),
    ("gs", "wrong-bucket", "'gs://", "s3a://mine/"),
    ("import_name", "import-error", "cannot import name 'nosuch'", "add_pyfiles"),
    ("import_name_pkg", "import-error", "cannot import name 'NoSuch'", "add_pyfiles"),
    ("indent", "syntax-error", "expected an indented block", "py_compile"),
    ("key_dict", "missing-key", "'customer'", "add_driver_env"),
    ("key_int", "missing-key", "'3'", "line shown"),
    ("main_class", "missing-class", "'com.example.Nope'", "main_class"),
    ("memory_py", "out-of-memory", "memory", "set_driver_settings"),
    ("mismatch", "python-mismatch", "versions of Python", "PYSPARK_PYTHON"),
    ("missing_py", "missing-file", "'/jobs/no such.py'", "check the path"),
    ("module", "missing-module", "'nosuch", "add_pyfiles"),
    ("newer", "version-mismatch", "'Main'", "--release 17"),
    ("no_spark", "platform-fault", "org.apache.spark.deploy.SparkSubmit", "administrator"),
    ("no_worker", "missing-program", "'/no/python'", "PYSPARK_PYTHON"),
    ("nodep", "missing-class", "'Lib'", "add_jars"),
    ("nometh", "version-mismatch", "'int Lib.m(int)'", "_2.13"),
    ("notpackage", "missing-module", "'math.nosuch'", "add_pyfiles"),
    ("oom", "out-of-memory", "memory", "set_driver_settings"),
    ("open_missing", "missing-file", "'/data/a b.csv'", "add_files"),
    ("package", "missing-package", "com.example#nope;1.0", "Maven"),
    ("pandas_missing", "missing-module", "'pandas'", "add_pyfiles"),
    ("pandas_udf", "missing-module", "'pandas'", "add_pyfiles"),
    ("permission", "permission-denied", "/jobs/priv/a.csv", "s3a://mine/"),
    ("permission_java", "permission-denied", "/jobs/priv/a.csv", "s3a://mine/"),
    ("print2", "syntax-error", "Missing parentheses", "py_compile"),
    ("process_failed", "program-error", "", ""),
    ("rdd_exists", "output-exists", "/o4", "overwrite"),
    ("rdd_missing", "missing-file", "'file:/data/a b.txt'", "add_files"),
    ("rdd_zero", "program-error", "ZeroDivisionError", ""),
    ("refused_java", "unreachable", "Connection refused", "address"),
    ("refused_py", "unreachable", "Connection refused", "address"),
    ("result_size", "result-too-large", "maxResultSize", "toPandas"),
    ("s3a_missing", "missing-file", "'s3a://mine/in put.csv'", "s3a://mine/"),
    ("s3a_other", "wrong-bucket", "'mine'", "s3a://mine/"),
    ("source", "missing-class", "'com.example.source'", "add_packages"),
    ("source_avro", "missing-class", "'avro'", "add_packages"),
    ("source_delta", "missing-class", "'delta'", "add_packages"),
    ("source_kafka", "missing-class", "'kafka'", "add_packages"),
    ("submodule", "missing-module", "'json.nosuch'", "add_pyfiles"),
    ("syntax_sql", "bad-query", "SQL", "query"),
    ("table", "missing-table", "no_such_table", "createOrReplaceTempView"),
    ("table_exists", "output-exists", "t1", "overwrite"),
    ("table_quoted", "missing-table", "`a`.`b c`", "createOrReplaceTempView"),
    ("timeout_process", "timed-out", "timed out after", "limit"),
    ("timeout_py", "timed-out", "timed out", "limit"),
    ("udf_file", "missing-file", "'/data/look up.csv'", "add_files"),
    ("udf_java", "missing-class", "'com.example.Udf'", "add_jars"),
    ("udf_key", "missing-key", "'nokey'", "line shown"),
    ("udf_module", "missing-module", "'nosuchmodule'", "add_pyfiles"),
    ("unknown_java", "unreachable", "no-such-host.invalid", "address"),
    ("unknown_py", "unreachable", "not known", "address"),
    ("url_py", "unreachable", "not known", "address"),
    ("worker_dies", "worker-died", "Python process", "memory"),
];

#[test]
fn each_error_of_each_version_is_told_as_what_it_is() {
    let mut wrong = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for (file, least) in [("spark-4.3.txt", 55), ("spark-3.5.txt", 55), ("python.txt", 80)] {
        let texts = samples(file);
        assert!(texts.len() >= least, "{file} holds {}", texts.len());
        for (name, log) in texts {
            let case = name.split(' ').next().unwrap();
            let Some((case, cause, sentence, remedy)) = TABLE.iter().find(|row| row.0 == case) else {
                panic!("{file}: {name} has no row");
            };
            seen.insert(*case);
            let explained = found(&log);
            if explained.0 != *cause || !explained.1.contains(sentence) || !explained.2.contains(remedy) {
                wrong.push(format!("{file} {name}: {cause} expected: {explained:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen.len(), TABLE.len(), "each row has a text");
}

/// What a log says further up is no cause while the program goes on.
#[test]
fn a_warning_further_up_is_not_the_cause() {
    let warned = "SLF4J: Failed to load class \"org.slf4j.impl.StaticLoggerBinder\".\n";
    let class = samples("spark-4.3.txt").remove("fs_user").unwrap();
    for before in [warned, &class] {
        let log = format!(
            "{before}Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\nValueError: 5\n"
        );
        assert_eq!(found(&log).0, "program-error", "{before}");
    }
    assert_eq!(found(warned).0, "exit-code");
}
