//! The operating system's user that jobs run as.
//!
//! A job is a program of whoever holds an access token. Under the platform's own user it reads what the platform can
//! read: its database, its keys, the first Administrator's token. So that is only for a machine whose owner alone can
//! submit jobs, and only when the operator says so; everywhere else jobs run as a user that owns nothing of the platform.

use std::{
    ops::RangeInclusive,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use rustix::process::{getegid, geteuid, getgroups};

use crate::{error::JobUserError, id_range::IdRange};

/// Whose rights jobs have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum JobsAs {
    /// No job is run.
    #[default]
    Off,
    /// The platform's own user's.
    Myself,
    /// Those of the user of that name, who owns nothing of the platform.
    User(String),
    /// Each job those of an id of its own.
    Range(IdRange),
}

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobUser {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The users that jobs run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobUsers {
    /// The one; of a range, the one that runs no job.
    pub(crate) user: JobUser,
    pub(crate) range: Option<IdRange>,
}

impl JobUsers {
    /// Theirs, and nobody else's.
    #[must_use]
    pub fn uids(&self) -> RangeInclusive<u32> {
        self.range.map_or(self.user.uid..=self.user.uid, IdRange::ids)
    }
}

impl JobUser {
    /// Lets a program run as this user, without any group but its primary one.
    pub(crate) fn apply(&self, command: &mut Command) {
        use std::os::unix::process::CommandExt;
        // The standard library drops the supplementary groups along with the user.
        command.gid(self.gid).uid(self.uid);
    }
}

impl JobsAs {
    /// What `--job-user` says: a name, or ids.
    ///
    /// # Errors
    /// When there can be no such ids.
    pub fn others(given: &str) -> Result<Self, JobUserError> {
        IdRange::read(given).map_or_else(|| Ok(Self::User(given.to_owned())), |range| range.map(Self::Range))
    }

    /// Decides whether jobs may run so. `exposed` says why others than this machine's owner can submit jobs, if they can;
    /// `owned` are the platform's files. `None`: jobs run as the platform's user, or not at all.
    ///
    /// # Errors
    /// When jobs could read what is the platform's, or when the user cannot be had.
    pub fn check(
        &self,
        exposed: Option<&str>,
        owned: impl IntoIterator<Item = PathBuf>,
    ) -> Result<Option<JobUsers>, JobUserError> {
        let name = match (self, exposed) {
            (Self::Off, _) | (Self::Myself, None) => return Ok(None),
            (Self::Myself, Some(exposed)) => {
                return Err(JobUserError(format!(
                    "{exposed}, and a job under the platform's own user can read its secrets: in place of --jobs-as-myself give --job-user NAME (a user that owns nothing of the platform) or --job-user FIRST-LAST (ids of which each job has its own), or --no-jobs"
                )));
            }
            (Self::Range(range), _) => {
                range.check(owned)?;
                let id = range.reserved();
                let user = JobUser { name: id.to_string(), uid: id, gid: id };
                return Ok(Some(JobUsers { user, range: Some(*range) }));
            }
            (Self::User(name), _) => name,
        };
        let user = look_up(name)?;
        refuse(&user, owned).map_or(Ok(()), |problem| Err(JobUserError(problem)))?;
        Ok(Some(JobUsers { user, range: None }))
    }
}

/// User and primary group of a name, as the system's own tool tells them.
fn look_up(name: &str) -> Result<JobUser, JobUserError> {
    let ask = |flag: &str| {
        let output = Command::new("id").args([flag, "--", name]).stdin(Stdio::null()).stderr(Stdio::null()).output();
        std::str::from_utf8(&output.ok()?.stdout).ok()?.trim().parse::<u32>().ok()
    };
    match (ask("-u"), ask("-g")) {
        (Some(uid), Some(gid)) => Ok(JobUser { name: name.to_owned(), uid, gid }),
        _ => Err(JobUserError(format!(
            "--job-user is '{name}', and this machine knows no such user: make one with useradd --system, or name another"
        ))),
    }
}

/// DropReason jobs must not run as that user.
fn refuse(user: &JobUser, owned: impl IntoIterator<Item = PathBuf>) -> Option<String> {
    let JobUser { name, uid, gid } = user;
    let own = geteuid();
    if *uid == 0 {
        return Some(format!("--job-user is '{name}', who may do everything: name a user that owns nothing of value"));
    }
    if *uid == own.as_raw() {
        return Some(format!(
            "--job-user is '{name}', the platform's own user, so jobs could read its secrets: start the platform as root and name another user, or serve with --no-jobs"
        ));
    }
    if !own.is_root() {
        return Some(format!(
            "only root can run jobs as '{name}': start the platform as root, or serve with --no-jobs"
        ));
    }
    let mut groups = getgroups().unwrap_or_default();
    groups.push(getegid());
    if *gid == 0 || groups.iter().any(|group| group.as_raw() == *gid) {
        return Some(format!(
            "the primary group of --job-user '{name}' is {gid}, which is the platform's too, so jobs could read what that group can: give the user a group of its own (usermod --gid), or name another"
        ));
    }
    let belongs = |path: &PathBuf| path.symlink_metadata().is_ok_and(|meta| meta.uid() == *uid || meta.gid() == *gid);
    owned.into_iter().find(belongs).map(|path| {
        let path = path.display();
        format!(
            "'{path}' belongs to --job-user '{name}', so jobs could change it: chown it to root, or name another user"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(jobs: &JobsAs, exposed: Option<&str>, owned: &[&str]) -> String {
        jobs.check(exposed, owned.iter().map(PathBuf::from)).unwrap_err().to_string()
    }

    #[test]
    fn jobs_as_the_platform_are_for_its_owner_alone() {
        assert_eq!(JobsAs::Myself.check(None, []).unwrap(), None);
        assert_eq!(JobsAs::Off.check(Some("others can reach it"), []).unwrap(), None);
        let text = problem(&JobsAs::Myself, Some("others can reach it"), &[]);
        assert!(text.starts_with("others can reach it") && text.contains("--job-user NAME"), "{text}");
    }

    #[test]
    fn a_user_that_could_reach_the_platform_s_files_is_refused() {
        let user = |name: &str| JobsAs::User(name.to_owned());
        assert!(problem(&user("no such user"), None, &[]).contains("knows no such user"));
        assert!(problem(&user("root"), None, &[]).contains("may do everything"));
        let (own, root) = (geteuid().as_raw(), geteuid().is_root());
        let of = |uid, gid, owned: &[&str]| {
            let user = JobUser { name: "x".to_owned(), uid, gid };
            refuse(&user, owned.iter().map(PathBuf::from))
        };
        if root {
            assert!(of(65_534, 0, &[]).unwrap().contains("primary group"));
            assert!(of(65_534, 65_534, &["/etc/passwd", "/does/not/exist"]).is_none());
            let file = tempfile::NamedTempFile::new().unwrap();
            std::os::unix::fs::chown(file.path(), Some(65_534), None).unwrap();
            assert!(of(65_534, 65_534, &[file.path().to_str().unwrap()]).unwrap().contains("belongs to --job-user"));
        } else {
            assert!(of(own, 65_534, &[]).unwrap().contains("the platform's own user"));
            assert!(of(own + 1, 65_534, &[]).unwrap().contains("only root"));
        }
    }
}
