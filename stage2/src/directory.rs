//! The working directory of an app: made if it is missing, inside the root, never through a descriptor of some process, and
//! never on a volume of the host (`docs/decisions/0187-where-a-working-directory-is-made.md`).
//!
//! History: a working directory of `/proc/self/fd/N` that named a leaked descriptor of the host (CVE-2024-21626). Here
//! every step is resolved in the root without magic links, entered by descriptor, and the kernel is asked where we are.
//!
//! **Runs as** the pod's user 0. **Needs** the root entered. **Leaves** the working directory. **Undone by** nothing.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{fchdir, getcwd};
use pod::AppFile;

use crate::error::Error;
use crate::root::Root;
use crate::sys;

/// Enters the working directory.
pub(crate) fn enter(app: &AppFile, root: &Root) -> Result<(), Error> {
    let path = &app.working_directory;
    if !path.starts_with('/') {
        return Err(Error::OutsideRoot(path.clone()));
    }
    let failed = |e| Error::WorkingDirectory(path.clone(), e);
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let directory = match root.open(path, flags) {
        Err(Errno::ENOENT) => {
            let made = make(app, root).map_err(failed)?;
            if !made {
                return Err(Error::NoWorkingDirectory(path.clone()));
            }
            root.open(path, flags)
        }
        other => other,
    };
    directory.and_then(fchdir).map_err(failed)?;
    let here = getcwd().map_err(failed)?;
    // Outside of the root the kernel's answer begins with "(unreachable)".
    if here.starts_with("/") {
        Ok(())
    } else {
        Err(Error::OutsideRoot(path.clone()))
    }
}

/// Makes each missing directory of the path in the directory before it, by descriptor. False: that is not the pod's own.
fn make(app: &AppFile, root: &Root) -> Result<bool, Errno> {
    let own = own_mounts(app, root)?;
    let mode = Mode::from_bits_truncate(0o755);
    let mut sofar = String::new();
    for name in app
        .working_directory
        .split('/')
        .filter(|name| !name.is_empty())
    {
        let parent = if sofar.is_empty() { "/" } else { &sofar };
        let parent = root.open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        sofar = format!("{sofar}/{name}");
        match root.open(&sofar, OFlag::O_PATH) {
            Err(Errno::ENOENT) if !own.contains(&sys::mount_of(parent.as_fd())?) => {
                return Ok(false);
            }
            Err(Errno::ENOENT) if name != ".." => match mkdirat(&parent, Path::new(name), mode) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(error),
            },
            _ => {}
        }
    }
    Ok(true)
}

/// The mounts that end with the pod or are in its directory. Below a volume of the host there may be others, which are not.
fn own_mounts(app: &AppFile, root: &Root) -> Result<BTreeSet<u64>, Errno> {
    let mount = |path: &str| sys::mount_of(root.open(path, OFlag::O_PATH)?.as_fd());
    let made = app.mounts.iter().map(|made| &made.path);
    let (of_host, volumes): (Vec<_>, Vec<_>) = app.volumes.iter().partition(|one| one.of_host);
    let volumes = volumes.into_iter().map(|volume| &volume.path);
    let mut own: BTreeSet<u64> = made
        .chain(volumes)
        .map(|path| mount(path))
        .collect::<Result<_, _>>()?;
    own.insert(sys::mount_of(root.as_fd())?);
    for volume in of_host {
        own.remove(&mount(&volume.path)?);
    }
    Ok(own)
}
