//! Whether files are there for a job: asked with the rights of the user that it runs as, because the platform's own are
//! wider, and its answer is for whoever submits.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::fs::{Access, access};

use super::{helper, job_user::JobUser};

/// Bytes of JSON for one file: `false,`.
const LONGEST_ANSWER: usize = 6;

/// Which of the files a job can read.
pub(crate) async fn readable(program: &Path, user: Option<&JobUser>, files: Vec<PathBuf>) -> io::Result<Vec<bool>> {
    let asked = files.len();
    let answer: Vec<bool> = match user {
        None => tokio::task::spawn_blocking(move || look(&files)).await.map_err(io::Error::other)?,
        Some(user) => {
            let mut command = Command::new(program);
            command.arg("check-files");
            let longest = asked.saturating_mul(LONGEST_ANSWER).saturating_add(LONGEST_ANSWER);
            let files = serde_json::to_vec(&files)?;
            let answer = helper::ask(command, Some(user), &files, longest, helper::PATIENCE).await?;
            serde_json::from_slice(&answer)?
        }
    };
    if answer.len() == asked { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn look(files: &[PathBuf]) -> Vec<bool> {
    files.iter().map(|file| access(file, Access::READ_OK).is_ok()).collect()
}

/// `mlplatform-server check-files`: paths come over standard input and answers go to standard output, both as JSON.
///
/// # Errors
/// When that is not what comes, or nobody takes the answers.
pub fn answer() -> io::Result<()> {
    // The other processes of this user are jobs.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    let files: Vec<PathBuf> = serde_json::from_reader(io::stdin().lock())?;
    Ok(serde_json::to_writer(io::stdout().lock(), &look(&files))?)
}
