//! `mlp`: the command-line interface.
//!
//! [`args`] defines the arguments, one file for each resource calls the same [`Client`](mlplatform_client::Client) as Python,
//! [`output`] prints tables or, with `--json`, JSON. [`Code`] lists the exit codes.

mod args;
mod audit;
mod auth;
mod cluster;
mod context;
mod failure;
mod job;
mod manifest;
mod object;
mod output;
mod prompt;
mod register;
mod token;

use std::{ffi::OsString, io::Write as _, path::Path};

use clap::{CommandFactory as _, FromArgMatches as _};

pub use crate::failure::Code;
use crate::{
    args::{Args, Command},
    context::Context,
    failure::Failure,
    output::Output,
};

/// Runs a command; the first argument is the program's name. Returns the exit code. Ctrl-C ends the process.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let parsed = command().try_get_matches_from(&arguments).and_then(|matches| Args::from_arg_matches(&matches));
    let args = match parsed {
        Ok(args) => args,
        Err(problem) => {
            // --help and --version go to standard output and are a success.
            let _ = problem.print();
            return if problem.use_stderr() { Code::Usage as u8 } else { Code::Success as u8 };
        }
    };
    let output = Output::new(args.global.json, args.global.quiet);
    let done = match args.command {
        Command::Serve { arguments: rest } => serve(arguments.first().map(Path::new), &rest),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut command(), "mlp", &mut output.stdout());
            Ok(())
        }
        command => in_runtime(Context::new(args.global, output), command),
    };
    let Err(failure) = done else { return Code::Success as u8 };
    output.failed(&failure);
    failure.code as u8
}

/// The definition of all arguments, for help, completion and the reference.
#[must_use]
pub fn command() -> clap::Command {
    Args::command()
}

fn in_runtime(context: Context, command: Command) -> Result<(), Failure> {
    // One thread is enough: requests are sequential.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("the command cannot start: {error}")))?;
    runtime.block_on(async {
        tokio::select! {
            // First, so that Ctrl-C is handled before a request is sent.
            biased;
            () = prompt::interrupted() => Err(Failure::interrupted()),
            done = run_command(&context, command) => done,
        }
    })
}

async fn run_command(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Auth { command } => auth::run(context, command).await,
        Command::Token { command } => token::run(context, command).await,
        Command::Register { command } => register::run(context, command).await,
        Command::Cluster { command } => cluster::run(context, command).await,
        Command::Job { command } => job::run(context, command).await,
        Command::Manifest { command } => manifest::run(context, command),
        Command::Secret { command } => object::secret(context, command).await,
        Command::Configmap { command } => object::configmap(context, command).await,
        Command::Audit { command } => audit::run(context, command).await,
        // Handled before the runtime is created.
        Command::Serve { .. } | Command::Completion { .. } => Ok(()),
    }
}

/// Runs `mlplatform-server serve`: the program installed next to this one, or one on the path.
fn serve(program: Option<&Path>, arguments: &[OsString]) -> Result<(), Failure> {
    const PROGRAM: &str = "mlplatform-server";
    let beside = program.and_then(|program| program.canonicalize().ok()).map(|program| program.with_file_name(PROGRAM));
    let mut command = std::process::Command::new(beside.filter(|path| path.exists()).unwrap_or_else(|| PROGRAM.into()));
    command.arg("serve").args(arguments);
    let _ = std::io::stdout().flush();
    #[cfg(unix)]
    let error = std::os::unix::process::CommandExt::exec(&mut command);
    #[cfg(not(unix))]
    let error = match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    };
    let problem = format!("{PROGRAM} cannot be started: {error}");
    Err(Failure::failed(problem).hint("install the platform's package: pip install 'mlplatform-client[local]'"))
}
