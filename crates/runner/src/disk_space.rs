//! Free space on the disk of a path, and the thresholds below which it is scarce.

use std::{io, path::Path};

use rustix::fs::statvfs;

const MIB: u64 = 1 << 20;
/// With fewer files left on a disk (or 5 % of a small one's), jobs are evicted.
const FEW_FILES: u64 = 10_000;
/// Between the end of pressure and its begin, so that it does not begin again at once.
pub const CALM: u64 = 2;

/// Thresholds of free space, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Below it, the output of jobs is dropped.
    pub logs: u64,
    /// Below it, jobs are evicted.
    pub low: u64,
    /// The size of the reserve.
    pub reserve: u64,
}

impl Thresholds {
    /// For a disk of so many bytes.
    fn of(size: u64) -> Self {
        let low = (size / 20).min(512 * MIB);
        // A disk that small is somebody's test, and every byte of it is wanted.
        let reserve = if size < 128 * MIB { 0 } else { (size / 100).min(16 * MIB) };
        Self { logs: low.saturating_mul(CALM), low, reserve }
    }

    /// For the disk that holds a path.
    pub fn at(path: &Path) -> Self {
        statvfs(path)
            .map_or(Self { logs: 0, low: 0, reserve: 0 }, |disk| Self::of(disk.f_blocks.saturating_mul(disk.f_frsize)))
    }
}

/// Below so many free bytes of the disk that holds a path, no job runs.
#[must_use]
pub fn low_mark(path: &Path) -> u64 {
    Thresholds::at(path).low.max(MIB / 4)
}

/// Bytes of the disk that holds a path.
#[must_use]
pub fn size(path: &Path) -> Option<u64> {
    statvfs(path).ok().map(|disk| disk.f_blocks.saturating_mul(disk.f_frsize))
}

/// Bytes that can still be written beside a path: none, if hardly a file can be made any more.
#[must_use]
pub fn free(path: &Path) -> Option<u64> {
    let disk = statvfs(path).ok()?;
    // Where files are not counted, there are 0 in all.
    let few = disk.f_favail < (disk.f_files / 20).min(FEW_FILES);
    Some(if few { 0 } else { disk.f_bavail.saturating_mul(disk.f_frsize) })
}

/// Whether something failed for want of room.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_of_disks() {
        let of = |mib: u64| {
            let thresholds = Thresholds::of(mib * MIB);
            (thresholds.logs / MIB, thresholds.low / MIB, thresholds.reserve / MIB)
        };
        assert_eq!(of(8), (0, 0, 0));
        assert_eq!(of(256), (25, 12, 2));
        assert_eq!(of(1 << 20), (1024, 512, 16));
    }
}
