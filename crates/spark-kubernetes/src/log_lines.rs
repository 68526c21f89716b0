//! The stream of a container's log, as the API gives it with times: back to the bytes that were printed, from where the last
//! stream was cut off.

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A time, as it stands before a line, has fewer bytes.
const LONGEST_TIME: usize = 64;

/// How far a log was kept: behind a whole line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Where in the kept log that is.
    pub(crate) bytes: u64,
    /// The time of that line; `None`: nothing was kept.
    pub(crate) time: Option<Timestamp>,
    /// How many lines of that time were kept.
    pub(crate) lines: u64,
}

/// Takes the times off, and what is kept already.
#[derive(Debug)]
pub(crate) struct LogLines {
    position: Position,
    /// The position where this stream goes on.
    from: Position,
    /// Lines of the time of `from` that came again.
    again: u64,
    /// Bytes behind `from` that are kept already.
    skip: u64,
    /// Bytes since the begin of this stream that are not before `from`.
    fresh: u64,
    /// The time of a line, as far as it has come; `None`: the line itself comes.
    stamp: Option<Vec<u8>>,
    time: Option<Timestamp>,
    is_old: bool,
    /// The last line of `from` has come again, and whatever follows is new.
    is_found: bool,
}

impl LogLines {
    /// Goes on at a position, when so many bytes are kept in all.
    pub(crate) fn new(from: Position, kept: u64) -> Self {
        let skip = kept.saturating_sub(from.bytes);
        let is_found = from.time.is_none();
        Self {
            is_found,
            position: from.clone(),
            from,
            again: 0,
            skip,
            fresh: 0,
            stamp: Some(Vec::new()),
            time: None,
            is_old: false,
        }
    }

    /// How far the log is kept when what was taken so far is.
    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// What of a piece of the stream is to be kept.
    pub(crate) fn take(&mut self, mut piece: &[u8]) -> Vec<u8> {
        let mut kept = Vec::with_capacity(piece.len());
        while !piece.is_empty() {
            piece =
                if self.stamp.is_some() { self.take_time(piece, &mut kept) } else { self.take_line(piece, &mut kept) };
        }
        kept
    }

    fn take_time<'a>(&mut self, piece: &'a [u8], kept: &mut Vec<u8>) -> &'a [u8] {
        let mut stamp = self.stamp.take().unwrap_or_default();
        let end = piece.iter().position(|byte| matches!(byte, b' ' | b'\n'));
        let (part, rest) = piece.split_at(end.unwrap_or(piece.len()));
        stamp.extend_from_slice(part);
        if end.is_none() && stamp.len() < LONGEST_TIME {
            self.stamp = Some(stamp);
            return rest;
        }
        self.time = std::str::from_utf8(&stamp).ok().and_then(|text| text.parse().ok());
        self.is_old = !self.is_found;
        // By their order: a node's clock may be set back, and later lines have earlier times then.
        match (self.time, self.from.time) {
            _ if self.is_found => {}
            (Some(time), Some(from)) if time == from => {
                self.again = self.again.saturating_add(1);
                self.is_found = self.again >= self.from.lines;
            }
            // It is not there any more.
            (Some(time), Some(from)) if time > from => (self.is_found, self.is_old) = (true, false),
            _ => {}
        }
        if self.time.is_none() {
            // No time is before this line: all of it was printed.
            self.keep(&stamp, kept);
            return rest;
        }
        rest.strip_prefix(b" ").unwrap_or(rest)
    }

    fn take_line<'a>(&mut self, piece: &'a [u8], kept: &mut Vec<u8>) -> &'a [u8] {
        let end = piece.iter().position(|byte| *byte == b'\n').map(|end| end.saturating_add(1));
        let (part, rest) = piece.split_at(end.unwrap_or(piece.len()));
        self.keep(part, kept);
        if end.is_some() {
            if !self.is_old {
                let same = self.time.is_none() || self.time == self.position.time;
                self.position = Position {
                    bytes: self.from.bytes.saturating_add(self.fresh),
                    time: self.time.or(self.position.time),
                    lines: if same { self.position.lines.saturating_add(1) } else { 1 },
                };
            }
            self.stamp = Some(Vec::new());
        }
        rest
    }

    fn keep(&mut self, part: &[u8], kept: &mut Vec<u8>) {
        if self.is_old {
            return;
        }
        self.fresh = self.fresh.saturating_add(part.len() as u64);
        let skipped = self.skip.min(part.len() as u64);
        self.skip = self.skip.saturating_sub(skipped);
        kept.extend_from_slice(part.get(usize::try_from(skipped).unwrap_or(usize::MAX)..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of a container's log, with their times.
    const LINES: &[(&str, &str)] = &[
        ("2026-01-02T03:04:05.000000001Z", "one\n"),
        ("2026-01-02T03:04:05.000000002Z", "two two\n"),
        ("2026-01-02T03:04:05.000000002Z", "two two\n"),
        ("2026-01-02T03:04:05.000000002Z", "\n"),
        ("2026-01-02T03:04:06.000000000Z", "   indented\n"),
        ("2026-01-02T03:04:07.000000000Z", "no end"),
    ];

    /// As the API gives it from a second on.
    fn stream(since: Option<Timestamp>) -> Vec<u8> {
        let since = since.map(|time| time.as_second());
        let wanted = |time: &str| since.is_none_or(|since| time.parse::<Timestamp>().unwrap().as_second() >= since);
        LINES
            .iter()
            .filter(|(time, _)| wanted(time))
            .flat_map(|(time, line)| format!("{time} {line}").into_bytes())
            .collect()
    }

    fn printed() -> Vec<u8> {
        LINES.iter().flat_map(|(_, line)| line.bytes()).collect()
    }

    #[test]
    fn whatever_the_pieces_and_wherever_it_is_cut_off_each_byte_is_kept_once() {
        let all = stream(None);
        for size in 1..all.len() {
            for cut in 0..=all.len() {
                let mut lines = LogLines::new(Position::default(), 0);
                let mut kept = Vec::new();
                let first = all.get(..cut).unwrap();
                first.chunks(size).for_each(|piece| kept.extend(lines.take(piece)));
                let position = lines.position().clone();
                let mut lines = LogLines::new(position.clone(), kept.len() as u64);
                stream(position.time).chunks(size).for_each(|piece| kept.extend(lines.take(piece)));
                assert_eq!(kept, printed(), "pieces of {size}, cut off at {cut}");
            }
        }
    }

    #[test]
    fn a_clock_that_is_set_back_loses_nothing() {
        let all = "2026-01-02T03:04:05.5Z one\n2026-01-02T03:04:06.5Z two\n2026-01-02T03:04:06.1Z three\n";
        let (first, _) = all.split_at(54);
        let mut lines = LogLines::new(Position::default(), 0);
        let mut kept = lines.take(first.as_bytes());
        assert_eq!(kept, b"one\ntwo\n");
        let mut lines = LogLines::new(lines.position().clone(), kept.len() as u64);
        kept.extend(lines.take(all.as_bytes()));
        assert_eq!(kept, b"one\ntwo\nthree\n");
    }

    #[test]
    fn what_has_no_time_was_printed() {
        let long = "x".repeat(1000);
        let text = format!("{long} y\nunexpected\n\n2026-01-02T03:04:05Z z\n");
        for size in [1, 7, 5000] {
            let mut lines = LogLines::new(Position::default(), 0);
            let kept: Vec<u8> = text.as_bytes().chunks(size).flat_map(|piece| lines.take(piece)).collect();
            assert_eq!(String::from_utf8(kept).unwrap(), format!("{long} y\nunexpected\n\nz\n"));
        }
    }
}
