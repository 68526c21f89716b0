//! What can be written behind `mlp`. The texts are the help; every example in them is run by the tests.

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

/// Before or behind any command.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Global {
    /// The platform's address
    #[arg(long, global = true, value_name = "URL", help_heading = "Settings")]
    pub(crate) url: Option<String>,
    /// The saved settings that are used
    #[arg(long, global = true, value_name = "NAME", help_heading = "Settings")]
    pub(crate) profile: Option<String>,
    /// PEM file of the authorities that are trusted, and no others
    #[arg(long, global = true, value_name = "FILE", help_heading = "Settings")]
    pub(crate) ca_bundle: Option<String>,
    /// Seconds for a whole call, retries included, or for a whole wait
    #[arg(long, global = true, value_name = "SECONDS", help_heading = "Settings")]
    pub(crate) timeout: Option<f64>,
    /// JSON for programs, in the words of the API
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) json: bool,
    /// Values alone: no headers, nothing that is only for whoever watches
    #[arg(long, short, global = true, help_heading = "Output")]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sign in and out; which settings are used
    Auth {
        #[command(subcommand)]
        command: Auth,
    },
    /// Access tokens
    Token {
        #[command(subcommand)]
        command: Token,
    },
    /// Registration tokens, with which colleagues get access tokens
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
    /// Secrets that jobs are given
    Secret {
        #[command(subcommand)]
        command: Secret,
    },
    /// Config maps that jobs are given
    Configmap {
        #[command(subcommand)]
        command: Configmap,
    },
    /// Who did what
    Audit {
        #[command(subcommand)]
        command: Audit,
    },
    /// Start a platform on this machine (mlplatform-server serve)
    #[command(disable_help_flag = true, after_help = "Examples:\n  mlp serve --help")]
    Serve {
        /// As mlplatform-server takes them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// The script that completes this command in a shell
    #[command(after_help = "Examples:\n  mlp completion bash")]
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Auth {
    /// Ask for an access or a registration token, check it, and keep it in a profile
    ///
    /// At a terminal nothing of it is shown; else it is read from standard input. A registration token is redeemed.
    #[command(
        after_help = "Examples:\n  mlp auth login\n  mlp auth login --profile staging --url https://staging.example.com"
    )]
    Login,
    /// Remove the token of a profile from this machine
    #[command(after_help = "Examples:\n  mlp auth logout")]
    Logout,
    /// Every setting, and where it comes from
    #[command(after_help = "Examples:\n  mlp auth describe")]
    Describe,
    /// Whose token it is
    #[command(after_help = "Examples:\n  mlp auth whoami")]
    Whoami,
}

/// The role of a token.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TokenType {
    /// Uses clusters and its own token
    User,
    /// May manage tokens, clusters and secrets, too
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
    /// Make an access token: a registration token that is redeemed at once
    #[command(after_help = "Examples:\n  mlp token create ci --refresh-ttl 30d")]
    Create {
        /// Of the token, unlike any other
        name: String,
        /// Its role
        #[arg(long, value_enum, default_value_t = TokenType::User)]
        token_type: TokenType,
        /// How long it lives: 30d, 2h45m30s. Left out: for ever
        #[arg(long, value_name = "LIFETIME")]
        refresh_ttl: Option<Lifetime>,
    },
    /// The living access tokens
    #[command(after_help = "Examples:\n  mlp token list\n  mlp token list --json")]
    List,
    /// One of them
    #[command(after_help = "Examples:\n  mlp token show anna")]
    Show {
        /// Its name or id
        name: String,
    },
    /// Delete an access token: it ends at once
    #[command(after_help = "Examples:\n  mlp token delete anna")]
    Delete {
        /// Its name
        name: String,
    },
    /// Give an access token a new value
    ///
    /// Where it is the token of the profile that is used, the profile gets the new value.
    #[command(after_help = "Examples:\n  mlp token rotate anna --overlap 1h")]
    Rotate {
        /// Its name
        name: String,
        /// How long the old value works beside the new one. Left out: not at all
        #[arg(long, value_name = "LIFETIME")]
        overlap: Option<Lifetime>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Register {
    /// Make a registration token, which a colleague redeems once for an access token
    #[command(after_help = "Examples:\n  mlp register create kim --access-ttl 2h --refresh-ttl 30d")]
    Create {
        /// Of the access token
        name: String,
        /// How long the registration token can be redeemed: 2h45m30s, 1d
        #[arg(long, value_name = "LIFETIME")]
        access_ttl: Lifetime,
        /// How long the access token lives. Left out: for ever
        #[arg(long, value_name = "LIFETIME")]
        refresh_ttl: Option<Lifetime>,
        /// The access token's role
        #[arg(long, value_enum, default_value_t = TokenType::User)]
        token_type: TokenType,
    },
    /// Ask for a registration token and show the access token that it gives
    #[command(after_help = "Examples:\n  mlp register redeem < registration-token")]
    Redeem,
    /// The registration tokens, and what became of them
    #[command(after_help = "Examples:\n  mlp register list")]
    List,
    /// Withdraw one that nobody has redeemed
    #[command(after_help = "Examples:\n  mlp register withdraw tok_0123456789abcdef")]
    Withdraw {
        /// Its id, as the list shows it
        id: String,
    },
}

/// Which cluster.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct OfCluster {
    /// Its name or id; where there is only one, it need not be named
    #[arg(long, short, env = "MLP_CLUSTER", value_name = "CLUSTER")]
    pub(crate) cluster: Option<String>,
}

/// After how many minutes without a job.
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
    /// The clusters
    #[command(after_help = "Examples:\n  mlp cluster list")]
    List,
    /// One of them
    #[command(after_help = "Examples:\n  mlp cluster show -c local")]
    Show {
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// Start one that is suspended
    #[command(after_help = "Examples:\n  mlp cluster wake -c local")]
    Wake {
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// Say when an inactive cluster is suspended
    #[command(after_help = "Examples:\n  mlp cluster suspend-after 30m\n  mlp cluster suspend-after never")]
    SuspendAfter {
        /// Whole minutes (30m, 2h), or never
        after: After,
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// Say when an inactive cluster is deleted
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
    /// The program: it travels along with the job
    pub(crate) program: Option<PathBuf>,
    /// What the program is given, behind --
    #[arg(last = true)]
    pub(crate) arguments: Vec<String>,
    /// The job's manifest (- is standard input). Left out: a small job in Python
    #[arg(long, short, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// The job's name. Left out: that of the manifest, or a new one
    #[arg(long, short)]
    pub(crate) name: Option<String>,
    /// A setting of Spark; as often as need be
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub(crate) conf: Vec<(String, String)>,
    /// Show what it prints until it has ended, and end as it does
    #[arg(long, short)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) cluster: OfCluster,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum WaitUntil {
    /// It has ended
    Completed,
    /// Its program runs, or has run
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
    /// With --follow the exit code is 0 when the job ends well and 1 when it fails. Ctrl-C ends the command, not the job.
    #[command(
        after_help = "Examples:\n  mlp job submit pi.py --name pi --follow -- 10\n  mlp job submit --manifest job.yaml"
    )]
    Submit(Submit),
    /// The jobs of a cluster
    #[command(after_help = "Examples:\n  mlp job list")]
    List {
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// One of them
    #[command(after_help = "Examples:\n  mlp job show pi")]
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// What a job has printed; also of one that was deleted
    #[command(
        after_help = "Examples:\n  mlp job logs pi --tail 20\n  mlp job logs pi -f\n  mlp job logs pi --output pi.log"
    )]
    Logs {
        /// Its name
        name: String,
        /// Only so many lines at its end
        #[arg(long, value_name = "LINES")]
        tail: Option<u64>,
        /// Go on until the job has ended, through restarts of the platform, too
        #[arg(long, short)]
        follow: bool,
        /// Into a file; behind what is in it of this log already
        #[arg(long, short, value_name = "FILE", conflicts_with = "tail")]
        output: Option<PathBuf>,
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// Wait until a job has ended, or runs
    ///
    /// Exit codes: 0 it has ended well (or runs), 1 it has failed, 5 --timeout is over.
    #[command(after_help = "Examples:\n  mlp job wait pi\n  mlp job wait pi --until running --timeout 600")]
    Wait {
        /// Its name
        name: String,
        /// For what
        #[arg(long, value_enum, default_value_t = WaitUntil::Completed)]
        until: WaitUntil,
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// Why a job is where it is, and what to do
    #[command(after_help = "Examples:\n  mlp job explain pi")]
    Explain {
        /// Its name
        name: String,
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// The job as the operator has it, in JSON
    #[command(after_help = "Examples:\n  mlp job describe pi")]
    Describe {
        /// Its name
        name: String,
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// What happened to a job, or on the cluster
    #[command(after_help = "Examples:\n  mlp job events\n  mlp job events pi")]
    Events {
        /// The job's name. Left out: of all
        name: Option<String>,
        #[command(flatten)]
        cluster: OfCluster,
    },
    /// End a job and delete it; its log stays
    #[command(after_help = "Examples:\n  mlp job delete pi")]
    Delete {
        /// Its name
        name: String,
        #[command(flatten)]
        cluster: OfCluster,
    },
}

impl Job {
    /// The cluster, if it is named.
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
    /// A manifest to begin with: Spark's own example in Python
    #[command(after_help = "Examples:\n  mlp manifest default --name pi")]
    Default {
        /// The job's name. Left out: a new one
        #[arg(long, short)]
        name: Option<String>,
    },
    /// Whether the operator would take it; every rule that it breaks
    #[command(after_help = "Examples:\n  mlp manifest validate job.yaml")]
    Validate {
        /// The file; - is standard input
        file: PathBuf,
    },
    /// A manifest as it is read
    #[command(after_help = "Examples:\n  mlp manifest show job.yaml")]
    Show {
        /// The file; - is standard input
        file: PathBuf,
    },
}

/// Where an object is.
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
            #[doc = concat!("Make ", $one, " of a YAML file")]
            #[command(after_help = concat!("Examples:\n  mlp ", $noun, " create ", $noun, ".yaml"))]
            Create {
                /// As kubectl takes it
                file: PathBuf,
                #[command(flatten)]
                place: Place,
            },
            /// Their names
            #[command(after_help = concat!("Examples:\n  mlp ", $noun, " list"))]
            List {
                #[command(flatten)]
                place: Place,
            },
            /// One of them; values of secrets are never shown
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
            /// Where it is.
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

/// How an action ended.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Outcome {
    /// It was done
    Done,
    /// It was refused
    Refused,
    /// A registration token was redeemed again
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
    /// The newest rows, the newest first
    #[command(after_help = "Examples:\n  mlp audit list --since 1d\n  mlp audit list --token anna --outcome refused")]
    List {
        /// What a token did, and what was done to it: its name or id
        #[arg(long)]
        token: Option<String>,
        /// A method's name
        #[arg(long)]
        action: Option<String>,
        /// How it ended
        #[arg(long, value_enum)]
        outcome: Option<Outcome>,
        /// Not before: RFC 3339, or so long ago (1d, 2h)
        #[arg(long, value_name = "MOMENT")]
        since: Option<String>,
        /// Before
        #[arg(long, value_name = "MOMENT")]
        until: Option<String>,
        /// At most so many rows
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
}
