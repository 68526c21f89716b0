//! The log of a job: a size-limited file that only the run's parent writes and anybody reads by byte offsets.
//!
//! What a job prints has no end, the file has a limit: its head and its newest part are kept, and the middle is dropped.
//! The bytes that were dropped keep their offsets (the file has a hole there), so a reader that comes again with an
//! offset finds what it expects. Where the gaps are stands in the file `log.gaps`, which is replaced before anything is
//! dropped: a reader that looks at it after it has read a piece never takes a hole for output.

mod cluster;
mod gaps;
mod limit;
mod reader;
mod writer;

pub use cluster::{OwnedLog, shrink};
pub use gaps::{Gap, gaps_of, read_gaps, truncation_message};
pub use limit::LogLimit;
pub use reader::JobLog;
pub use writer::{LogQuota, LogWriter};
