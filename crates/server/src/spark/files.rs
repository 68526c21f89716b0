//! Whether files are there for a job: asked with the rights of the user that it runs as, because the platform's own are
//! wider, and its answer is for whoever submits.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::job_user::JobUser;

/// A file system that hangs is told as what it is.
const LONGEST: Duration = Duration::from_secs(10);
/// Bytes of JSON for one file: `false,`.
const LONGEST_ANSWER: usize = 6;

#[derive(Serialize, Deserialize)]
struct Question {
    /// Whether programs can be run and folders searched, instead of being read.
    execute: bool,
    files: Vec<PathBuf>,
}

/// Which of the files a job can read.
pub(crate) async fn readable(program: &Path, user: Option<&JobUser>, files: Vec<PathBuf>) -> io::Result<Vec<bool>> {
    answers(program, user, Question { execute: false, files }).await
}

/// Which of the programs a job can run, and which of the folders it can pass through.
pub(crate) async fn executable(program: &Path, user: &JobUser, files: Vec<PathBuf>) -> io::Result<Vec<bool>> {
    answers(program, Some(user), Question { execute: true, files }).await
}

async fn answers(program: &Path, user: Option<&JobUser>, question: Question) -> io::Result<Vec<bool>> {
    let asked = question.files.len();
    let answer = timeout(LONGEST, ask(program, user, question)).await;
    let answer =
        answer.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "looking for the job's files takes too long"))??;
    if answer.len() == asked { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

async fn ask(program: &Path, user: Option<&JobUser>, question: Question) -> io::Result<Vec<bool>> {
    let Some(user) = user else {
        return tokio::task::spawn_blocking(move || look(&question)).await.map_err(io::Error::other);
    };
    let mut command = Command::new(program);
    command.arg("check-files").env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    user.apply(&mut command);
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&serde_json::to_vec(&question)?).await?;
        stdin.shutdown().await?;
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        // It runs as the jobs' user, so a job may answer in its place, and at any length.
        let longest = question.files.len().saturating_mul(LONGEST_ANSWER).saturating_add(LONGEST_ANSWER);
        stdout.take(u64::try_from(longest).unwrap_or(u64::MAX)).read_to_end(&mut answer).await?;
    }
    Ok(serde_json::from_slice(&answer)?)
}

fn look(question: &Question) -> Vec<bool> {
    let right = if question.execute { Access::EXEC_OK } else { Access::READ_OK };
    question.files.iter().map(|file| access(file, right).is_ok()).collect()
}

/// `mlplatform-server check-files`: a question comes over standard input and answers go to standard output, both as JSON.
///
/// # Errors
/// When that is not what comes, or nobody takes the answers.
pub fn answer() -> io::Result<()> {
    // The other processes of this user are jobs.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    let question: Question = serde_json::from_reader(io::stdin().lock())?;
    Ok(serde_json::to_writer(io::stdout().lock(), &look(&question))?)
}
