//! What this machine has and uses, as the kernel counts it.

use std::{fs, io, time::Duration};

use mlplatform_protocol::clusters::NodeUsage;

/// Long enough for some ticks of the kernel's clock (a hundredth of a second each) on every core.
const MEASURED: Duration = Duration::from_millis(250);

/// Ticks since the machine was started, of all cores together.
#[derive(Clone, Copy)]
struct Ticks {
    idle: u64,
    all: u64,
}

/// Measures for a quarter of a second: the kernel counts processor time, not load.
pub(crate) async fn usage() -> io::Result<NodeUsage> {
    let before = ticks(&fs::read_to_string("/proc/stat")?);
    tokio::time::sleep(MEASURED).await;
    let stat = fs::read_to_string("/proc/stat")?;
    let after = ticks(&stat);
    let memory = fs::read_to_string("/proc/meminfo")?;
    let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "/proc has another format than proc(5) says");
    let (before, after) = before.zip(after).ok_or_else(unreadable)?;
    let total = bytes(&memory, "MemTotal:").ok_or_else(unreadable)?;
    let available = bytes(&memory, "MemAvailable:").ok_or_else(unreadable)?;
    let name = fs::read_to_string("/proc/sys/kernel/hostname")?;
    #[allow(clippy::cast_precision_loss, reason = "no machine has that many cores")]
    let cores = cores(&stat) as f64;
    Ok(NodeUsage {
        name: name.trim().to_owned(),
        cpu_usage: busy(before, after) * cores,
        cpu_total: cores,
        memory_usage: total.saturating_sub(available),
        memory_total: total,
    })
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal; what follows is part of the first.
fn ticks(stat: &str) -> Option<Ticks> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let counts = line.split_ascii_whitespace().take(8).map(|count| count.parse().ok());
    let counts: Vec<u64> = counts.collect::<Option<_>>()?;
    let all = counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
    Some(Ticks { idle: counts.get(3)?.saturating_add(*counts.get(4)?), all })
}

/// How many cores the counts are of; those that this process may use can be fewer.
fn cores(stat: &str) -> usize {
    let numbered =
        |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    stat.lines().filter(numbered).count()
}

/// The part of the time between that was used; from 0 to 1.
#[allow(clippy::cast_precision_loss, reason = "the ticks of a quarter of a second")]
fn busy(before: Ticks, after: Ticks) -> f64 {
    let all = after.all.saturating_sub(before.all);
    let idle = after.idle.saturating_sub(before.idle).min(all);
    if all == 0 { 0.0 } else { (all - idle) as f64 / all as f64 }
}

fn bytes(meminfo: &str, field: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_used_part_is_between_two_counts() {
        let before = ticks("cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1\n").unwrap();
        let after = ticks("cpu  150 0 150 780 120 0 0 0 90 0\n").unwrap();
        assert!((busy(before, after) - 0.5).abs() < 1e-9);
        assert_eq!(cores("cpu  1\ncpu0 1\ncpu11 1\nctxt 1\n"), 2);
        // Some kernels let the count of waiting fall.
        assert!((busy(after, before)).abs() < 1e-9);
        for bad in ["", "cpu  1 2 3\n", "cpu  1 2 3 x 5 6 7 8\n", "intr 1\n"] {
            assert!(ticks(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn memory_is_in_kibibytes() {
        let text = "MemTotal:       16 kB\nMemFree:  1 kB\nMemAvailable:    4 kB\n";
        assert_eq!((bytes(text, "MemTotal:"), bytes(text, "MemAvailable:")), (Some(16_384), Some(4096)));
        assert_eq!(bytes("MemTotal: many\n", "MemTotal:"), None);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn this_machine_has_cores_and_memory() {
        let node = usage().await.unwrap();
        assert!(!node.name.is_empty() && node.cpu_total >= 1.0);
        assert!((0.0..=node.cpu_total).contains(&node.cpu_usage), "{node:?}");
        assert!(node.memory_usage > 0 && node.memory_usage < node.memory_total, "{node:?}");
    }
}
