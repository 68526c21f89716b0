//! The launch specification of a run: Spark's configuration, the environment and the command of a plan.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use mlplatform_runner::{
    log::LogQuota,
    plan::{Plan, SPARK_INTERNAL},
    values::Values,
};

use crate::{
    credentials::Credentials,
    environment::{self, Resolved},
    installation::{ClassPath, Installation},
    java_options, mounts,
    paths::Locations,
    proxy,
    run_job::LaunchSpec,
    s3a,
};

/// The least memory that Spark's driver starts with, in MiB.
const LEAST_HEAP: u64 = 512;

/// What a run is started with, the plan apart.
pub(crate) struct LaunchContext<'a> {
    pub(crate) installation: &'a Installation,
    pub(crate) locations: &'a Locations,
    /// Of the job: `log`, `work`, `tmp`.
    pub(crate) folder: &'a Path,
    /// Of the log.
    pub(crate) quota: LogQuota,
    /// Of the machine.
    pub(crate) cores: u64,
    /// Of the machine, in MiB.
    pub(crate) memory_mib: u64,
    pub(crate) run_id: String,
    pub(crate) credentials: Option<Credentials>,
    /// Shared by all jobs, so that a package is fetched once.
    pub(crate) package_cache: PathBuf,
    /// The values of the objects that the plan names.
    pub(crate) values: &'a Values,
}

/// The launch, and the text of the properties file that belongs at [`properties`].
pub(crate) fn launch(plan: &Plan, context: &LaunchContext<'_>) -> Result<(LaunchSpec, String), String> {
    let conf = conf(plan, context)?;
    let main = main_program(plan, context.locations)?;
    let heap = heap(plan, context.memory_mib);
    let mut options = driver_options(plan)?;
    options.push(format!("-Dderby.system.home={}", context.folder.join("work").display()));
    options.push(format!("-Djava.io.tmpdir={}", context.folder.join("tmp").display()));
    let Resolved { variables, arguments: given } =
        environment::resolve(plan, &mounts::folder_of(context.folder), context.values)?;
    let environment = environment(plan, context, variables);
    let class_path = class_path(plan, context.locations, &environment);
    let (program, mut arguments) = context.installation.command(heap, &options, &class_path);
    arguments.extend(["--properties-file".to_owned(), properties(context.folder).display().to_string()]);
    if let Some(class) = &plan.main_class {
        arguments.extend(["--class".to_owned(), class.clone()]);
    }
    arguments.push(main);
    arguments.extend(given);
    let launch = LaunchSpec {
        program,
        arguments,
        environment,
        folder: context.folder.join("work"),
        log: context.folder.join("log"),
        quota: context.quota,
        // Known when the log is there.
        log_from: 0,
        run_id: context.run_id.clone(),
        credentials: context.credentials,
    };
    let text = conf.iter().map(|(key, value)| format!("{}={}\n", escaped(key, true), escaped(value, false)));
    Ok((launch, text.collect()))
}

/// Where Spark's configuration of a job's run is: values may be secrets, and others can read a command line. The job
/// reads it, so it is not among what is said of its runs.
pub(crate) fn properties(folder: &Path) -> PathBuf {
    folder.join("spark.conf")
}

/// The main program as Spark is given it.
pub(crate) fn main_program(plan: &Plan, locations: &Locations) -> Result<String, String> {
    match &plan.main {
        Some(main) if main == SPARK_INTERNAL => Ok(main.clone()),
        Some(main) => locations.resolve(main).map_err(|problem| format!("spec.mainApplicationFile: {problem}")),
        None => Err("spec.mainApplicationFile: there is no program to run: pass pycode_file_path, or set \
                     manifest.main_app_file"
            .to_owned()),
    }
}

/// The files that come along, as Spark is given them: each setting with its value.
pub(crate) fn dependencies(plan: &Plan, locations: &Locations) -> Result<Vec<(&'static str, String)>, String> {
    let mut all = Vec::new();
    for (key, uris) in plan.lists().into_iter().filter(|(_, uris)| !uris.is_empty()) {
        let resolved = uris
            .iter()
            .map(|(field, uri)| locations.resolve_one_of_many(uri).map_err(|problem| format!("{field}: {problem}")));
        all.push((key, resolved.collect::<Result<Vec<_>, _>>()?.join(",")));
    }
    Ok(all)
}

/// One process is driver and executors: it gets what they would have together, within reason on this machine.
fn heap(plan: &Plan, machine_mib: u64) -> u64 {
    plan.memory_mib().clamp(LEAST_HEAP, (machine_mib / 2).max(LEAST_HEAP))
}

/// Spark's configuration: ours that the manifest may change, the manifest's, ours that it may not.
fn conf(plan: &Plan, context: &LaunchContext<'_>) -> Result<BTreeMap<String, String>, String> {
    let work = context.folder.join("work");
    let mut conf = BTreeMap::new();
    let mut set = |key: &str, value: String| drop(conf.insert(key.to_owned(), value));
    set("spark.app.name", plan.name.clone());
    set("spark.ui.enabled", "false".to_owned());
    set("spark.ui.showConsoleProgress", "false".to_owned());
    set("spark.sql.warehouse.dir", work.join("spark-warehouse").display().to_string());
    set("spark.jars.ivy", context.package_cache.display().to_string());
    // As the reference's clusters, which run Spark 3: a cast that fails gives NULL, and ends no job.
    set("spark.sql.ansi.enabled", "false".to_owned());
    let isolated = context.credentials.is_some_and(|credentials| credentials.cluster.is_some());
    if isolated {
        // Hadoop sets the mode of what it writes, which it may not where another job has written the marker before.
        set("spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs", "false".to_owned());
    }
    for (key, value) in plan.conf.iter().filter(|(_, value)| !s3a::is_for_object_stores(value)) {
        set(key, value.clone());
    }
    let workers = plan.executor.cores.saturating_mul(plan.instances).clamp(1, context.cores.max(1));
    set("spark.master", format!("local[{workers}]"));
    set("spark.submit.deployMode", "client".to_owned());
    set("spark.driver.host", "127.0.0.1".to_owned());
    set("spark.driver.bindAddress", "127.0.0.1".to_owned());
    set("spark.driver.cores", plan.driver.cores.to_string());
    set("spark.driver.memory", format!("{}m", plan.driver.memory_mib));
    set("spark.executor.instances", plan.instances.to_string());
    set("spark.executor.cores", plan.executor.cores.to_string());
    set("spark.executor.memory", format!("{}m", plan.executor.memory_mib));
    for (key, paths) in dependencies(plan, context.locations)? {
        set(key, paths);
    }
    let deps = &plan.deps;
    for (key, names) in [
        ("spark.jars.packages", &deps.packages),
        ("spark.jars.excludes", &deps.exclude_packages),
        ("spark.jars.repositories", &deps.repositories),
    ] {
        if !names.is_empty() {
            set(key, names.join(","));
        }
    }
    // In local mode Spark makes up a secret for each run, which is in its memory alone.
    set("spark.authenticate", "true".to_owned());
    if isolated {
        // Whoever is on this machine could read it.
        set("spark.ui.enabled", "false".to_owned());
        // As the job's umask: Hadoop goes by its own.
        set("spark.hadoop.fs.permissions.umask-mode", "007".to_owned());
    }
    let Locations { bucket, folder, .. } = context.locations;
    conf.extend(s3a::conf(bucket, folder, context.installation.spark_version));
    Ok(conf)
}

fn environment(plan: &Plan, context: &LaunchContext<'_>, given: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> =
        environment::inherited().map(|(name, value)| (name.to_owned(), value)).collect();
    for name in proxy::VARIABLES {
        all.extend(env::var(name).ok().and_then(|value| Some((name.to_owned(), proxy::without_password(&value)?))));
    }
    all.entry("LANG".to_owned()).or_insert_with(|| "C.UTF-8".to_owned());
    let path = |path: &Path| path.display().to_string();
    let python = path(&context.installation.python);
    let (work, tmp) = (path(&context.folder.join("work")), path(&context.folder.join("tmp")));
    for (name, value) in [
        ("HOME", work),
        ("TMPDIR", tmp.clone()),
        ("SPARK_LOCAL_DIRS", tmp),
        ("SPARK_HOME", path(&context.installation.spark_home)),
        ("SPARK_LOCAL_IP", "127.0.0.1".to_owned()),
        ("SPARK_LOCAL_HOSTNAME", "localhost".to_owned()),
        ("PYSPARK_PYTHON", python.clone()),
        ("PYSPARK_DRIVER_PYTHON", python),
        // What a program prints is in the log when it has printed it.
        ("PYTHONUNBUFFERED", "1".to_owned()),
    ] {
        all.insert(name.to_owned(), value);
    }
    if let Some(home) = context.installation.java_home() {
        all.insert("JAVA_HOME".to_owned(), path(home));
    }
    all.extend(given);
    let libraries = conf_values(plan, "extraLibraryPath").map(str::to_owned);
    let libraries: Vec<String> = libraries.chain(all.get("LD_LIBRARY_PATH").cloned()).collect();
    if !libraries.is_empty() {
        all.insert("LD_LIBRARY_PATH".to_owned(), libraries.join(":"));
    }
    all
}

/// A property of the driver, then of the executors: one process is both.
fn conf_values<'a>(plan: &'a Plan, key: &str) -> impl Iterator<Item = &'a str> {
    let find = |part: &str| {
        let key = format!("spark.{part}.{key}");
        plan.conf.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str())
    };
    [find("driver"), find("executor")].into_iter().flatten().filter(|value| !value.is_empty())
}

/// The driver's Java options, in the order of Spark's launcher; the text says which it would refuse.
pub(crate) fn driver_options(plan: &Plan) -> Result<Vec<String>, String> {
    let conf = |key: &str| plan.conf.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    let mut options = Vec::new();
    for key in ["spark.driver.defaultJavaOptions", "spark.driver.extraJavaOptions"] {
        options.extend(java_options::read(&format!("spec.sparkConf[\"{key}\"]"), conf(key).unwrap_or_default())?);
    }
    let own = plan.driver.java_options.as_deref().unwrap_or_default();
    options.extend(java_options::read("spec.driver.javaOptions", own)?);
    Ok(options)
}

/// What comes before and after Spark's own jars, as its launcher has it.
fn class_path(plan: &Plan, locations: &Locations, environment: &BTreeMap<String, String>) -> ClassPath {
    // As in an image: /opt/spark is Spark's folder.
    let here = |path: &str| if path.starts_with('/') { locations.resolve(path).ok() } else { None };
    let extra = conf_values(plan, "extraClassPath").flat_map(|paths| paths.split(':'));
    ClassPath {
        extra: extra.map(|path| here(path).unwrap_or_else(|| path.to_owned())).collect(),
        spark_conf: environment.get("SPARK_CONF_DIR").cloned(),
        hadoop_conf: environment.get("HADOOP_CONF_DIR").cloned(),
    }
}

/// As Java's properties files want it.
fn escaped(text: &str, key: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, c) in text.chars().enumerate() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' ' if key || index == 0 => out.push_str("\\ "),
            '=' | ':' if key => out.extend(['\\', c]),
            '#' | '!' if index == 0 => out.extend(['\\', c]),
            c if c.is_ascii_graphic() || c == ' ' => out.push(c),
            c => {
                let mut units = [0; 2];
                out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
            }
        }
    }
    out
}

/// Cores and memory (MiB) of this machine.
pub(crate) fn machine() -> (u64, u64) {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    (cores, memory.map_or(4096, |kib| kib / 1024))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::installation::Launcher;
    use serde_json::json;

    fn launched(spec: serde_json::Value) -> Result<(LaunchSpec, String), String> {
        launched_as(spec, None)
    }

    fn launched_as(spec: serde_json::Value, credentials: Option<Credentials>) -> Result<(LaunchSpec, String), String> {
        let plan = Plan::read(&json!({"metadata": {"name": "pi-1"}, "spec": spec}))?;
        let installation = Installation {
            spark_home: PathBuf::from("/usr"),
            python: PathBuf::from("/usr/bin/python3"),
            spark_version: Some((4, 3)),
            launcher: Launcher::Java { program: PathBuf::from("/java/bin/java"), version: 25 },
        };
        let locations = Locations {
            spark_home: "/usr".into(),
            bucket: "own".to_owned(),
            folder: "/usr".into(),
            uploads: "/uploads".into(),
        };
        let mut values = Values::default();
        for object in plan.objects() {
            let data = BTreeMap::from([("KEY".to_owned(), b"hidden".to_vec().into())]);
            values.insert(object.clone(), (object.name == "s").then_some(data));
        }
        let context = LaunchContext {
            installation: &installation,
            locations: &locations,
            folder: Path::new("/j"),
            quota: LogQuota { limit: 1 << 30, free: 0 },
            cores: 2,
            memory_mib: 8192,
            run_id: "j.1".to_owned(),
            credentials,
            package_cache: PathBuf::from("/ivy"),
            values: &values,
        };
        launch(&plan, &context)
    }

    #[test]
    fn a_manifest_becomes_a_command() {
        let (launch, conf) = launched(json!({
            "type": "Python",
            "mainApplicationFile": "local:///opt/spark/bin",
            "arguments": ["--x", "$(reboot); *"],
            "sparkConf": {"spark.a": "1", "spark.master": "k8s://x", "spark.ui.enabled": "true",
                "spark.jars": "local:///opt/spark/a.jar, s3a://own/b c.jar", "spark.x": "org.apache.hadoop.fs.s3a.X"},
            "hadoopConf": {"fs.s3a.impl": "other", "k": "v"},
            "deps": {"jars": ["local:///opt/spark/bin", "s3a://own/lib"], "packages": ["a:b:1"]},
            "driver": {"memory": "512m", "envFrom": [{"secretRef": {"name": "s"}}], "env": [{"name": "A", "value": "b"}]},
            "executor": {"instances": 2, "cores": 4, "memory": "1g", "env": [{"name": "A", "value": "c"}]},
        }))
        .unwrap();
        let tail = ["--properties-file", "/j/spark.conf", "/usr/bin", "--x", "$(reboot); *"];
        assert!(launch.arguments.ends_with(&tail.map(str::to_owned)), "no shell sees them: {:?}", launch.arguments);
        assert!(launch.arguments.contains(&"-Xmx2560m".to_owned()));
        let line = |line: &str| assert!(conf.lines().any(|other| other == line), "{line} in {conf}");
        line("spark.master=local[2]");
        line("spark.ui.enabled=true");
        line("spark.hadoop.k=v");
        line("spark.authenticate=true");
        line("spark.jars=/usr/a.jar,file:///usr/b%20c.jar,/usr/bin,/usr/lib");
        line("spark.sql.ansi.enabled=false");
        assert!(!conf.contains("spark.x"));
        line("spark.jars.packages=a:b:1");
        line("spark.hadoop.fs.viewfs.mounttable.folder.link./bucket=file:///usr");
        assert!(!conf.contains("k8s://") && !conf.contains("=other"));
        assert_eq!((launch.environment["A"].as_str(), launch.environment["KEY"].as_str()), ("b", "hidden"));
        assert!(!conf.contains("hidden") && !launch.arguments.iter().any(|text| text.contains("hidden")));
    }

    #[test]
    fn a_job_with_an_id_of_its_own_shows_no_page_and_shares_what_it_writes() {
        let conf = json!({"spark.ui.enabled": "true", "spark.authenticate": "false",
            "spark.hadoop.fs.permissions.umask-mode": "000"});
        let spec = json!({"type": "Python", "mainApplicationFile": "local:///opt/spark/bin", "sparkConf": conf});
        let credentials = Credentials { uid: 7, gid: 7, cluster: Some(9) };
        let (launch, conf) = launched_as(spec, Some(credentials)).unwrap();
        assert_eq!(launch.credentials, Some(credentials));
        for wanted in [
            "spark.authenticate=true",
            "spark.ui.enabled=false",
            "spark.hadoop.fs.permissions.umask-mode=007",
            "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs=false",
        ] {
            assert!(conf.lines().any(|line| line == wanted), "{wanted} in {conf}");
        }
    }

    #[test]
    fn java_options_and_class_paths_are_those_of_spark_s_launcher() {
        let spec = |driver: serde_json::Value, conf: serde_json::Value| {
            json!({"type": "Python", "mainApplicationFile": "local:///opt/spark/bin", "driver": driver, "sparkConf": conf,
                "sparkConfigMap": "s"})
        };
        let conf = json!({
            "spark.driver.defaultJavaOptions": "-Dfirst=1 -Dx='a b'",
            "spark.driver.extraJavaOptions": "-Dsecond=\"two words\"",
            "spark.driver.extraClassPath": "/opt/spark/lib/a.jar:relative.jar",
            "spark.executor.extraClassPath": "/b.jar",
            "spark.driver.extraLibraryPath": "/native",
        });
        let options = "-Dthird=3 -XX:OnOutOfMemoryError='kill -9 %p'";
        let (launch, _) = launched(spec(json!({"javaOptions": options}), conf)).unwrap();
        let at = launch.arguments.iter().position(|argument| argument == "-Dfirst=1").unwrap();
        let expected = ["-Dfirst=1", "-Dx=a b", "-Dsecond=two words", "-Dthird=3", "-XX:OnOutOfMemoryError=kill -9 %p"];
        assert_eq!(launch.arguments[at..at + 5], expected);
        let path = launch.arguments.iter().position(|argument| argument == "-cp").unwrap() + 1;
        let conf_dir = "/j/mounts/etc/spark/conf";
        assert_eq!(launch.arguments[path], format!("/usr/lib/a.jar:relative.jar:/b.jar:{conf_dir}:/usr/jars/*"));
        assert_eq!(launch.environment["SPARK_CONF_DIR"], conf_dir);
        assert!(launch.environment["LD_LIBRARY_PATH"].starts_with("/native"));
        for (driver, conf, text) in [
            (json!({"javaOptions": "-Dx=\"a"}), json!({}), "spec.driver.javaOptions: a quote is not closed"),
            (json!({"javaOptions": "-Xmx4g"}), json!({}), "spec.driver.javaOptions: Spark takes no '-Xmx4g'"),
            (
                json!({}),
                json!({"spark.driver.defaultJavaOptions": "'"}),
                "spec.sparkConf[\"spark.driver.defaultJavaOptions\"]: a quote",
            ),
        ] {
            let error = launched(spec(driver, conf)).unwrap_err();
            assert!(error.starts_with(text), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_started_is_told() {
        for (spec, text) in [
            (json!({"type": "Python"}), "spec.mainApplicationFile: there is no program to run"),
            (
                json!({"type": "Python", "mainApplicationFile": "s3a://other/a.py"}),
                "spec.mainApplicationFile: 's3a://other/a.py' is in the bucket 'other'",
            ),
            (
                json!({"type": "Python", "mainApplicationFile": "local:///opt/spark/bin",
                    "driver": {"envFrom": [{"secretRef": {"name": "t"}}]}}),
                "the Secret 't' does not exist",
            ),
            (
                json!({"type": "Python", "mainApplicationFile": "local:///opt/spark/bin",
                    "driver": {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "no"}}}]}}),
                "the Secret 's' has no key 'no'",
            ),
        ] {
            let error = launched(spec).unwrap_err();
            assert!(error.starts_with(text), "{error}");
        }
    }

    #[test]
    fn properties_are_read_back() {
        assert_eq!(escaped("a=b c:d", true), "a\\=b\\ c\\:d");
        assert_eq!(escaped(" x\\y\nя😀#", false), "\\ x\\\\y\\n\\u044f\\ud83d\\ude00#");
    }
}
