//! `mlplatform-server`: flags, logs and signals around the library.

mod audit_command;
mod cli;
mod database_args;
mod stop;

use std::{
    io::{self, IsTerminal, Write},
    net::TcpListener,
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches};
use mlplatform_api::proxies::Proxies;
use mlplatform_console::site::PublicUrl;
use mlplatform_platform::{clock::Clock, clusters::form::Memory, text::harmless};
use mlplatform_protocol::ClusterInfo;
use mlplatform_server::{
    backup::{
        make::backup,
        restore::{Restored, restore},
    },
    commands::{Initialised, admin_token, cluster_add, cluster_check, cluster_list, init, sign_in_link},
    copy::copy,
    listen::bind,
    server::{Config, Ready, Server},
    start::StartError,
    storage::Storage,
};
use mlplatform_spark_local::{check_files_for_jobs, run_job};
use mlplatform_store::Copied;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    cli::{Audit, Cli, Cluster, Command, LogFormat, Serve},
    database_args::refuse_visible_password,
};

/// Nothing was served: the same as for a wrong flag, since the remedy is mostly another one.
const NOT_STARTED: u8 = 2;

/// What PostgreSQL has in place of `backup` and `restore`.
const PG_DUMP: &str = "use pg_dump and pg_restore, and keep copies of the files audit-key and secrets-key elsewhere";

fn main() -> ExitCode {
    // What is private says so where it is made; what a job has to read must not depend on who started the platform.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    log_to_stderr(cli.log.into(), cli.log_format);
    match refuse_visible_password(&matches).and_then(|()| run(cli.command)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(io::stderr(), "mlplatform-server: {error}");
            ExitCode::from(NOT_STARTED)
        }
    }
}

/// Gives the exit code.
fn run(command: Command) -> Result<u8, StartError> {
    if matches!(command, Command::Serve(_) | Command::RunJob { .. }) {
        leave_no_core();
    }
    // Before anything is set up: of these there may be many, and each is small.
    if let Command::RunJob { folder } = &command {
        let done = run_job(folder).map_err(|error| StartError::System("the run could not be looked after", error));
        return done.map(|()| 0);
    }
    if let Command::CheckFiles = &command {
        let done = check_files_for_jobs().map_err(|error| StartError::System("files could not be looked for", error));
        return done.map(|()| 0);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| StartError::System("the runtime cannot be started", error))?;
    let done = match command {
        Command::RunJob { .. } | Command::CheckFiles => Ok(()),
        Command::Serve(arguments) => runtime.block_on(serve(*arguments)),
        Command::Audit(Audit::List(arguments)) => {
            runtime.block_on(audit_command::list(&arguments.directory.storage()?, &arguments))
        }
        Command::Audit(Audit::Verify(arguments)) => return runtime.block_on(audit_command::verify(&arguments)),
        Command::Open(arguments) => runtime.block_on(async {
            let url = arguments.url.as_deref().map(PublicUrl::new).transpose()?;
            let (storage, file) = (arguments.directory.storage()?, arguments.token_file.as_deref());
            print(&format!("{}\n", sign_in_link(&storage, Clock::default(), url.as_ref(), file).await?))
        }),
        Command::AdminToken(arguments) => runtime.block_on(async {
            let storage = arguments.directory.storage()?;
            let file = admin_token(&storage, Clock::default(), arguments.out.as_deref()).await?;
            print(&format!("{}\n", file.display()))
        }),
        Command::Init(arguments) => runtime.block_on(async {
            let storage = arguments.directory.storage()?;
            print(&init_summary(&init(&storage, Clock::default(), arguments.out.as_deref()).await?))
        }),
        Command::Copy(directory) => {
            return runtime.block_on(async {
                let copy = copy(&directory.storage()?).await?;
                let (code, text) = audit_command::outcome(&copy.proof);
                print(&copy_summary(&copy.copied, &text))?;
                Ok(code)
            });
        }
        Command::Backup(arguments) => runtime.block_on(async {
            let storage = arguments.directory.storage()?;
            let dir = storage.sqlite_only("backup", PG_DUMP)?;
            let made = backup(dir, &arguments.folder, !arguments.without_secrets_key, Clock::default()).await?;
            print(&format!("{}\n", made.path.display()))
        }),
        Command::Restore(arguments) => runtime.block_on(async {
            let database = arguments.database.database()?;
            let storage = Storage { data_dir: arguments.data_dir, database };
            let dir = storage.sqlite_only("restore", PG_DUMP)?;
            print(&restore_summary(&restore(&arguments.folder, dir, Clock::default()).await?))
        }),
        Command::Cluster(Cluster::Add(add)) => runtime.block_on(async {
            let (storage, settings) = (add.directory.storage()?, add.kubernetes.settings()?);
            let made = cluster_add(&storage, Clock::default(), &add.name, add.capacity(), settings).await?;
            print(&format!("{}\n", made.id))
        }),
        Command::Cluster(Cluster::Check(arguments)) => {
            return runtime.block_on(check_cluster(&arguments.directory.storage()?, &arguments.name));
        }
        Command::Cluster(Cluster::List(directory)) => {
            runtime.block_on(async { print(&table(&cluster_list(&directory.storage()?, Clock::default()).await?)) })
        }
    };
    done.map(|()| 0)
}

/// Keys, tokens and the values of secrets are in this process's memory: no crash writes it to a disk, and no other process
/// of the same user reads it. The limit holds for jobs as well, whose environment has secrets in it; that this process
/// cannot be read ends for them when their program starts. Where the system knows neither, nothing is lost.
#[cfg(target_os = "linux")]
fn leave_no_core() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) =
        setrlimit(Resource::Core, none).and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable))
    {
        tracing::warn!("core dumps cannot be turned off: {error}");
    }
}

#[cfg(not(target_os = "linux"))]
fn leave_no_core() {}

/// The result of a command that has done its work.
fn print(text: &str) -> Result<(), StartError> {
    let printed = io::stdout().lock().write_all(text.as_bytes());
    printed.map_err(|error| StartError::System("it was done, but the result cannot be printed", error))
}

/// Where the things are that every server needs.
fn init_summary(made: &Initialised) -> String {
    let keys = made.keys_dir.display();
    let token = match &made.admin_token {
        Some(file) => format!("the first Administrator token: {}", file.display()),
        None => "an Administrator token was made before; for a new one: mlplatform-server admin-token".to_owned(),
    };
    format!(
        "the database is ready to be served\nthe keys that every server needs: audit-key and secrets-key in {keys}\n{token}\n"
    )
}

/// What whoever copies compares with, and what comes next.
fn copy_summary(copied: &Copied, proof: &str) -> String {
    let width = copied.tables.iter().map(|table| table.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for table in &copied.tables {
        text.push_str(&format!("{:width$}  {} rows\n", table.name, table.rows));
    }
    let done = if copied.was_there { "the database held this copy already" } else { "copied, read back and compared" };
    text + &format!(
        "{done}\n{proof}\nServe it with --database-url-file and the keys of this data directory, which holds the platform as \
         before: do not serve that any more, or two platforms know the same tokens.\n"
    )
}

/// What whoever restores has to know.
fn restore_summary(restored: &Restored) -> String {
    let path = restored.path.display();
    let mut text = format!(
        "restored to {path}: {} audit rows, each proved by the key\n\
         Nothing that happened after {} is in it. A token that was deleted or rotated since is good again with its old value, \
         and a registration token that was redeemed since can be redeemed again: delete or rotate these before anybody else \
         is served. Sessions have ended. Jobs that were not over have failed: {}. Buckets, logs and uploads are not part of a \
         backup.\n",
        restored.rows,
        restored.made_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        restored.jobs
    );
    if !restored.has_secrets_key {
        text.push_str("The backup has no secrets-key: put the file there before you serve, with mode 0600.\n");
    }
    text + &format!(
        "Administrators' tokens are good as before; if none is at hand: mlplatform-server admin-token --data-dir {path}\n"
    )
}

/// A table for people; gives the exit code.
async fn check_cluster(storage: &Storage, name: &str) -> Result<u8, StartError> {
    let Some(findings) = cluster_check(storage, Clock::default(), name).await? else {
        print(&format!("the cluster '{name}' is this machine\n"))?;
        return Ok(0);
    };
    let word = |works| match works {
        Some(true) => "ok",
        Some(false) => "missing",
        None => "?",
    };
    let lines =
        findings.iter().map(|one| format!("{:<18} {:<8} {}\n", one.subject, word(one.works), harmless(&one.text)));
    print(&lines.collect::<String>())?;
    Ok(u8::from(findings.iter().any(|one| one.works == Some(false))))
}

/// For people, and for `awk`: no field holds a space.
fn table(clusters: &[ClusterInfo]) -> String {
    let heading = ["NAME", "STATUS", "CORES", "MEMORY", "BUCKET", "ID"].map(str::to_owned);
    let rows = clusters.iter().map(|cluster| {
        [
            cluster.name.clone(),
            cluster.status.name().to_owned(),
            cluster.max_cores.unwrap_or_default().to_string(),
            Memory(cluster.max_memory.unwrap_or_default()).to_string(),
            cluster.s3_bucket_name.clone().unwrap_or_default(),
            cluster.id.clone(),
        ]
    });
    let rows: Vec<_> = std::iter::once(heading).chain(rows).collect();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or_default();
    let line = |row: &[String; 6]| {
        let cells = row.iter().enumerate().map(|(column, cell)| format!("{cell:<0$}", width(column)));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

async fn serve(arguments: Serve) -> Result<(), StartError> {
    let tls = arguments.tls();
    let listener = bind(&arguments.listen, tls.is_some())?;
    // Any address: that this is one of this machine alone, the server says itself.
    let metrics = arguments.metrics_listen.as_deref().map(|address| bind(address, true)).transpose()?;
    let connect = connect(&arguments, tls.is_some())?;
    let (limits, storage) = (arguments.limits(), arguments.storage()?);
    let config = Config {
        tls,
        limits,
        clock: clock(&arguments),
        proxies: Proxies(arguments.trusted_proxies.clone()),
        public_url: arguments.public_url.as_deref().map(PublicUrl::new).transpose()?,
        spark: arguments.spark()?,
        abandon_jobs: arguments.abandon_jobs(),
        database: storage.database,
        ..Config::new(storage.data_dir)
    };
    // Before the store is touched: a signal while the server starts then ends it as cleanly as one later.
    let stop = stop::listen(arguments.exit_on_stdin_eof)?;
    let server = Server::start(listener, config).await?;
    let server = match metrics {
        Some(metrics) => server.with_metrics(metrics)?,
        None => server,
    };
    let server = match connect {
        Some(connect) => server.with_connect(connect)?,
        None => server,
    };
    announce(server.ready());
    server.run(stop).await
}

/// The listener of Spark Connect. Where nobody has said where, it is no reason not to start that another platform of this
/// machine has taken the place.
fn connect(arguments: &Serve, tls: bool) -> Result<Option<TcpListener>, StartError> {
    let Some((address, given)) = arguments.connect() else { return Ok(None) };
    match bind(address, tls) {
        Err(error) if !given => {
            tracing::warn!("Spark Connect is not served: {error}, as --connect-listen");
            Ok(None)
        }
        bound => bound.map(Some),
    }
}

#[cfg(not(feature = "test-clock"))]
fn clock(_: &Serve) -> Clock {
    Clock::default()
}

#[cfg(feature = "test-clock")]
fn clock(arguments: &Serve) -> Clock {
    arguments.clock_offset_file.clone().map_or_else(Clock::default, |file| {
        tracing::warn!("a build for tests, whose clock goes by {}", file.display());
        Clock::moved_by(file)
    })
}

/// The one line on stdout. A server whose starter does not listen serves all the same.
fn announce(ready: &Ready) {
    tracing::info!("listening on {}", ready.url);
    let line = serde_json::to_string(ready).map_err(io::Error::from);
    let mut stdout = io::stdout().lock();
    if let Err(error) = line.and_then(|line| writeln!(stdout, "{line}")).and_then(|()| stdout.flush()) {
        tracing::warn!("the ready line could not be written: {error}");
    }
}

/// Our own events at the level asked for, those of libraries only from warnings up: at their most talkative level some
/// of them write headers, and headers hold tokens.
fn log_to_stderr(level: LevelFilter, format: LogFormat) {
    let libraries = level.min(LevelFilter::WARN);
    let filter = Targets::new().with_target("mlplatform", level).with_default(libraries);
    let ansi = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
    let subscriber = tracing_subscriber::registry().with(filter);
    let _ = match format {
        LogFormat::Text => subscriber.with(lines.with_ansi(ansi)).try_init(),
        // One object a line, its own fields at the top: what it says of the request that it belongs to is in "span".
        LogFormat::Json => subscriber.with(lines.json().flatten_event(true).with_span_list(false)).try_init(),
    };
    // A panic is a bug, and its message may hold anything: it goes through the same door as the rest.
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let message = harmless(info.payload_as_str().unwrap_or("no message"));
        tracing::error!("panic at {place}: {message}");
    }));
}
