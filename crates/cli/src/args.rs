//! The arguments of `mlp`. The doc comments are the help texts; the tests run every example in them.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use mlplatform_client::waits::Until;
use mlplatform_protocol::{Lifetime, Role, audit};

/// The ML platform from a terminal: tokens, clusters, Spark jobs.
#[derive(Debug, Parser)]
#[command(
    name = "mlp",
    version,
    propagate_version = false,
    disable_help_subcommand = true,
    after_help = "\
Settings are options, else environment variables (MLP_URL, MLP_REFRESH_TOKEN, …), else those of a profile.

Exit codes: 0 done, 1 failed, 2 usage or settings, 3 refused, 4 not found, 5 timeout, 130 Ctrl-C.

Examples:
  mlp auth login --url https://platform.example.com
  mlp job submit pi.py --name pi -- 10
  mlp job list"
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of all commands.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Global {
    /// The platform's address
    #[arg(long, global = true, value_name = "URL", help_heading = "Settings")]
    pub(crate) url: Option<String>,
    /// The saved settings to use
    #[arg(long, global = true, value_name = "NAME", help_heading = "Settings")]
    pub(crate) profile: Option<String>,
    /// PEM file of certificate authorities; only these are trusted
    #[arg(long, global = true, value_name = "FILE", help_heading = "Settings")]
    pub(crate) ca_bundle: Option<String>,
    /// Seconds for a whole call, retries included, or for a whole wait
    #[arg(long, global = true, value_name = "SECONDS", help_heading = "Settings")]
    pub(crate) timeout: Option<f64>,
    /// Print JSON with the field names of the API
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) json: bool,
    /// Print values only: no headers, no messages
    #[arg(long, short, global = true, help_heading = "Output")]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sign in and out, show settings
    Auth {
        #[command(subcommand)]
        command: Auth,
    },
    /// Access tokens
    Token {
        #[command(subcommand)]
        command: Token,
    },
    /// Registration tokens, which colleagues redeem for access tokens
    Register {
        #[command(subcommand)]
        command: Register,
    },
    /// Spark clusters
    Cluster {
        #[command(subcommand)]
        command: Cluster,
    },
    /// Spark jobs
    Job {
        #[command(subcommand)]
        command: Job,
    },
    /// Manifests of jobs, without a platform
    Manifest {
        #[command(subcommand)]
        command: Manifest,
    },
    /// Secrets for jobs
    Secret {
        #[command(subcommand)]
        command: Secret,
    },
    /// Config maps for jobs
    Configmap {
        #[command(subcommand)]
        command: Configmap,
    },
    /// The audit log
    Audit {
        #[command(subcommand)]
        command: Audit,
    },
    /// Start a platform on this machine (mlplatform-server serve)
    #[command(disable_help_flag = true, after_help = "Examples:\n  mlp serve --help")]
    Serve {
        /// Arguments of mlplatform-server
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Print a completion script for a shell
    #[command(after_help = "Examples:\n  mlp completion bash")]
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Auth {
    /// Ask for an access or registration token, check it, and store it in a profile
    ///
    /// In a terminal the token is not shown; otherwise it is read from standard input. A registration token is redeemed.
    #[command(
        after_help = "Examples:\n  mlp auth login\n  mlp auth login --profile staging --url https://staging.example.com"
    )]
    Login,
    /// Remove the token of a profile from this machine
    #[command(after_help = "Examples:\n  mlp auth logout")]
    Logout,
    /// Show every setting and its source
    #[command(after_help = "Examples:\n  mlp auth describe")]
    Describe,
    /// Show whose token it is
    #[command(after_help = "Examples:\n  mlp auth whoami")]
    Whoami,
}

/// The role of a token.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TokenType {
    /// Can use clusters and manage its own token
    User,
    /// Can also manage tokens, clusters and secrets
    Admin,
}

impl From<TokenType> for Role {
    fn from(role: TokenType) -> Self {
        match role {
            TokenType::User => Self::User,
            TokenType::Admin => Self::Administrator,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Create an access token: a registration token that is redeemed at once
    #[command(after_help = "Examples:\n  mlp token create ci --refresh-ttl 30d")]
    Create {
        /// A unique name for the token
        name: String,
        /// Its role
        #[arg(long, value_enum, default_value_t = TokenType::User)]
        token_type: TokenType,
        /// Its lifetime: 30d, 2h45m30s. Default: unlimited
        #[arg(long, value_name = "LIFETIME")]
        refresh_ttl: Option<Lifetime>,
    },
    /// List the valid access tokens
    #[command(after_help = "Examples:\n  mlp token list\n  mlp token list --json")]
    List,
    /// Show one
    #[command(after_help = "Examples:\n  mlp token show anna")]
    Show {
        /// Its name or id
        name: String,
    },
    /// Delete an access token; it becomes invalid at once
    #[command(after_help = "Examples:\n  mlp token delete anna")]
    Delete {
        /// Its name
        name: String,
    },
    /// Give an access token a new value
    ///
    /// If it is the token of the current profile, the new value is stored there.
    #[command(after_help = "Examples:\n  mlp token rotate anna --overlap 1h")]
    Rotate {
        /// Its name
        name: String,
        /// How long the old value stays valid. Default: not at all
        #[arg(long, value_name = "LIFETIME")]
        overlap: Option<Lifetime>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Register {
    /// Create a registration token, which a colleague redeems once for an access token
    #[command(after_help = "Examples:\n  mlp register create kim --access-ttl 2h --refresh-ttl 30d")]
    Create {
        /// The name of the access token
        name: String,
        /// How long the registration token can be redeemed: 2h45m30s, 1d
        #[arg(long, value_name = "LIFETIME")]
        access_ttl: Lifetime,
        /// The lifetime of the access token. Default: unlimited
        #[arg(long, value_name = "LIFETIME")]
        refresh_ttl: Option<Lifetime>,
        /// The access token's role
        #[arg(long, value_enum, default_value_t = TokenType::User)]
        token_type: TokenType,
    },
    /// Redeem a registration token and print the access token
    #[command(after_help = "Examples:\n  mlp register redeem < registration-token")]
    Redeem,
    /// List the registration tokens with their states
    #[command(after_help = "Examples:\n  mlp register list")]
    List,
    /// Withdraw a registration token that was not redeemed
    #[command(after_help = "Examples:\n  mlp register withdraw tok_0123456789abcdef")]
    Withdraw {
        /// Its id, as the list shows it
        id: String,
    },
}

/// The selected cluster.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct OfCluster {
    /// Name or id of the cluster; optional if there is only one
    #[arg(long, short, env = "MLP_CLUSTER", value_name = "CLUSTER")]
    pub(crate) cluster: Option<String>,
}

/// Minutes without a job, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Never,
    Minutes(i64),
}

impl std::str::FromStr for After {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self::Never);
        }
        let lifetime: Lifetime = text.parse().map_err(|error| format!("{error}; or write never"))?;
        let seconds = lifetime.duration().as_secs();
        let whole = seconds.is_multiple_of(60) && lifetime.duration().subsec_nanos() == 0;
        let minutes = i64::try_from(seconds / 60).ok().filter(|minutes| whole && *minutes > 0);
        minutes.map(Self::Minutes).ok_or_else(|| "write whole minutes: 30m, 2h".to_owned())
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Cluster {
    /// List the clusters
    #[command(after_help = "Examples:\n  mlp cluster list")]
    List,
    /// Show one
    #[command(after_help = "Examples:\n  mlp cluster show -c local")]
    Show {
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// Start a suspended cluster
    #[command(after_help = "Examples:\n  mlp cluster wake -c local")]
    Wake {
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// Set when an inactive cluster is suspended
    #[command(after_help = "Examples:\n  mlp cluster suspend-after 30m\n  mlp cluster suspend-after never")]
    SuspendAfter {
        /// Whole minutes (30m, 2h), or never
        after: After,
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// List the open sessions of Spark Connect: your own, or all for an Administrator
    #[command(after_help = "Examples:\n  mlp cluster sessions -c local")]
    Sessions {
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// Close a session of Spark Connect; what runs in it is interrupted
    #[command(after_help = "Examples:\n  mlp cluster close-session 00112233-4455-6677-8899-aabbccddeeff")]
    CloseSession {
        /// As the list of sessions has it
        session: String,
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// Add to what the Connect server loads, or show its settings; a running server is started again when it is idle
    #[command(
        after_help = "Examples:\n  mlp cluster connect-jars\n  mlp cluster connect-jars --package org.example:name:1.0"
    )]
    ConnectJars {
        /// The address of a jar; can be repeated
        #[arg(long = "jar", value_name = "ADDRESS")]
        jars: Vec<String>,
        /// Maven coordinates; can be repeated
        #[arg(long = "package", value_name = "GROUP:NAME:VERSION")]
        packages: Vec<String>,
        /// A Maven repository; can be repeated
        #[arg(long = "repository", value_name = "ADDRESS")]
        repositories: Vec<String>,
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// Set when an inactive cluster is deleted
    #[command(after_help = "Examples:\n  mlp cluster delete-after 2d\n  mlp cluster delete-after never")]
    DeleteAfter {
        /// Whole minutes (30m, 2h), or never
        after: After,
        #[command(flatten)]
        cluster: OfCluster,
    },
}

/// `key=value`
fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("write it like spark.sql.shuffle.partitions=8".to_owned()),
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Submit {
    /// The program file, sent with the job
    pub(crate) program: Option<PathBuf>,
    /// Arguments of the program, after --
    #[arg(last = true)]
    pub(crate) arguments: Vec<String>,
    /// The job's manifest (- is standard input). Default: a small Python job
    #[arg(long, short, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// The job's name. Default: that of the manifest, or a generated one
    #[arg(long, short)]
    pub(crate) name: Option<String>,
    /// A Spark setting; can be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub(crate) conf: Vec<(String, String)>,
    /// Print the job's output until it ends, and exit with its result
    #[arg(long, short)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) cluster: OfCluster,
}

/// The state to wait for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum WaitUntil {
    /// The job has ended
    Completed,
    /// The program runs, or has run
    Running,
}

impl From<WaitUntil> for Until {
    fn from(until: WaitUntil) -> Self {
        match until {
            WaitUntil::Completed => Self::Completed,
            WaitUntil::Running => Self::Running,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Job {
    /// Run a program
    ///
    /// With --follow, the exit code is 0 if the job completes and 1 if it fails. Ctrl-C ends the command, not the job.
    #[command(
        after_help = "Examples:\n  mlp job submit pi.py --name pi --follow -- 10\n  mlp job submit --manifest job.yaml"
    )]
    Submit(Submit),
    /// List the jobs of a cluster
    #[command(after_help = "Examples:\n  mlp job list")]
    List {
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// Show one
    #[command(after_help = "Examples:\n  mlp job show pi")]
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// Print the log of a job, also of a deleted one
    #[command(
        after_help = "Examples:\n  mlp job logs pi --tail 20\n  mlp job logs pi -f\n  mlp job logs pi --output pi.log"
    )]
    Logs {
        /// Its name
        name: String,
        /// Only the last lines
        #[arg(long, value_name = "LINES")]
        tail: Option<u64>,
        /// Continue until the job has ended, also across restarts of the platform
        #[arg(long, short)]
        follow: bool,
        /// Save to a file; an incomplete copy is continued
        #[arg(long, short, value_name = "FILE", conflicts_with = "tail")]
        output: Option<PathBuf>,
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// Wait until a job has ended, or runs
    ///
    /// Exit codes: 0 completed (or running), 1 failed, 5 timeout.
    #[command(after_help = "Examples:\n  mlp job wait pi\n  mlp job wait pi --until running --timeout 600")]
    Wait {
        /// Its name
        name: String,
        /// The state to wait for
        #[arg(long, value_enum, default_value_t = WaitUntil::Completed)]
        until: WaitUntil,
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// Explain the state of a job, with a remedy
    #[command(after_help = "Examples:\n  mlp job explain pi")]
    Explain {
        /// Its name
        name: String,
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// Show the job's SparkApplication as JSON
    #[command(after_help = "Examples:\n  mlp job describe pi")]
    Describe {
        /// Its name
        name: String,
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// List the events of a job or of the cluster
    #[command(after_help = "Examples:\n  mlp job events\n  mlp job events pi")]
    Events {
        /// The job's name. Default: all jobs
        name: Option<String>,
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// End and delete a job; its log is kept
    #[command(after_help = "Examples:\n  mlp job delete pi")]
    Delete {
        /// Its name
        name: String,
        #[command(flatten)]
        cluster: OfCluster,
    },
}

impl Job {
    /// The cluster, if one is selected.
    pub(crate) fn cluster(&self) -> Option<&str> {
        let (Self::Submit(Submit { cluster, .. })
        | Self::List { cluster }
        | Self::Show { cluster, .. }
        | Self::Logs { cluster, .. }
        | Self::Wait { cluster, .. }
        | Self::Explain { cluster, .. }
        | Self::Describe { cluster, .. }
        | Self::Events { cluster, .. }
        | Self::Delete { cluster, .. }) = self;
        cluster.cluster.as_deref()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Manifest {
    /// Print the default manifest: Spark's example in Python
    #[command(after_help = "Examples:\n  mlp manifest default --name pi")]
    Default {
        /// The job's name. Default: a generated one
        #[arg(long, short)]
        name: Option<String>,
    },
    /// Check a manifest against the operator's rules
    #[command(after_help = "Examples:\n  mlp manifest validate job.yaml")]
    Validate {
        /// The file; - is standard input
        file: PathBuf,
    },
    /// Print a manifest as it is parsed
    #[command(after_help = "Examples:\n  mlp manifest show job.yaml")]
    Show {
        /// The file; - is standard input
        file: PathBuf,
    },
}

/// The place of an object.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Place {
    /// The namespace
    #[arg(long, default_value = "default")]
    pub(crate) namespace: String,
    #[command(flatten)]
    pub(crate) cluster: OfCluster,
}

macro_rules! objects {
    ($(#[$doc:meta])* $name:ident $noun:literal $one:literal) => {
        $(#[$doc])*
        #[derive(Debug, Subcommand)]
        pub(crate) enum $name {
            #[doc = concat!("Create ", $one, " from a YAML file")]
            #[command(after_help = concat!("Examples:\n  mlp ", $noun, " create ", $noun, ".yaml"))]
            Create {
                /// A YAML file in the format of kubectl
                file: PathBuf,
                #[command(flatten)]
                place: Place,
            },
            /// List the names
            #[command(after_help = concat!("Examples:\n  mlp ", $noun, " list"))]
            List {
                #[command(flatten)]
                place: Place,
            },
            /// Show one; values of secrets are never shown
            #[command(after_help = concat!("Examples:\n  mlp ", $noun, " show settings"))]
            Show {
                /// Its name
                name: String,
                #[command(flatten)]
                place: Place,
            },
            /// Delete one
            #[command(after_help = concat!("Examples:\n  mlp ", $noun, " delete settings"))]
            Delete {
                /// Its name
                name: String,
                #[command(flatten)]
                place: Place,
            },
        }

        impl $name {
            /// Its place.
            pub(crate) fn place(&self) -> &Place {
                let (Self::Create { place, .. } | Self::List { place } | Self::Show { place, .. } | Self::Delete { place, .. }) = self;
                place
            }
        }
    };
}

objects! {
    /// Secrets.
    Secret "secret" "a secret"
}
objects! {
    /// Config maps.
    Configmap "configmap" "a config map"
}

/// The outcome of an action.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Outcome {
    /// Done
    Done,
    /// Refused
    Refused,
    /// A second attempt to redeem a registration token
    Replay,
}

impl From<Outcome> for audit::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::Refused => Self::Refused,
            Outcome::Replay => Self::Replay,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// List the newest rows, newest first
    #[command(after_help = "Examples:\n  mlp audit list --since 1d\n  mlp audit list --token anna --outcome refused")]
    List {
        /// Actions of a token and on a token: its name or id
        #[arg(long)]
        token: Option<String>,
        /// The name of a method
        #[arg(long)]
        action: Option<String>,
        /// The outcome
        #[arg(long, value_enum)]
        outcome: Option<Outcome>,
        /// The earliest time: RFC 3339, or a duration before now (1d, 2h)
        #[arg(long, value_name = "MOMENT")]
        since: Option<String>,
        /// Only rows before this time
        #[arg(long, value_name = "MOMENT")]
        until: Option<String>,
        /// The most rows
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
}
