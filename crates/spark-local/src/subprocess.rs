//! A subprocess that answers a question with the rights of the user that jobs run as, because the platform's own are wider.
//!
//! A job may answer in its place, or keep it from answering: what is read of it and how long it is waited for have a bound.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Child,
    time::timeout,
};

use crate::{environment::inherited, job_user::JobUser};

/// How long an answer may take: a file system that hangs is an error of its own.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// Gives a program its input, and reads what it prints.
///
/// # Errors
/// When it cannot be started, prints more than `longest` bytes, takes longer than `limit` or fails.
pub(crate) async fn ask(
    mut command: Command,
    user: Option<&JobUser>,
    input: &[u8],
    longest: usize,
    limit: Duration,
) -> io::Result<Vec<u8>> {
    command.env_clear().envs(inherited()).current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    if let Some(user) = user {
        user.apply(&mut command);
    }
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
    let group = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {} seconds", limit.as_secs_f32()));
    let answer = timeout(limit, answer(&mut child, input, longest)).await.unwrap_or_else(|_| Err(late()));
    // Not waited for yet, so the number is still its own.
    if let (Err(_), Some(group), Some(_)) = (&answer, group, child.id()) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    answer
}

async fn answer(child: &mut Child, input: &[u8], longest: usize) -> io::Result<Vec<u8>> {
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input).await {
            // Whether it needed all of it shows in what it answers.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => drop(stdin),
        }
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let most = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(1);
        stdout.take(most).read_to_end(&mut answer).await?;
    }
    if answer.len() > longest {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("more than {longest} bytes were answered")));
    }
    let status = child.wait().await?;
    if status.success() { Ok(answer) } else { Err(io::Error::other(format!("{status}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(script: &str, limit: Duration) -> Result<Vec<u8>, String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        ask(command, None, b"question", 64, limit).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn an_answer_has_bounds() {
        assert_eq!(answered("cat; pwd", TIMEOUT).await.unwrap(), b"question/\n");
        let short = Duration::from_millis(200);
        for (script, limit, text) in [
            ("exec cat /dev/zero", TIMEOUT, "more than 64 bytes were answered"),
            ("printf %065d 1", TIMEOUT, "more than 64 bytes"),
            ("cat > /dev/null; exec sleep 600", short, "no answer in 0.2 seconds"),
            // Whoever it leaves behind holds its output.
            ("cat > /dev/null; sleep 600 & exit", short, "no answer in 0.2 seconds"),
            ("cat > /dev/null; exit 3", TIMEOUT, "exit status: 3"),
        ] {
            let problem = answered(script, limit).await.unwrap_err();
            assert!(problem.contains(text), "{script}: {problem}");
        }
    }

    #[tokio::test]
    async fn nothing_of_the_platform_s_environment_comes_along() {
        let answer = answered("test -z \"$CARGO$HOME$CARGO_MANIFEST_DIR\" && echo none", TIMEOUT).await;
        assert_eq!(answer.unwrap(), b"none\n");
    }
}
