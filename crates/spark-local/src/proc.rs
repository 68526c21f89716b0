//! Processes as `/proc` shows them.

use std::{collections::HashSet, fs};

/// What `/proc/<pid>/stat` tells.
pub(crate) struct Stat {
    pub(crate) state: char,
    pub(crate) parent: u32,
    pub(crate) session: u32,
    pub(crate) threads: u32,
    pub(crate) started: u64,
}

impl Stat {
    /// One whose first thread has ended may go on in others.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X') && self.threads <= 1
    }
}

/// When a process was started, in the system's ticks since it booted. With the pid, it is one process until the next
/// boot.
pub(crate) fn started(pid: u32) -> Option<u64> {
    stat(pid).map(|stat| stat.started)
}

/// Names this boot of the system: pids begin anew with each.
pub(crate) fn boot() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

pub(crate) fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name before them may hold anything: brackets, and bytes that are no UTF-8.
    let fields = text.rsplit(|byte| *byte == b')').next()?;
    let fields: Vec<&str> = std::str::from_utf8(fields).ok()?.split_ascii_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        threads: fields.get(17)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// The users and groups of a process.
pub(crate) fn ids_of(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let lines = lines.filter(|(name, _)| matches!(*name, "Uid" | "Gid" | "Groups"));
    lines.flat_map(|(_, ids)| ids.split_ascii_whitespace()).filter_map(|id| id.parse().ok()).collect()
}

/// Those of all processes that live.
pub(crate) fn ids() -> HashSet<u32> {
    let living = pids().filter(|pid| stat(*pid).is_some_and(|stat| !stat.is_dead()));
    living.flat_map(ids_of).collect()
}

pub(crate) fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
