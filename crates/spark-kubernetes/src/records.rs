//! What is remembered of a job's runs when their objects are gone: that they were started, and how they ended.
//!
//! It is a small file beside the job's log, and stays as long as that, so that a server that was killed tells the same.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use mlplatform_runner::termination::Termination;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Runs of a job that are remembered.
const RUNS: usize = 3;

/// A run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Where its part of the log begins.
    pub(crate) log_from: u64,
    /// When its program was started.
    pub(crate) started_at: Option<jiff::Timestamp>,
    /// How it ended, for good.
    pub(crate) end: Option<Termination>,
    /// How often the operator has run it.
    pub(crate) attempts: Option<i64>,
}

/// The folder of a job.
#[derive(Clone, Debug)]
pub(crate) struct JobFolder(PathBuf);

impl JobFolder {
    pub(crate) fn new(root: &Path, job: &str) -> Self {
        Self(root.join("jobs").join(job))
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    pub(crate) fn position(&self) -> PathBuf {
        self.0.join("log.position")
    }

    fn runs(&self) -> PathBuf {
        self.0.join("runs.json")
    }

    /// Makes the folder and an empty log.
    pub(crate) fn create(&self) -> io::Result<()> {
        make_private(&self.0)?;
        fs::OpenOptions::new().create(true).append(true).open(self.log()).map(drop)
    }

    pub(crate) fn record(&self, run: i64) -> io::Result<Option<Record>> {
        let runs: BTreeMap<i64, Record> = read(&self.runs())?.unwrap_or_default();
        Ok(runs.get(&run).cloned())
    }

    /// Changes what is remembered of a run.
    pub(crate) fn note(&self, run: i64, change: impl FnOnce(&mut Record)) -> io::Result<()> {
        let mut runs: BTreeMap<i64, Record> = read(&self.runs())?.unwrap_or_default();
        let record = runs.entry(run).or_default();
        let before = record.clone();
        change(record);
        if *record == before && self.runs().exists() {
            return Ok(());
        }
        while runs.len() > RUNS {
            runs.pop_first();
        }
        make_private(&self.0)?;
        write(&self.runs(), &runs)
    }
}

fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// `None`: there is no such file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a file, whole.
pub(crate) fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, serde_json::to_vec(value)?)?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_last_runs() {
        let folder = tempfile::tempdir().unwrap();
        let job = JobFolder::new(folder.path(), "j");
        assert_eq!(job.record(1).unwrap(), None);
        for run in 1..=5 {
            job.note(run, |record| record.log_from = 10).unwrap();
        }
        job.note(5, |record| record.end = Some(Termination::problem("p"))).unwrap();
        assert_eq!(job.record(2).unwrap(), None);
        assert_eq!(job.record(3).unwrap().unwrap().log_from, 10);
        assert!(job.record(5).unwrap().unwrap().end.is_some());
        job.create().unwrap();
        assert!(job.log().exists());
    }
}
