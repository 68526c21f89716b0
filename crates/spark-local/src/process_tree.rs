//! The process tree of a run: how its processes are told from all others, and how they are ended.
//!
//! They are the members of the run's cgroup, where there is one, and everywhere the descendants of the run's parent: it
//! is a subreaper, so that what loses its own parent becomes its child, and no process can leave the tree. What a job
//! can change (its session, its environment) decides only when the parent was killed, and the tree with it, where there is
//! no cgroup: then those are searched that still have the run's id in their environment, or its session.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Read},
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal},
};

use crate::{
    cgroup::Cgroup,
    proc::{Stat, boot, ids_of, pids, started, stat},
    run_folder::{RunFolder, StartRecord},
};

/// The variable that names the run.
pub(crate) const RUN_VARIABLE: &str = "MLPLATFORM_RUN";
/// How long a parent whose run is to end leaves the job to end by itself.
pub(crate) const GRACE_PERIOD: Duration = Duration::from_secs(3);
/// Between two looks whether they have ended.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// What a parent that was asked to end its run may take beyond the grace period, before the run is ended without it.
const SLACK: Duration = Duration::from_secs(1);
/// A process that SIGKILL does not end hangs in the kernel; waiting longer helps nobody.
pub(crate) const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// What is read of an environment: as much as a job is given, and more.
const LONGEST_ENVIRONMENT: u64 = 2 << 20;
/// So often those are stopped that were born while the others were. Each round that finds some leaves fewer processes
/// that could fork, because who is stopped keeps its place among those that a user may have.
const ROUNDS: usize = 200;

/// The processes of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProcessTree {
    /// The run's parent: it is spared, its descendants are not.
    pub(crate) root: Option<ProcessId>,
    pub(crate) cgroup: Option<Cgroup>,
    /// For a run whose parent was killed, or will be while we look.
    pub(crate) orphans: Option<Orphans>,
}

/// What processes of a run whose parent was killed are known by.
#[derive(Clone, Debug)]
pub(crate) struct Orphans {
    /// The value of [`RUN_VARIABLE`].
    pub(crate) run_id: String,
    /// The parent's session.
    pub(crate) session: Option<u32>,
    /// The user that is the run's alone.
    pub(crate) user: Option<u32>,
}

/// A process: its number together with its start, so that it is no other that got the number later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProcessId {
    pid: u32,
    started: u64,
}

impl ProcessId {
    pub(crate) fn of(pid: u32) -> Option<Self> {
        started(pid).map(|started| Self { pid, started })
    }
}

impl ProcessTree {
    /// All that run as a user who is the run's alone.
    pub(crate) fn of_user(user: u32, run_id: &str) -> Self {
        let orphans = Orphans { run_id: run_id.to_owned(), session: None, user: Some(user) };
        Self { orphans: Some(orphans), ..Self::default() }
    }

    /// Whether any is left; zombies are not.
    pub(crate) fn is_empty(&self) -> bool {
        self.cgroup.as_ref().is_none_or(Cgroup::is_empty) && self.members().is_empty()
    }

    /// Those that are there now, zombies and the root apart.
    fn members(&self) -> Vec<ProcessId> {
        let all: HashMap<u32, Stat> = pids().filter_map(|pid| Some((pid, stat(pid)?))).collect();
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for (pid, stat) in &all {
            children.entry(stat.parent).or_default().push(*pid);
        }
        let mut found: HashSet<u32> = self.cgroup.iter().flat_map(Cgroup::members).collect();
        // Its number may be another's by now.
        let same = |root: &ProcessId| all.get(&root.pid).is_some_and(|stat| stat.started == root.started);
        let root = self.root.filter(same).map(|root| root.pid);
        if root.is_none() && self.cgroup.is_none() {
            found.extend(all.iter().filter(|(pid, stat)| self.is_orphan(**pid, stat)).map(|(pid, _)| *pid));
        }
        // From each of them and from the root downwards.
        let mut next: Vec<u32> = found.iter().copied().chain(root).collect();
        while let Some(pid) = next.pop() {
            for child in children.remove(&pid).into_iter().flatten() {
                found.insert(child);
                next.push(child);
            }
        }
        let spared = [root.unwrap_or(0), std::process::id()];
        let living = |pid: &u32| all.get(pid).filter(|stat| !stat.is_dead());
        found.retain(|pid| !spared.contains(pid));
        found.iter().filter_map(|pid| Some(ProcessId { pid: *pid, started: living(pid)?.started })).collect()
    }

    fn is_orphan(&self, pid: u32, stat: &Stat) -> bool {
        self.orphans.as_ref().is_some_and(|orphans| {
            orphans.session.is_some_and(|session| session == stat.session && session != pid)
                || orphans.user.is_some_and(|user| ids_of(pid).contains(&user))
                || has_run_variable(pid, &orphans.run_id)
        })
    }

    /// Asks them to end.
    pub(crate) fn ask(&self) {
        for member in self.members() {
            send(member, Signal::TERM);
        }
    }

    /// SIGKILL for those there are. They are stopped before: who is stopped cannot fork any more.
    pub(crate) fn kill(&self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
        let mut stopped = HashSet::new();
        for _ in 0..ROUNDS {
            let new: Vec<ProcessId> = self.members().into_iter().filter(|member| !stopped.contains(member)).collect();
            if new.is_empty() {
                break;
            }
            for member in new {
                send(member, Signal::STOP);
                stopped.insert(member);
            }
        }
        for member in stopped {
            send(member, Signal::KILL);
        }
    }

    /// Blocks until none is left, or it is hopeless; gives whether none is left.
    fn end(&self, until: impl Fn() -> bool) -> bool {
        let began = Instant::now();
        while began.elapsed() < KILL_TIMEOUT {
            if until() && self.is_empty() {
                return true;
            }
            self.kill();
            std::thread::sleep(POLL_INTERVAL);
        }
        false
    }
}

/// Ends a run: asks its parent to do so, and does it itself if the parent does not, or there is no time. Blocks until
/// the run's lock is free and no process is left; gives whether that is so.
pub(crate) fn end_run(run: &RunFolder, run_id: &str, grace: Duration) -> bool {
    let began = Instant::now();
    let mut asked = false;
    while run.is_locked() && began.elapsed() < grace + SLACK && !grace.is_zero() {
        if !asked && let Some(parent) = run.began().as_ref().and_then(parent) {
            send(parent, Signal::TERM);
            asked = true;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    let known = run.began();
    let parent = known.as_ref().and_then(parent);
    let tree = tree_of(known.as_ref(), parent, run_id);
    let mut gone = tree.end(|| {
        // A job without a user of its own may have stopped it.
        parent.iter().for_each(|parent| send(*parent, Signal::CONT));
        !run.is_locked()
    });
    if !gone
        && run.is_locked()
        && let Some(parent) = parent
    {
        // It hangs: without it nothing is lost but how the job ended.
        send(parent, Signal::KILL);
        gone = tree_of(known.as_ref(), None, run_id).end(|| !run.is_locked());
    }
    if let (true, Some(cgroup)) = (gone, &tree.cgroup) {
        cgroup.remove();
    }
    gone
}

/// SIGKILL for what a run has started, and not for its parent, which then tells the end.
pub(crate) fn kill_run(run: &RunFolder, run_id: &str) {
    let known = run.began();
    tree_of(known.as_ref(), known.as_ref().and_then(parent), run_id).kill();
}

fn tree_of(began: Option<&StartRecord>, parent: Option<ProcessId>, run_id: &str) -> ProcessTree {
    // After a boot its numbers are those of others.
    let began = began.filter(|began| began.boot.is_none() || began.boot == boot());
    let session = began.map(|began| began.pid);
    // Somebody else's, if the pid is.
    let session = session.filter(|pid| parent.is_some() || started(*pid).is_none());
    ProcessTree {
        root: parent,
        cgroup: began.and_then(|began| Cgroup::at(began.cgroup.as_deref()?)),
        orphans: Some(Orphans { run_id: run_id.to_owned(), session, user: None }),
    }
}

/// The run's parent, if it lives.
fn parent(began: &StartRecord) -> Option<ProcessId> {
    let started = started(began.pid)?;
    let same = began.started == Some(started) && (began.boot.is_none() || began.boot == boot());
    same.then_some(ProcessId { pid: began.pid, started })
}

fn has_run_variable(pid: u32, run_id: &str) -> bool {
    let wanted = format!("{RUN_VARIABLE}={run_id}");
    environment(pid).is_ok_and(|all| all.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()))
}

/// A process can say that its environment is any part of its memory, however large.
fn environment(pid: u32) -> io::Result<Vec<u8>> {
    let mut environment = Vec::new();
    File::open(format!("/proc/{pid}/environ"))?.take(LONGEST_ENVIRONMENT).read_to_end(&mut environment)?;
    Ok(environment)
}

/// To that process, and to no other that got its pid since it was seen.
fn send(member: ProcessId, signal: Signal) {
    let Some(pid) = i32::try_from(member.pid).ok().and_then(Pid::from_raw) else { return };
    let file = pidfd_open(pid, PidfdFlags::empty());
    if started(member.pid) != Some(member.started) {
        return;
    }
    // It may have ended since then.
    let _: io::Result<()> = match file {
        Ok(file) => pidfd_send_signal(file, signal).map_err(Into::into),
        // Of this kernel, which knows no such file; that it has ended, or that no file is left, is no reason to guess.
        Err(Errno::NOSYS) => kill_process(pid, signal).map_err(Into::into),
        Err(error) => Err(error.into()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, process::Command};

    fn orphans(run_id: &str) -> ProcessTree {
        ProcessTree {
            orphans: Some(Orphans { run_id: run_id.to_owned(), session: None, user: None }),
            ..ProcessTree::default()
        }
    }

    #[test]
    fn a_process_may_have_any_name() {
        use std::os::unix::{ffi::OsStrExt, fs::symlink};
        let folder = tempfile::tempdir().unwrap();
        for name in [&b"\xff\xfe"[..], b") S 1 (", b"a\nb"] {
            let program = folder.path().join(std::ffi::OsStr::from_bytes(name));
            symlink("/bin/sleep", &program).unwrap();
            let mut child = Command::new(&program).arg("60").spawn().unwrap();
            let found = stat(child.id()).map(|stat| stat.parent);
            child.kill().unwrap();
            child.wait().unwrap();
            assert_eq!(found, Some(std::process::id()), "{name:?}");
        }
    }

    #[test]
    fn what_a_killed_parent_leaves_is_found_and_ended_whoever_left_the_group() {
        let run_id = format!("test-{}", std::process::id());
        let tree = orphans(&run_id);
        // One that ignores SIGTERM, one in a session of its own, and one without the id, whose parent has it.
        let script = "trap '' TERM; setsid sleep 60 & env -i sleep 60 & sleep 60 & wait; sleep 60";
        let mut child = Command::new("sh").args(["-c", script]).env(RUN_VARIABLE, &run_id).spawn().unwrap();
        while tree.members().len() < 4 {
            std::thread::sleep(POLL_INTERVAL);
        }
        let reaper = std::thread::spawn(move || child.wait().unwrap());
        assert!(tree.end(|| true));
        assert!(!reaper.join().unwrap().success());
        assert!(tree.is_empty());
    }

    #[test]
    fn of_an_environment_so_much_is_read() {
        let script = "ulimit -s unlimited; long=$(printf %0120000d 1); n=0; \
                      while [ $n -lt 20 ]; do n=$((n+1)); export V$n=$long; done; exec sleep 60";
        let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let name = format!("/proc/{}/comm", child.id());
        while fs::read_to_string(&name).unwrap().trim() != "sleep" {
            std::thread::sleep(POLL_INTERVAL);
        }
        let read = environment(child.id()).map(|text| text.len() as u64);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(read.unwrap(), LONGEST_ENVIRONMENT);
    }

    #[test]
    fn a_root_whose_number_is_another_s_by_now_is_no_root() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let root = ProcessId::of(std::process::id()).unwrap();
        let tree = |root| ProcessTree { root: Some(root), ..ProcessTree::default() };
        let found = |tree: ProcessTree| tree.members().iter().any(|member| member.pid == child.id());
        assert!(found(tree(root)));
        assert!(!found(tree(ProcessId { started: root.started + 1, ..root })));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_is_found_and_ended() {
        let program = "import ctypes, threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n\
                       ctypes.CDLL(None).pthread_exit(None)";
        let mut shell = Command::new("sh").args(["-c", "python3 -c \"$0\" & wait", program]).spawn().unwrap();
        let tree = ProcessTree { root: ProcessId::of(shell.id()), ..ProcessTree::default() };
        let looks_dead = || {
            tree.members()
                .iter()
                .any(|member| stat(member.pid).is_some_and(|stat| stat.state == 'Z' && stat.threads == 2))
        };
        while !looks_dead() {
            std::thread::sleep(POLL_INTERVAL);
        }
        tree.kill();
        shell.wait().unwrap();
        assert!(tree.is_empty());
    }

    #[test]
    fn those_of_a_user_are_found() {
        let (own, all) = (rustix::process::geteuid().as_raw(), crate::proc::ids());
        assert!(all.contains(&own) && !all.contains(&3_200_000_000));
        assert!(!ProcessTree::of_user(rustix::process::getegid().as_raw(), "none").members().is_empty());
        assert!(ProcessTree::of_user(3_200_000_000, "none").is_empty());
    }

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = started(std::process::id()).unwrap();
        assert_eq!(started(std::process::id()), Some(own));
        assert_ne!(started(1), Some(own));
        assert_eq!(started(u32::MAX), None);
        assert!(boot().is_some());
    }
}
