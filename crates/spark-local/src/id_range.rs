//! A range of user and group ids for jobs: which ranges may be given, and why not.

use std::{
    fmt, fs,
    ops::RangeInclusive,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::{getegid, geteuid, getgroups};

use crate::{error::JobUserError, namespaces};

/// One to look for files as, one for a cluster, one for a job.
const FEWEST: u32 = 3;
/// The next one says "no change" to the system.
const LARGEST: u64 = u32::MAX as u64 - 1;

/// Ids that are nobody else's, as users and as groups: the first is for what the platform asks with no more rights than a
/// job's and never runs one; of the others each is a job's or a cluster's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    first: u32,
    last: u32,
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl IdRange {
    /// Reads `FIRST-LAST`; `None`: it is the name of a user.
    ///
    /// # Errors
    /// When there can be no such range.
    pub fn read(text: &str) -> Option<Result<Self, JobUserError>> {
        let (first, last) = text.split_once('-')?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(first) || !is_number(last) {
            return None;
        }
        let id =
            |text: &str| text.parse::<u64>().ok().filter(|id| *id <= LARGEST).and_then(|id| u32::try_from(id).ok());
        let refuse = |why: String| Err(JobUserError(format!("--job-user is '{text}', {why}")));
        Some(match (id(first), id(last)) {
            (Some(0), _) => refuse("and 0 is root, who may do everything: begin with a larger id".to_owned()),
            (Some(first), Some(last)) if last.saturating_sub(first).saturating_add(1) < FEWEST || last < first => {
                refuse(format!(
                    "which are too few ids: give at least {FEWEST}, one for the platform's questions, one for each cluster and \
                 one for each job that runs, such as 2000000000-2000065535"
                ))
            }
            (Some(first), Some(last)) => Ok(Self { first, last }),
            _ => refuse(format!("and ids end with {LARGEST}: give smaller ones")),
        })
    }

    /// The id that never runs a job.
    pub(crate) fn reserved(self) -> u32 {
        self.first
    }

    pub(crate) fn ids(self) -> RangeInclusive<u32> {
        self.first..=self.last
    }

    pub(crate) fn contains(self, id: u32) -> bool {
        self.ids().contains(&id)
    }

    /// How many there are for jobs and clusters.
    pub(crate) fn size(self) -> u32 {
        self.last.saturating_sub(self.first)
    }

    /// For jobs: all but the reserved one, beginning behind the one that was given last. Each comes again only when all
    /// others have.
    pub(crate) fn after(self, id: u32) -> impl Iterator<Item = u32> {
        let start = id.clamp(self.first, self.last);
        (start.saturating_add(1)..=self.last).chain(self.first.saturating_add(1)..=start)
    }

    /// For clusters: from the other end.
    pub(crate) fn downwards(self) -> impl Iterator<Item = u32> {
        (self.first.saturating_add(1)..=self.last).rev()
    }

    /// That the ids are nobody's, and that this system lets jobs be kept from each other.
    pub(crate) fn check(self, owned: impl IntoIterator<Item = PathBuf>) -> Result<(), JobUserError> {
        let refuse = |why: String| Err(JobUserError(format!("--job-user is '{self}', {why}")));
        if !geteuid().is_root() {
            return refuse(
                "and only root can run jobs as other users: start the platform as root, or serve with --no-jobs"
                    .to_owned(),
            );
        }
        let groups = getgroups().unwrap_or_default();
        if let Some(own) = groups.iter().copied().chain([getegid()]).find(|group| self.contains(group.as_raw())) {
            return refuse(format!("and {} is a group of the platform's own: give other ids", own.as_raw()));
        }
        for (database, what) in [("passwd", "user"), ("group", "group")] {
            if let Some((name, id)) = entries(database).lines().find_map(|line| self.entry(line)) {
                return refuse(format!("and {id} is the {what} '{name}' of this machine: give ids that are nobody's"));
            }
        }
        for file in ["/etc/subuid", "/etc/subgid"] {
            let text = fs::read_to_string(file).unwrap_or_default();
            if let Some(name) = text.lines().find_map(|line| self.subordinate(line)) {
                return refuse(format!(
                    "and '{file}' lets '{name}' have some of these ids: give others, or take that line out"
                ));
            }
        }
        let belongs = |path: &PathBuf| {
            path.symlink_metadata().is_ok_and(|meta| self.contains(meta.uid()) || self.contains(meta.gid()))
        };
        if let Some(path) = owned.into_iter().find(belongs) {
            return refuse(format!("and '{}' belongs to one of these ids: chown it to root", path.display()));
        }
        namespaces::probe().or_else(|error| {
            refuse(format!(
                "and this system does not let the platform give a run mounts of its own ({error}): in a container, that takes \
                 the capability SYS_ADMIN; else name one user for all jobs"
            ))
        })
    }

    /// Name and id of a line of passwd or group that has one of the ids.
    fn entry(self, line: &str) -> Option<(String, u32)> {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let id = fields.nth(1)?.parse().ok()?;
        self.contains(id).then(|| (name.to_owned(), id))
    }

    /// Who has some of the ids by a line of subuid or subgid.
    fn subordinate(self, line: &str) -> Option<String> {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let first: u64 = fields.next()?.trim().parse().ok()?;
        let count: u64 = fields.next()?.trim().parse().ok()?;
        let overlaps = first <= u64::from(self.last) && first.saturating_add(count) > u64::from(self.first);
        (overlaps && count > 0).then(|| name.to_owned())
    }
}

/// All users or groups: of every source that lists them, and else of the file.
fn entries(database: &str) -> String {
    let output = Command::new("getent").arg(database).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let listed = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let listed = listed.or_else(|| fs::read(Path::new("/etc").join(database)).ok()).unwrap_or_default();
    String::from_utf8_lossy(&listed).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> IdRange {
        IdRange::read(text).unwrap().unwrap()
    }

    #[test]
    fn what_is_a_range() {
        for name in ["nobody", "spark-jobs", "a-1", "1-a", "-", "1-", "-1", "100", "1-2-3"] {
            assert!(IdRange::read(name).is_none(), "{name}");
        }
        for (text, why) in [
            ("0-100", "0 is root"),
            ("100-101", "at least 3"),
            ("200-100", "at least 3"),
            ("1-4294967295", "ids end with 4294967294"),
            ("99999999999999999999-99999999999999999999", "ids end with"),
        ] {
            let error = IdRange::read(text).unwrap().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(text), "{error}");
        }
        assert_eq!(range("100000-165535").size(), 65_535);
        assert_eq!(range("4294967292-4294967294").downwards().next(), Some(4_294_967_294));
    }

    #[test]
    fn ids_are_given_in_turn() {
        let all = |after: u32| range("10-13").after(after).collect::<Vec<_>>();
        assert_eq!(all(10), [11, 12, 13]);
        assert_eq!(all(12), [13, 11, 12]);
        assert_eq!(all(13), [11, 12, 13]);
        assert_eq!((all(0), all(99)), (vec![11, 12, 13], vec![11, 12, 13]));
    }

    #[test]
    fn whose_ids_these_are() {
        let range = range("1000-1009");
        assert_eq!(range.entry("anna:x:1009:5::/home/anna:/bin/sh"), Some(("anna".to_owned(), 1009)));
        assert_eq!(range.entry("anna:x:1010:1009::/home/anna:/bin/sh"), None);
        assert_eq!(range.entry("odd"), None);
        for (line, overlaps) in [
            ("a:1009:1", true),
            ("a:900:101", true),
            ("a:900:100", false),
            ("a:1010:65536", false),
            ("a:1000:0", false),
            ("a:x:1", false),
        ] {
            assert_eq!(range.subordinate(line).is_some(), overlaps, "{line}");
        }
    }

    #[test]
    fn ids_of_somebody_are_refused() {
        let why = |text: &str| range(text).check([]).unwrap_err().to_string();
        if geteuid().is_root() {
            assert!(why("1-100").contains("of this machine: give ids that are nobody's"));
            let file = tempfile::NamedTempFile::new().unwrap();
            std::os::unix::fs::chown(file.path(), Some(3_000_000_001), None).unwrap();
            let owned = range("3000000000-3000000100").check([file.path().to_owned()]).unwrap_err().to_string();
            assert!(owned.contains("belongs to one of these ids"), "{owned}");
        } else {
            assert!(why("3000000000-3000000100").contains("only root"));
        }
    }
}
