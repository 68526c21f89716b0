//! What the system knows of this process, under the names that all exporters use. Where there is no `/proc`, it is left at 0.

use std::{fs, sync::atomic::AtomicU64};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::{Registry, Unit},
};
use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

/// Fields of `/proc/self/stat` behind the program's name, the third being the first of them.
const UTIME: usize = 11;
const STIME: usize = 12;
const START_TIME: usize = 19;

#[derive(Clone, Default)]
pub(super) struct Gauges {
    cpu: Counter<f64, AtomicU64>,
    resident: Gauge,
    open_files: Gauge,
    most_files: Gauge,
    start_time: Gauge<f64, AtomicU64>,
}

impl Gauges {
    pub(super) fn register(&self, registry: &mut Registry) {
        let process = registry.sub_registry_with_prefix("process");
        process.register_with_unit("cpu", "Processor time that was used", Unit::Seconds, self.cpu.clone());
        process.register_with_unit("resident_memory", "Memory that is held", Unit::Bytes, self.resident.clone());
        process.register("open_fds", "Open files and connections", self.open_files.clone());
        process.register("max_fds", "How many files and connections may be open", self.most_files.clone());
        let help = "When the process was started, since 1970";
        process.register_with_unit("start_time", help, Unit::Seconds, self.start_time.clone());
    }

    pub(super) fn sample(&self) {
        if let Some(files) = getrlimit(Resource::Nofile).current.and_then(|files| i64::try_from(files).ok()) {
            self.most_files.set(files);
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            // One of them is this reading itself.
            self.open_files.set(i64::try_from(files.count()).unwrap_or(i64::MAX).saturating_sub(1));
        }
        let resident = fs::read_to_string("/proc/self/statm").ok().and_then(|text| {
            let pages: i64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
            Some(pages.saturating_mul(i64::try_from(page_size()).ok()?))
        });
        if let Some(resident) = resident {
            self.resident.set(resident);
        }
        let _ = self.sample_times();
    }

    fn sample_times(&self) -> Option<()> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        // The name, in parentheses, may hold anything.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        #[allow(clippy::cast_precision_loss, reason = "hundredths of seconds need no more digits")]
        let seconds =
            |index: usize| Some(fields.get(index)?.parse::<u64>().ok()? as f64 / clock_ticks_per_second() as f64);
        let used = seconds(UTIME)? + seconds(STIME)?;
        self.cpu.inner().store(used.to_bits(), std::sync::atomic::Ordering::Relaxed);
        let system = fs::read_to_string("/proc/stat").ok()?;
        let boot: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        self.start_time.set(boot + seconds(START_TIME)?);
        Some(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_files_and_a_start_in_the_past() {
        let gauges = Gauges::default();
        gauges.sample();
        assert!(gauges.resident.get() > 1 << 20 && gauges.open_files.get() > 2);
        assert!(gauges.most_files.get() >= gauges.open_files.get());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - gauges.start_time.get();
        assert!((-2.0..3600.0).contains(&age), "{age}");
    }
}
