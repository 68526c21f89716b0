//! Reading a log by offsets, while it is written.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::runner::LogChunk;

use super::gaps::{Gap, read_gaps};

/// A log that is there.
#[derive(Debug)]
pub struct JobLog {
    file: File,
    path: PathBuf,
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins: behind the place that was asked for, if what is there was dropped.
    pub from: u64,
    pub bytes: Vec<u8>,
    /// It stands for bytes that were dropped, and nothing follows them yet: they may become more.
    pub grows: bool,
}

impl JobLog {
    /// `None`: nothing was ever started.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => Ok(Some(Self { file, path: path.to_owned() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bytes, those included that were dropped.
    pub fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len().max(self.gaps()?.last().map_or(0, |gap| gap.to)))
    }

    /// The gaps as they are now.
    pub fn gaps(&self) -> io::Result<Vec<Gap>> {
        read_gaps(&self.path)
    }

    /// A piece of it, as the interface gives it.
    pub fn chunk(&self, at: u64, most: usize) -> io::Result<LogChunk> {
        let Piece { from, bytes, grows } = self.read(at, most)?;
        let gaps = self.gaps()?;
        let is_gap = !bytes.is_empty() && gaps.iter().any(|gap| (gap.from..gap.to).contains(&from));
        let size = self.file.metadata()?.len().max(gaps.last().map_or(0, |gap| gap.to));
        let next_gap = gaps.into_iter().map(|gap| gap.from).find(|gap| *gap > from);
        Ok(LogChunk { from, bytes, size, next_gap, is_gap, grows })
    }

    /// At most so many bytes from a place on, up to the next gap; in a gap, the line that stands for it.
    pub fn read(&self, at: u64, most: usize) -> io::Result<Piece> {
        let mut bytes = vec![0; most];
        let length = self.file.read_at(&mut bytes, at)?;
        bytes.truncate(length);
        let end = at.saturating_add(length as u64);
        // Looked at when the bytes are here: what has been dropped meanwhile shows.
        let Some(gap) = self.gaps()?.into_iter().find(|gap| gap.to > at) else {
            return Ok(Piece { from: at, bytes, grows: false });
        };
        if gap.from <= at {
            let from = gap.line_from().max(at);
            let mut line = gap.line();
            line.drain(..usize::try_from(from.saturating_sub(gap.line_from())).unwrap_or(0).min(line.len()));
            return Ok(Piece { from, bytes: line, grows: gap.to >= end.max(self.file.metadata()?.len()) });
        }
        bytes.truncate(usize::try_from(gap.from.saturating_sub(at)).unwrap_or(usize::MAX));
        Ok(Piece { from: at, bytes, grows: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::gaps::{DropReason, write_gaps};

    #[test]
    fn offsets_stay_what_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert!(JobLog::open(&path).unwrap().is_none());
        let text = format!("head\n{}tail\n", "x".repeat(1000));
        std::fs::write(&path, &text).unwrap();
        write_gaps(&path, &[Gap { from: 5, to: 1005, reason: DropReason::Limit(1 << 30) }]).unwrap();
        let log = JobLog::open(&path).unwrap().unwrap();
        let line = "[… 1000 bytes of this log were dropped here: the limit is 1 GiB …]\n";
        let read = |at, most| {
            let piece = log.read(at, most).unwrap();
            (piece.from, String::from_utf8_lossy(&piece.bytes).into_owned())
        };
        assert_eq!(read(0, 4096), (0, "head\n".to_owned()));
        let begins = 1005 - line.len() as u64;
        for at in [5, 500, begins] {
            assert_eq!(read(at, 4096), (begins, line.to_owned()));
        }
        assert_eq!(read(1004, 4096), (1004, "\n".to_owned()));
        assert_eq!(read(1005, 4096), (1005, "tail\n".to_owned()));
        assert_eq!(read(1006, 2), (1006, "ai".to_owned()));
        assert_eq!((log.size().unwrap(), read(1010, 10).1), (1010, String::new()));
        let chunk = |at, most| log.chunk(at, most).unwrap();
        let head = chunk(0, 3);
        assert_eq!((head.size, head.next_gap, head.is_gap, head.bytes.as_slice()), (1010, Some(5), false, &b"hea"[..]));
        let gap = chunk(700, 4096);
        assert_eq!((gap.from, gap.next_gap, gap.is_gap, gap.bytes.as_slice()), (begins, None, true, line.as_bytes()));
        assert_eq!((chunk(9999, 10).from, chunk(9999, 10).bytes.len()), (9999, 0));
    }
}
