//! The mark of the audit: number and MAC of its newest row, kept where who can write the database cannot change it.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::private_file;

/// What the first row is chained to.
const GENESIS: [u8; 32] = [0; 32];
/// A mark's text is shorter.
const LONGEST: u64 = 200;

/// Number and MAC of a row. As a text: `SEQ:MAC`, the MAC in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub(super) seq: i64,
    pub(super) mac: [u8; 32],
}

/// Before the first row.
pub(super) const START: Mark = Mark { seq: 0, mac: GENESIS };

/// A text is no mark.
#[derive(Debug, thiserror::Error)]
#[error("it is not SEQ:MAC, a number and 64 hexadecimal digits")]
pub struct NoMark;

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, hex(&self.mac))
    }
}

impl FromStr for Mark {
    type Err = NoMark;

    /// Also in the form of a data directory's `audit-head`, with a space between.
    fn from_str(text: &str) -> Result<Self, NoMark> {
        let (seq, mac) = text.trim().split_once([':', ' ']).ok_or(NoMark)?;
        let seq = seq.parse().ok().filter(|seq| *seq >= 0).ok_or(NoMark)?;
        Ok(Self { seq, mac: unhex(mac).ok_or(NoMark)? })
    }
}

impl Mark {
    /// The mark in a file; `None`: there is no such file.
    ///
    /// # Errors
    /// When it cannot be read, or holds something else.
    pub fn from_file(path: &Path) -> io::Result<Option<Self>> {
        let mut text = String::new();
        match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?.take(LONGEST).read_to_string(&mut text)?,
        };
        text.parse().map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

/// What to [`keep`](super::Audit::keep) once a row is committed.
#[derive(Clone, Copy, Debug)]
pub struct NewMark {
    pub(super) mark: Mark,
    /// The old mark did not fit, and a row says so: it is replaced even if its number is higher.
    pub(super) over_gap: bool,
}

impl NewMark {
    /// This mark, of a later row of the same transaction.
    #[must_use]
    pub fn after(self, earlier: Option<Self>) -> Self {
        Self { over_gap: self.over_gap || earlier.is_some_and(|earlier| earlier.over_gap), ..self }
    }

    fn replaces(self, old: Option<Mark>) -> bool {
        self.over_gap || old.is_none_or(|old| old.seq < self.mark.seq)
    }
}

/// Where the mark is kept. Clones are the same place.
#[derive(Clone)]
pub(super) enum MarkPlace {
    /// One for all processes of a machine: beside SQLite's database.
    File(Arc<Mutex<File>>),
    /// One for each server: beside a database that several share. It begins with a mark of before, or without one.
    Memory(Arc<Mutex<Option<Mark>>>),
}

impl MarkPlace {
    /// `fresh`: no row was ever written.
    pub(super) fn in_file(path: &Path, fresh: bool) -> io::Result<Self> {
        private_file::touch(path)?;
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let place = Self::File(Arc::new(Mutex::new(file)));
        if fresh && place.read()?.is_none() {
            // So that a crash between the first commit and its mark does not look like a mark that was removed. A mark
            // that is there stays: a store that was emptied below it has a past, and the first row says that it is gone.
            place.keep(NewMark { mark: START, over_gap: true })?;
        }
        Ok(place)
    }

    pub(super) fn in_memory(mark: Option<Mark>) -> Self {
        Self::Memory(Arc::new(Mutex::new(mark)))
    }

    /// Whether a mark that is missing was removed.
    pub(super) fn is_always_there(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// The mark, if there is one that can be read.
    pub(super) fn read(&self) -> io::Result<Option<Mark>> {
        match self {
            Self::File(file) => alone_with(file, parse),
            Self::Memory(mark) => Ok(*lock(mark)),
        }
    }

    /// Takes the mark of a committed row, unless a later one is there already.
    pub(super) fn keep(&self, new: NewMark) -> io::Result<()> {
        match self {
            Self::File(file) => alone_with(file, |mut file| {
                if new.replaces(parse(file)?) {
                    file.seek(SeekFrom::Start(0))?;
                    file.write_all(line(new.mark).as_bytes())?;
                }
                Ok(())
            }),
            Self::Memory(mark) => {
                let mut mark = lock(mark);
                if new.replaces(*mark) {
                    *mark = Some(new.mark);
                }
                Ok(())
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Among this process's threads by the mutex, among processes by the file's lock.
fn alone_with<T>(file: &Mutex<File>, work: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
    let file = lock(file);
    file.lock()?;
    let result = work(&file);
    file.unlock()?;
    result
}

/// Of one length always, so that it is overwritten in place by one write.
pub(super) fn line(mark: Mark) -> String {
    format!("{:020} {}\n", mark.seq, hex(&mark.mac))
}

fn parse(mut file: &File) -> io::Result<Option<Mark>> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(LONGEST).read_to_string(&mut text)?;
    Ok(text.parse().ok())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let bytes = pairs.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    bytes.collect::<Option<Vec<_>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_as_a_text() {
        let mark = Mark { seq: 5, mac: [0xab; 32] };
        let text = mark.to_string();
        assert_eq!(text, format!("5:{}", "ab".repeat(32)));
        for good in [text.clone(), format!(" {text}\n"), line(mark)] {
            assert_eq!(good.parse::<Mark>().ok(), Some(mark), "{good}");
        }
        for bad in ["", "5", ":", "5:ab", "-1:", "x:y", &format!("-5{}", &text[1..]), &format!("{text}00"), &text[1..]]
        {
            assert!(bad.parse::<Mark>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_of_a_mark_is_small() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        assert_eq!(Mark::from_file(&path).unwrap(), None);
        let mark = Mark { seq: 5, mac: [1; 32] };
        std::fs::write(&path, format!("{mark}\n")).unwrap();
        assert_eq!(Mark::from_file(&path).unwrap(), Some(mark));
        std::fs::write(&path, format!("{}{mark}", " ".repeat(200))).unwrap();
        assert!(Mark::from_file(&path).unwrap_err().to_string().contains("not SEQ:MAC"));
    }

    #[test]
    fn in_memory_a_later_mark_is_kept_and_one_over_a_gap() {
        let mark = |seq| Mark { seq, mac: [1; 32] };
        let place = MarkPlace::in_memory(None);
        for (seq, over_gap, kept) in [(3, false, 3), (2, false, 3), (4, false, 4), (1, true, 1)] {
            place.keep(NewMark { mark: mark(seq), over_gap }).unwrap();
            assert_eq!(place.read().unwrap(), Some(mark(kept)));
        }
    }
}
