//! Linux namespaces for a run with an id of its own: what it sees of the machine.
//!
//! It has mounts of its own, in which `/proc` shows its processes alone and its id has a name, without which neither Java
//! nor Hadoop starts; and System V objects and message queues of its own, which go when its last process does.

use std::{
    fs, io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change},
    thread::UnshareFlags,
};

use crate::credentials::Credentials;

/// Takes this thread, and what it starts from now on, out of the machine's mounts. `folder` is the platform's own.
pub(crate) fn isolate(credentials: &Credentials, home: &Path, folder: &Path) -> io::Result<()> {
    unshare()?;
    let Credentials { uid, gid, cluster } = credentials;
    let user = format!("job-{uid}:x:{uid}:{gid}::{}:/bin/sh\n", home.display());
    let mut groups = format!("job-{gid}:x:{gid}:\n");
    if let Some(cluster) = cluster {
        groups.push_str(&format!("cluster-{cluster}:x:{cluster}:\n"));
    }
    name("passwd", &user, folder)?;
    name("group", &groups, folder)
}

/// Whether this system lets us, tried by a thread that ends with it.
pub(crate) fn probe() -> io::Result<()> {
    let tried = std::thread::spawn(unshare);
    tried.join().map_err(|_| io::Error::other("it cannot be tried"))?
}

fn unshare() -> io::Result<()> {
    #[expect(
        deprecated,
        reason = "unsafe is what shares open files with another thread no more, which is not asked for"
    )]
    rustix::thread::unshare(UnshareFlags::NEWNS | UnshareFlags::NEWIPC)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(mount("proc", "/proc", "proc", flags, Some(c"hidepid=2"))?)
}

/// Adds lines to one of the system's lists, for this run alone.
fn name(list: &str, lines: &str, folder: &Path) -> io::Result<()> {
    let (system, own) = (Path::new("/etc").join(list), folder.join(list));
    let mut text = fs::read(&system).unwrap_or_default();
    if text.last().is_some_and(|byte| *byte != b'\n') {
        text.push(b'\n');
    }
    text.extend_from_slice(lines.as_bytes());
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o644).open(&own)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    io::Write::write_all(&mut file, &text)?;
    Ok(mount_bind(&own, &system)?)
}
