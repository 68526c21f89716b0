//! The writer of a log, which holds it to its limits.
//!
//! Nothing that happens to the disk stops a job: what cannot be kept is dropped, and the log says so.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};

use super::gaps::{DropReason, Gap, MOST_GAPS, read_gaps, write_gaps};
use crate::disk_space;

/// What a hole is made of.
const BLOCK: u64 = 4096;
/// How far the edge of a gap is moved to the begin of a line.
const LINE: u64 = 64 * 1024;
/// How often the free space is asked for, in time …
const LOOK: Duration = Duration::from_millis(100);
/// … and in bytes.
const LOOK_AFTER: u64 = 1 << 20;
/// How often a gap that grows is written to its file.
const FLUSH: Duration = Duration::from_millis(500);

/// The limits of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogQuota {
    /// Bytes of it that are kept.
    pub limit: u64,
    /// Bytes of the disk that are left free.
    pub free: u64,
}

/// The one writer of a log.
pub struct LogWriter {
    file: File,
    path: PathBuf,
    quota: LogQuota,
    gaps: Vec<Gap>,
    /// Where the next byte goes.
    end: u64,
    /// Some gap is not in the file of gaps yet.
    unflushed: bool,
    flushed: Option<Instant>,
    /// The file system makes holes.
    holes: bool,
    low: bool,
    looked: Option<Instant>,
    since_look: u64,
}

impl LogWriter {
    /// Goes on behind what is there.
    pub fn open(path: &Path, quota: LogQuota) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.set_permissions(PermissionsExt::from_mode(0o600))?;
        let gaps = read_gaps(path)?;
        let end = file.metadata()?.len().max(gaps.last().map_or(0, |gap| gap.to));
        let writer = Self {
            file,
            path: path.to_owned(),
            quota,
            gaps,
            end,
            unflushed: false,
            flushed: None,
            holes: true,
            low: false,
            looked: None,
            since_look: 0,
        };
        // A parent that was killed may have listed a gap and not made it.
        for gap in &writer.gaps {
            let _ = writer.punch(gap);
        }
        Ok(writer)
    }

    /// Adds what a job has printed.
    pub fn write(&mut self, bytes: &[u8]) {
        let length = bytes.len() as u64;
        if self.is_low(length) {
            self.drop_next(length, DropReason::Disk);
        } else if !self.holes && self.kept() >= self.quota.limit {
            self.drop_next(length, DropReason::Limit(self.quota.limit));
        } else if (self.unflushed && !self.flush_gaps()) || self.file.write_all_at(bytes, self.end).is_err() {
            // What was written of it is in the gap, and is not read.
            self.drop_next(length, DropReason::Disk);
        } else {
            self.end = self.end.saturating_add(length);
            if self.kept() > self.quota.limit {
                self.trim(DropReason::Limit(self.quota.limit));
            }
        }
    }

    /// Drops what is beyond the limit of a log that nobody writes any more.
    pub fn shrink(&mut self, reason: DropReason) {
        if self.kept() > self.quota.limit {
            self.trim(reason);
        }
    }

    /// Writes the gaps that are not in their file yet; `false`: it cannot be written, and may be tried again.
    pub fn flush_gaps(&mut self) -> bool {
        if self.unflushed && write_gaps(&self.path, &self.gaps).is_ok() {
            self.unflushed = false;
        }
        self.flushed = Some(Instant::now());
        !self.unflushed
    }

    /// Where the next byte goes: all bytes so far, those that were dropped included.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    fn kept(&self) -> u64 {
        self.gaps.iter().fold(self.end, |kept, gap| kept.saturating_sub(gap.length()))
    }

    fn is_low(&mut self, more: u64) -> bool {
        self.since_look = self.since_look.saturating_add(more);
        if self.since_look >= LOOK_AFTER || self.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
            self.low = disk_space::free(&self.path).is_some_and(|free| free < self.quota.free);
            (self.since_look, self.looked) = (0, Some(Instant::now()));
        }
        self.low
    }

    /// The next bytes are not written.
    fn drop_next(&mut self, length: u64, reason: DropReason) {
        let end = self.end.saturating_add(length);
        match self.gaps.last_mut().filter(|gap| gap.to == self.end && gap.reason == reason) {
            Some(gap) => gap.to = end,
            None => self.gaps.push(Gap { from: self.end, to: end, reason }),
        }
        self.end = end;
        self.unflushed = true;
        if self.gaps.len() > MOST_GAPS {
            let first = self.gaps.remove(0);
            if let Some(second) = self.gaps.first_mut() {
                second.from = first.from;
            }
            if self.flush_gaps()
                && let Some(gap) = self.gaps.first()
            {
                let _ = self.punch(gap);
            }
        } else if self.flushed.is_none_or(|flushed| flushed.elapsed() >= FLUSH) {
            self.flush_gaps();
        }
    }

    /// Drops bytes of the middle: a quarter of the limit is the log's head, the rest its newest part.
    fn trim(&mut self, reason: DropReason) {
        let limit = self.quota.limit;
        let (head, step) = (limit / 4, (limit / 8).max(BLOCK));
        let newest = self.end.saturating_sub(limit.saturating_sub(head)).saturating_add(step);
        let from = match self.gaps.first() {
            Some(gap) if gap.from <= head.saturating_add(LINE) => gap.from,
            _ => self.line_before(head),
        };
        let to = self.line_after(newest.min(self.end));
        let mut gaps = self.gaps.clone();
        // One that reaches into the new one is part of it.
        let to = gaps.iter().filter(|gap| gap.from <= to).map(|gap| gap.to).fold(to, u64::max);
        gaps.retain(|gap| gap.from > to);
        let gap = Gap { from, to, reason };
        gaps.insert(0, gap.clone());
        // Listed first: a reader that finds zeros must know that they are none of the job's.
        if write_gaps(&self.path, &gaps).is_err() {
            return;
        }
        (self.gaps, self.unflushed) = (gaps, false);
        if self.punch(&gap).is_err() {
            self.holes = false;
        }
    }

    fn punch(&self, gap: &Gap) -> io::Result<()> {
        let to = gap.to.min(self.file.metadata()?.len());
        let Some(length) = to.checked_sub(gap.from).filter(|length| *length > 0) else { return Ok(()) };
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(fallocate(&self.file, hole, gap.from, length)?)
    }

    /// The begin of a line near a place; the place, if there is none.
    fn line_after(&self, place: u64) -> u64 {
        let window = self.window(place, self.end.min(place.saturating_add(LINE)));
        window.iter().position(|byte| *byte == b'\n').map_or(place, |at| place.saturating_add(at as u64 + 1))
    }

    fn line_before(&self, place: u64) -> u64 {
        let from = place.saturating_sub(LINE);
        let window = self.window(from, place);
        window.iter().rposition(|byte| *byte == b'\n').map_or(place, |at| from.saturating_add(at as u64 + 1))
    }

    fn window(&self, from: u64, to: u64) -> Vec<u8> {
        let mut window = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(0)];
        match self.file.read_exact_at(&mut window, from) {
            Ok(()) => window,
            Err(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{gaps::gaps_of, reader::JobLog};
    use std::os::unix::fs::MetadataExt;

    const LIMIT: u64 = 1 << 20;

    fn lines(range: std::ops::Range<u64>) -> Vec<u8> {
        range.flat_map(|number| format!("line {number:015}\n").into_bytes()).collect()
    }

    fn full_text(path: &Path) -> String {
        let log = JobLog::open(path).unwrap().unwrap();
        let (mut at, mut text) = (0, Vec::new());
        loop {
            let piece = log.read(at, 64 * 1024).unwrap();
            if piece.bytes.is_empty() {
                return String::from_utf8(text).unwrap();
            }
            at = piece.from + piece.bytes.len() as u64;
            text.extend(piece.bytes);
        }
    }

    #[test]
    fn a_log_keeps_its_head_and_its_newest_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut writer = LogWriter::open(&path, LogQuota { limit: LIMIT, free: 0 }).unwrap();
        for block in 0..1000 {
            writer.write(&lines(block * 1000..(block + 1) * 1000));
        }
        let size = 1_000_000 * 21;
        assert_eq!(JobLog::open(&path).unwrap().unwrap().size().unwrap(), size, "offsets count what was dropped");
        let used = std::fs::metadata(&path).unwrap().blocks() * 512;
        assert!(used <= LIMIT + 64 * 1024, "{used} bytes of disk");
        let text = full_text(&path);
        assert!(text.starts_with("line 000000000000000\nline 000000000000001\n"));
        assert!(text.ends_with("line 000000000999999\n"));
        let notes: Vec<_> = text.lines().filter(|line| !line.starts_with("line ")).collect();
        assert_eq!(notes.len(), 1, "{notes:?}");
        let gap = &read_gaps(&path).unwrap()[0];
        assert_eq!(notes[0], format!("[… {} bytes of this log were dropped here: the limit is 1 MiB …]", gap.length()));
        assert!(text.lines().all(|line| line.len() == 20 || line == notes[0]), "no line is cut");
        // The next run goes on behind it.
        let mut writer = LogWriter::open(&path, LogQuota { limit: LIMIT, free: 0 }).unwrap();
        writer.write(b"next run\n");
        assert!(full_text(&path).ends_with("line 000000000999999\nnext run\n"));
        assert_eq!(JobLog::open(&path).unwrap().unwrap().size().unwrap(), size + 9);
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_named_where_it_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut writer = LogWriter::open(&path, LogQuota { limit: LIMIT, free: 0 }).unwrap();
        writer.write(b"before\n");
        writer.quota.free = u64::MAX;
        (writer.looked, writer.low) = (None, false);
        writer.write(&[b'x'; 4000]);
        writer.write(&[b'x'; 1000]);
        writer.quota.free = 0;
        writer.looked = None;
        writer.write(b"after\n");
        let line = "[… 5000 bytes of this log were dropped here: the platform's disk was nearly full …]\n";
        assert_eq!(full_text(&path), format!("before\n{line}after\n"));
        assert_eq!(JobLog::open(&path).unwrap().unwrap().size().unwrap(), 7 + 5000 + 6);
        assert!(gaps_of(&path).exists());
    }

    #[test]
    fn gaps_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut writer = LogWriter::open(&path, LogQuota { limit: LIMIT, free: 0 }).unwrap();
        for number in 0..100 {
            writer.write(format!("kept {number}\n").as_bytes());
            writer.drop_next(1000, DropReason::Disk);
        }
        assert!(writer.flush_gaps());
        assert_eq!(read_gaps(&path).unwrap().len(), MOST_GAPS);
        let text = full_text(&path);
        assert!(text.starts_with("kept 0\n[… ") && text.contains("kept 99\n"), "{text}");
    }
}
