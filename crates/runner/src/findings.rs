//! The table of known errors of Python, Java and Spark: what each looks like in a log, and what it means.

/// One kind of error.
pub(crate) struct Rule {
    /// Any of these texts in a line.
    pub(crate) texts: &'static [&'static str],
    /// A driver dies of it, whatever else the log says.
    pub(crate) fatal: bool,
    /// What it means, given the line and the cluster's bucket.
    pub(crate) explain: fn(&str, &str) -> Finding,
}

/// The meaning of an error.
pub(crate) struct Finding {
    pub(crate) cause: &'static str,
    pub(crate) sentence: String,
    pub(crate) remedy: String,
}

impl Rule {
    pub(crate) fn fits(&self, line: &str) -> bool {
        self.texts.iter().any(|text| line.contains(text))
    }
}

/// The more telling ones first.
pub(crate) const RULES: &[Rule] = &[
    Rule { texts: &["SyntaxError:", "IndentationError:", "TabError:"], fatal: true, explain: syntax },
    Rule { texts: OURS, fatal: true, explain: own_class },
    Rule { texts: &["No module named"], fatal: false, explain: module },
    Rule { texts: &["cannot import name"], fatal: false, explain: import },
    Rule {
        texts: &["java.lang.OutOfMemoryError", "MemoryError", "GC overhead limit", "There is insufficient memory"],
        fatal: true,
        explain: memory,
    },
    Rule { texts: &["System memory", "must be at least 471859200"], fatal: true, explain: little_memory },
    Rule { texts: &["must be installed; however, it was not found"], fatal: false, explain: needed_module },
    Rule { texts: &["spark.driver.maxResultSize"], fatal: false, explain: result },
    Rule {
        texts: &["PYTHON_VERSION_MISMATCH", "different version than that in driver"],
        fatal: false,
        explain: python,
    },
    Rule { texts: &["Cannot run program"], fatal: true, explain: program },
    Rule { texts: &["s3a.S3AFileSystem not found"], fatal: false, explain: bucket },
    Rule { texts: &["No FileSystem for scheme", "GoogleHadoopFileSystem not found"], fatal: false, explain: store },
    Rule { texts: &["unresolved dependency", "unresolved dependencies"], fatal: true, explain: package },
    Rule { texts: &["UnsupportedClassVersionError"], fatal: true, explain: newer_java },
    Rule {
        texts: &[
            "NoSuchMethodError",
            "NoSuchFieldError",
            "AbstractMethodError",
            "IncompatibleClassChangeError",
            "NoClassDefFoundError: scala/",
            "NoClassDefFoundError: org/apache/spark/",
            "ClassNotFoundException: scala.",
        ],
        fatal: true,
        explain: other_version,
    },
    Rule { texts: &["Failed to find data source: ", "Failed to find the data source: "], fatal: true, explain: source },
    Rule { texts: &CLASS, fatal: true, explain: class },
    Rule { texts: &["'JavaPackage' object is not callable"], fatal: false, explain: unnamed_class },
    // Python's own words for a main program; one that cannot be read has another number.
    Rule { texts: &["can't open file"], fatal: true, explain: file },
    Rule { texts: &["No space left on device"], fatal: false, explain: disk },
    Rule {
        texts: &["Permission denied", "PermissionError", "AccessControlException"],
        fatal: false,
        explain: permission,
    },
    Rule {
        texts: &[
            "PATH_NOT_FOUND",
            "Path does not exist",
            "Input path does not exist",
            "FileNotFound",
            "No such file or directory",
        ],
        fatal: false,
        explain: file,
    },
    Rule { texts: &["Address already in use"], fatal: false, explain: address },
    Rule { texts: &["PATH_ALREADY_EXISTS", "FileAlreadyExists", "already exists"], fatal: false, explain: exists },
    Rule { texts: &["TABLE_OR_VIEW_NOT_FOUND"], fatal: false, explain: table },
    Rule { texts: &["UNRESOLVED_COLUMN"], fatal: false, explain: column },
    Rule { texts: &["PARSE_SYNTAX_ERROR", "ParseException"], fatal: false, explain: query },
    Rule {
        texts: &["UnknownHostException", "Connection refused", "Name or service not known"],
        fatal: false,
        explain: network,
    },
    Rule { texts: &["TimeoutException", "TimeoutError", "timed out"], fatal: false, explain: timeout },
    Rule { texts: &["Python worker exited unexpectedly"], fatal: false, explain: worker },
    Rule { texts: &["KeyError:"], fatal: false, explain: key },
];

/// Classes that the platform's own settings and commands name: that one is missing is no fault of the program's.
const OURS: &[&str] = &[
    "org.apache.spark.deploy.SparkSubmit",
    "viewfs.ViewFileSystemOverloadScheme not found",
    "FileOutputCommitterFactory not found",
    ".FileSystemBasedCheckpointFileManager",
];

/// What stands before the name of a class that is not found.
const CLASS: [&str; 5] = [
    "ClassNotFoundException: ",
    "Error: Failed to load class ",
    "NoClassDefFoundError: ",
    "Can not load class ",
    "Could not find or load main class ",
];

/// The text between two delimiters, or the whole line.
fn between<'a>(line: &'a str, before: &str, after: char) -> &'a str {
    let rest = line.split_once(before).map_or(line, |(_, rest)| rest);
    rest.split(after).next().unwrap_or(rest).trim()
}

/// The text after a delimiter, or the whole line.
fn after<'a>(line: &'a str, delimiter: &str) -> &'a str {
    line.split_once(delimiter).map_or(line, |(_, rest)| rest).trim()
}

/// What an error says, without its class.
fn message(line: &str) -> &str {
    line.split_once(": ").map_or(line, |(_, message)| message).trim_end_matches('.')
}

fn finding(cause: &'static str, sentence: String, remedy: impl Into<String>) -> Finding {
    Finding { cause, sentence, remedy: remedy.into() }
}

fn syntax(line: &str, _: &str) -> Finding {
    let sentence = format!("The program is not valid Python: {}.", message(line));
    finding("syntax-error", sentence, "correct the line shown (python -m py_compile finds it too), and submit it again")
}

fn module(line: &str, _: &str) -> Finding {
    missing_module(between(line, "No module named ", ';').trim_matches('\''))
}

/// Spark's own words for what it can do without.
fn needed_module(line: &str, _: &str) -> Finding {
    let name = message(line).trim_start_matches("[PACKAGE_NOT_INSTALLED] ").split(' ').next().unwrap_or_default();
    missing_module(&name.to_lowercase())
}

fn missing_module(name: &str) -> Finding {
    let remedy = format!(
        "bring '{name}' along with manifest.add_pyfiles([…]), or have it installed for the Python that runs the jobs \
         (PYSPARK_PYTHON of the platform)"
    );
    finding("missing-module", format!("The program imports '{name}', which is not installed where jobs run."), remedy)
}

fn import(line: &str, _: &str) -> Finding {
    let remedy = "correct the import, or bring the version of the module that has it (manifest.add_pyfiles)";
    finding("import-error", format!("An import of the program fails: {}.", message(line)), remedy)
}

fn memory(_: &str, _: &str) -> Finding {
    let remedy = "give it more: manifest.set_driver_settings({\"memory\": \"4g\"}) and the same for executors; or do not \
                  collect() what does not fit into the driver";
    finding("out-of-memory", "The job ran out of memory.".to_owned(), remedy)
}

fn little_memory(_: &str, _: &str) -> Finding {
    let remedy = "manifest.set_driver_settings({\"memory\": \"1g\"}), or more";
    finding("too-little-memory", "The driver has less memory than Spark needs to start.".to_owned(), remedy)
}

fn bucket(_: &str, bucket: &str) -> Finding {
    let sentence = format!("The program uses another bucket than the cluster's own, '{bucket}'.");
    finding("wrong-bucket", sentence, format!("put the data into s3a://{bucket}/…, and name it so in the program"))
}

fn package(line: &str, _: &str) -> Finding {
    let name = between(line, "unresolved dependency: ", ':');
    let sentence = if name.len() < line.len() {
        format!(
            "A package that the manifest names cannot be fetched: {}.",
            between(line, "unresolved dependency: ", ']')
        )
    } else {
        "A package that the manifest names cannot be fetched.".to_owned()
    };
    let remedy = "check its coordinates (group:artifact_scalaversion:version) and that the platform reaches Maven \
                  Central; without the internet, put the jar into the bucket and use manifest.add_jars";
    finding("missing-package", sentence, remedy)
}

fn class(line: &str, _: &str) -> Finding {
    let name = CLASS.iter().find(|text| line.contains(**text)).map_or(line, |text| after(line, text));
    // Hadoop's words are `Class x not found`, the JVM's may be `Could not initialize class x`.
    let name = name.strip_prefix("Class ").or_else(|| name.strip_prefix("Could not initialize class ")).unwrap_or(name);
    let name = name.split([' ', ',']).next().unwrap_or(name).trim_end_matches('.').replace('/', ".");
    let remedy = "bring the jar that holds it (manifest.add_jars or manifest.add_packages), and check the spelling of \
                  its name (that of the main program is manifest.main_class)";
    finding("missing-class", format!("Java does not find the class '{name}'."), remedy)
}

fn unnamed_class(_: &str, _: &str) -> Finding {
    let sentence = "The program calls a class of Java that is not there.".to_owned();
    finding("missing-class", sentence, "bring the jar that holds it (manifest.add_jars or manifest.add_packages)")
}

fn own_class(line: &str, _: &str) -> Finding {
    let sentence = format!("The platform's own Spark lacks a class that the platform needs: {}.", message(line));
    let remedy = "the program is not at fault: tell the platform's administrator, whose Spark is incomplete or of another \
                  version (SPARK_HOME)";
    finding("platform-fault", sentence, remedy)
}

fn source(line: &str, _: &str) -> Finding {
    let rest = after(line, "data source: ");
    let name = rest.split(". ").next().unwrap_or(rest).trim_end_matches('.');
    let remedy = format!("bring the package that holds '{name}' (manifest.add_packages), of this Spark's version");
    finding("missing-class", format!("Spark has no data source '{name}'."), remedy)
}

fn newer_java(line: &str, _: &str) -> Finding {
    let name = after(line, "UnsupportedClassVersionError: ").split(' ').next().unwrap_or_default().replace('/', ".");
    let sentence = format!("The class '{name}' was compiled for a newer Java than the one that runs jobs.");
    let remedy = "compile it for an older one (javac --release 17), or have the platform's administrator give a newer \
                  JAVA_HOME";
    finding("version-mismatch", sentence, remedy)
}

fn other_version(line: &str, _: &str) -> Finding {
    let raised = line.split_once("java.lang.").map_or(line, |(_, raised)| raised);
    let sentence = format!("A jar was built for another version of Spark, of Scala or of a library: {raised}.");
    let remedy = "take the jar or package for the platform's own Spark and Scala: the version is in its name, such as \
                  _2.13";
    finding("version-mismatch", sentence, remedy)
}

fn store(line: &str, bucket: &str) -> Finding {
    let scheme =
        if line.contains("No FileSystem") { after(line, "for scheme").trim_matches([' ', '"', ':']) } else { "gs" };
    let sentence = format!("The program uses '{scheme}://…', and jobs have nothing that reads or writes such.");
    let remedy =
        format!("put the data into s3a://{bucket}/…, and name it so, or bring the jar for it (manifest.add_jars)");
    finding("wrong-bucket", sentence, remedy)
}

fn program(line: &str, _: &str) -> Finding {
    let name = between(line, "Cannot run program \"", '"');
    let remedy = "if the manifest names it (PYSPARK_PYTHON, spark.pyspark.python), remove that; else correct the program, \
                  or tell the platform's administrator";
    finding("missing-program", format!("'{name}' cannot be run."), remedy)
}

fn worker(_: &str, _: &str) -> Finding {
    let remedy = "look for what a library says above it in the log; if the machine's memory ran out, ask for fewer cores, \
                  or handle less at once";
    finding("worker-died", "A Python process of the job ended before its work was done.".to_owned(), remedy)
}

fn result(_: &str, _: &str) -> Finding {
    let sentence = "The job collects more into the driver than spark.driver.maxResultSize allows.".to_owned();
    let remedy = "write the result instead of collect() or toPandas(), or raise the limit: \
                  manifest.set_spark_conf({\"spark.driver.maxResultSize\": \"2g\"})";
    finding("result-too-large", sentence, remedy)
}

fn address(_: &str, _: &str) -> Finding {
    let sentence = "The program listens on a port that another process has.".to_owned();
    finding("address-in-use", sentence, "let it take a free one (port 0), or another")
}

fn disk(_: &str, _: &str) -> Finding {
    let remedy = "tell the platform's administrator; shuffle less, or write results in smaller parts";
    finding("disk-full", "The disk of the cluster's machine is full.".to_owned(), remedy)
}

fn permission(line: &str, bucket: &str) -> Finding {
    let remedy = format!("write into s3a://{bucket}/… or the working folder, which belong to the job");
    finding("permission-denied", format!("The job may not do this: {}.", message(line)), remedy)
}

fn file(line: &str, bucket: &str) -> Finding {
    let what = if line.contains("does not exist: ") {
        after(line, "does not exist: ").split(" SQLSTATE").next().unwrap_or(line)
    } else if line.contains("directory: '") {
        between(line, "directory: '", '\'')
    } else if line.contains("can't open file '") {
        between(line, "can't open file '", '\'')
    } else if line.contains(": File ") && line.contains(" does not exist") {
        let rest = after(line, ": File ");
        rest.split(" does not exist").next().unwrap_or(rest)
    } else {
        message(line)
    };
    let what = what.trim_end_matches('.');
    let remedy = format!(
        "check the path; data goes into the cluster's bucket (s3a://{bucket}/…), small files along with the job \
         (manifest.add_files)"
    );
    finding("missing-file", format!("The program reads '{what}', which does not exist."), remedy)
}

fn exists(line: &str, _: &str) -> Finding {
    let remedy = "write with .mode(\"overwrite\") or .mode(\"append\"), or to another place";
    finding("output-exists", format!("The program writes to what exists already: {}.", message(line)), remedy)
}

fn table(line: &str, _: &str) -> Finding {
    let sentence = format!("The program queries a table that does not exist: {}.", message(line));
    finding("missing-table", sentence, "register it first (createOrReplaceTempView), or correct its name")
}

fn column(line: &str, _: &str) -> Finding {
    let sentence = format!("The program names a column that does not exist: {}.", message(line));
    finding("missing-column", sentence, "correct its name: df.printSchema() shows those there are")
}

fn query(line: &str, _: &str) -> Finding {
    finding("bad-query", format!("A query is not valid SQL: {}.", message(line)), "correct the query")
}

fn network(line: &str, _: &str) -> Finding {
    let remedy = "check the address, and whether the cluster's machine may reach it";
    finding("unreachable", format!("The program cannot reach another machine: {}.", message(line)), remedy)
}

fn timeout(line: &str, _: &str) -> Finding {
    let remedy = "check what it waited for; where more time is right, raise the limit (spark.network.timeout, \
                  spark.sql.broadcastTimeout, or the program's own)";
    finding("timed-out", format!("Something in the job took too long: {}.", message(line)), remedy)
}

fn python(line: &str, _: &str) -> Finding {
    let sentence = format!("Driver and workers run different versions of Python: {}.", message(line));
    finding("python-mismatch", sentence, "remove PYSPARK_PYTHON and spark.pyspark.python from the manifest")
}

fn key(line: &str, _: &str) -> Finding {
    let name = after(line, "KeyError: ").trim_matches(['\'', '"']);
    let remedy = format!(
        "if '{name}' is a variable of the environment, set it with manifest.add_driver_env or add_driver_env_from; else \
         correct the program at the line shown"
    );
    finding("missing-key", format!("The program asks for '{name}', which is not there."), remedy)
}
