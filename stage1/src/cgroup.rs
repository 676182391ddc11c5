//! The pod's own cgroup of version 2, so that all of it can be found and killed at once.
//!
//! **Runs as** the keeper. **Needs** a cgroup2 mount in which the caller may make directories; without one there is no
//! cgroup. **Leaves** a directory and the file `cgroup`. **Undone by** [`remove`], here or in `gc`.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};
use pod::{PodDir, PodId};

use crate::error::Error;

/// A cgroup of a pod.
#[derive(Debug)]
pub(crate) struct Cgroup {
    /// Its directory.
    path: PathBuf,
    /// The directory, for `CLONE_INTO_CGROUP`.
    pub(crate) directory: File,
}

/// Makes the pod's cgroup below the caller's own. `None`: there is no cgroup2 here, or the caller may not.
pub(crate) fn make(pod: &PodDir, id: &PodId) -> Result<Option<Cgroup>, Error> {
    let Some(parent) = own().map_err(Error::FindCgroup)? else {
        return Ok(None);
    };
    if access(&parent, AccessFlags::W_OK).is_err() {
        return Ok(None);
    }
    let path = parent.join(format!("skua-{id}"));
    // Recorded first: whoever finds the pod after a crash finds the cgroup too, if it was made.
    record(pod, &path).map_err(|e| Error::MakeCgroup(path.clone(), e))?;
    let made = DirBuilder::new().mode(0o755).create(&path);
    match made.and_then(|()| File::open(&path)) {
        Ok(directory) => Ok(Some(Cgroup { path, directory })),
        Err(e) => {
            let _ = fs::remove_dir(&path);
            let _ = fs::remove_file(pod.cgroup());
            if is_absence(&e) {
                Ok(None)
            } else {
                Err(Error::MakeCgroup(path, e))
            }
        }
    }
}

/// The caller has no cgroup of its own to make one in.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
    matches!(
        error.kind(),
        NotFound | PermissionDenied | ReadOnlyFilesystem
    )
}

fn record(pod: &PodDir, path: &Path) -> io::Result<()> {
    let mut line = path.as_os_str().as_encoded_bytes().to_vec();
    line.push(b'\n');
    fs::write(pod.cgroup(), line)
}

/// The recorded cgroup of a pod, if it has one.
pub(crate) fn recorded(pod: &PodDir) -> Result<Option<PathBuf>, Error> {
    match fs::read_to_string(pod.cgroup()) {
        Ok(line) => Ok(Some(PathBuf::from(line.trim_end_matches('\n')))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::FindCgroup(e)),
    }
}

impl Cgroup {
    /// Kills what is left in it and removes it.
    pub(crate) fn remove(self) -> Result<(), Error> {
        remove(&self.path)
    }
}

/// Kills what is left in a pod's cgroup and removes it. One that is gone already is as good.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    for _ in 0..REMOVE_TRIES {
        match fs::remove_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy => kill(path)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => return other.map_err(|e| Error::RemoveCgroup(path.to_owned(), e)),
        }
    }
    let busy = io::Error::from(io::ErrorKind::ResourceBusy);
    Err(Error::RemoveCgroup(path.to_owned(), busy))
}

/// A killed process needs a moment to be gone; 200 times 10 ms.
const REMOVE_TRIES: usize = 200;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

fn kill(path: &Path) -> Result<(), Error> {
    fs::write(path.join("cgroup.kill"), "1")
        .map_err(|e| Error::RemoveCgroup(path.to_owned(), e))?;
    std::thread::sleep(PAUSE);
    Ok(())
}

/// The directory of the caller's own cgroup.
fn own() -> io::Result<Option<PathBuf>> {
    let cgroups = fs::read_to_string("/proc/self/cgroup")?;
    let Some(own) = cgroups.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return Ok(None);
    };
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(mounts
        .lines()
        .find_map(mount_point)
        .map(|mount| mount.join(own)))
}

/// Where a line of mountinfo mounts the root of cgroup2.
fn mount_point(line: &str) -> Option<PathBuf> {
    let (mount, file_system) = line.split_once(" - ")?;
    if !file_system.starts_with("cgroup2 ") {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    (root == "/" && !point.contains('\\')).then(|| PathBuf::from(point))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_cgroup2_is_found_by_type_and_root() {
        for (line, expected) in [
            (
                "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
                Some("/sys/fs/cgroup/unified"),
            ),
            (
                "41 31 0:38 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw",
                Some("/sys/fs/cgroup"),
            ),
            (
                "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu",
                None,
            ),
            ("41 31 0:38 /sub /mnt rw - cgroup2 cgroup2 rw", None),
            ("41 31 0:38 / /a\\040b rw - cgroup2 cgroup2 rw", None),
            ("", None),
        ] {
            assert_eq!(mount_point(line), expected.map(PathBuf::from), "{line}");
        }
    }
}
