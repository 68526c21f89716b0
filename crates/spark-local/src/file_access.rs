//! Access checks of files for a job: made with the rights of the user that it runs as, because the platform's own are
//! wider, and the answer is for whoever submits.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};

use crate::{job_user::JobUser, subprocess};

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
    let answer: Vec<bool> = match user {
        None => tokio::task::spawn_blocking(move || look(&question)).await.map_err(io::Error::other)?,
        Some(user) => {
            let mut command = Command::new(program);
            command.arg("check-files");
            let longest = asked.saturating_mul(LONGEST_ANSWER).saturating_add(LONGEST_ANSWER);
            let question = serde_json::to_vec(&question)?;
            let answer = subprocess::ask(command, Some(user), &question, longest, subprocess::TIMEOUT).await?;
            serde_json::from_slice(&answer)?
        }
    };
    if answer.len() == asked { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn look(question: &Question) -> Vec<bool> {
    let right = if question.execute { Access::EXEC_OK } else { Access::READ_OK };
    question.files.iter().map(|file| access(file, right).is_ok()).collect()
}

/// `mlplatform-server check-files`: a question comes over standard input and answers go to standard output, both as JSON.
///
/// # Errors
/// When that is not what comes, or nobody takes the answers.
pub fn check_files_for_jobs() -> io::Result<()> {
    // The other processes of this user are jobs.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    let question: Question = serde_json::from_reader(io::stdin().lock())?;
    Ok(serde_json::to_writer(io::stdout().lock(), &look(&question))?)
}
