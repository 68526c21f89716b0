//! The processes of a run: how they are told from all others, and how they are ended.
//!
//! A run's first process is started with [`MARK`] in its environment, which every descendant inherits, and in a session
//! of its own. Spark's Python workers make process groups of their own, and a program may make a session, but what a
//! process was started with cannot be taken back: so the mark or the session tells them all.
//!
//! Linux tells both in `/proc`; where there is none, the process group of the first process has to do.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// The variable that names the run.
pub(crate) const MARK: &str = "MLPLATFORM_RUN";
/// Between two looks whether they have ended.
const LOOK: Duration = Duration::from_millis(20);
/// A process that SIGKILL does not end hangs in the kernel; waiting longer helps nobody.
const HOPELESS: Duration = Duration::from_secs(5);

/// Who belongs to a run.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    /// The value of [`MARK`].
    pub(crate) mark: String,
    /// The session's leader: the run's parent, which is spared. `None`: nobody knows it any more.
    pub(crate) session: Option<u32>,
}

/// When a process was started, in the system's ticks since it booted. With the pid, it is one process for ever.
pub(crate) fn started(pid: u32) -> Option<u64> {
    stat(pid)?.get(19)?.parse().ok()
}

/// The fields of `/proc/<pid>/stat` behind the name, which may hold anything: the state is the first.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_ascii_whitespace().map(str::to_owned).collect())
}

impl Family {
    /// Those that are there now, zombies and the session's leader apart.
    pub(crate) fn members(&self) -> Vec<u32> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| Some(*pid) != self.session && *pid != std::process::id() && self.has(*pid)).collect()
    }

    fn has(&self, pid: u32) -> bool {
        let Some(stat) = stat(pid) else { return false };
        if matches!(stat.first().map(String::as_str), Some("Z" | "X")) {
            return false;
        }
        let session = stat.get(3).and_then(|session| session.parse::<u32>().ok());
        (session.is_some() && session == self.session) || is_marked(pid, &self.mark)
    }

    /// Ends them: asks first, and after the patience does not ask any more. Blocks until none is left; gives how many
    /// are left all the same.
    pub(crate) fn end(&self, patience: Duration) -> usize {
        let began = Instant::now();
        let mut asked = Vec::new();
        loop {
            let members = self.members();
            if members.is_empty() || began.elapsed() > patience + HOPELESS {
                return members.len();
            }
            let force = began.elapsed() >= patience;
            for pid in members {
                if force {
                    send(pid, Signal::KILL);
                } else if !asked.contains(&pid) {
                    asked.push(pid);
                    send(pid, Signal::TERM);
                }
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn is_marked(pid: u32, mark: &str) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    let wanted = format!("{MARK}={mark}");
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = to_pid(pid) {
        // It may have ended since it was seen.
        let _ = kill_process(pid, signal);
    }
}

/// For systems that have no `/proc`.
pub(crate) fn end_group(leader: u32) {
    if !Path::new("/proc/self/stat").exists()
        && let Some(leader) = to_pid(leader)
    {
        let _ = kill_process_group(leader, Signal::KILL);
    }
}

fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_family_is_found_and_ended_whoever_left_the_group() {
        let mark = format!("test-{}", std::process::id());
        let family = Family { mark: mark.clone(), session: None };
        // One that ignores SIGTERM, and one in a session of its own.
        let script = "trap '' TERM; setsid sleep 60 & sleep 60 & wait; sleep 60";
        let mut child = Command::new("sh").args(["-c", script]).env(MARK, &mark).spawn().unwrap();
        while family.members().len() < 3 {
            std::thread::sleep(LOOK);
        }
        let reaper = std::thread::spawn(move || child.wait().unwrap());
        assert_eq!(family.end(Duration::from_millis(100)), 0);
        assert!(!reaper.join().unwrap().success());
        assert_eq!(family.members(), Vec::<u32>::new());
    }

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = started(std::process::id()).unwrap();
        assert_eq!(started(std::process::id()), Some(own));
        assert_ne!(started(1), Some(own));
        assert_eq!(started(u32::MAX), None);
    }
}
