//! The working directory of an app: made if it is missing, inside the root, never through a descriptor of some process.
//!
//! History: a working directory of `/proc/self/fd/N` that named a leaked descriptor of the host (CVE-2024-21626). Here
//! every step is resolved in the root without magic links, entered by descriptor, and the kernel is asked where we are.
//!
//! **Runs as** the pod's user 0. **Needs** the root entered. **Leaves** the working directory. **Undone by** nothing.

use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{fchdir, getcwd};
use pod::AppFile;

use crate::error::Error;
use crate::root::Root;

/// Enters the working directory.
pub(crate) fn enter(app: &AppFile, root: &Root) -> Result<(), Error> {
    let path = &app.working_directory;
    if !path.starts_with('/') {
        return Err(Error::OutsideRoot(path.clone()));
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let directory = match root.open(path, flags) {
        Err(Errno::ENOENT) => make(root, path).and_then(|()| root.open(path, flags)),
        other => other,
    };
    directory
        .and_then(fchdir)
        .map_err(|e| Error::WorkingDirectory(path.clone(), e))?;
    let here = getcwd().map_err(|e| Error::WorkingDirectory(path.clone(), e))?;
    // Outside of the root the kernel's answer begins with "(unreachable)".
    if here.starts_with("/") {
        Ok(())
    } else {
        Err(Error::OutsideRoot(path.clone()))
    }
}

/// Makes each missing directory of `path` in the directory before it, by descriptor.
fn make(root: &Root, path: &str) -> Result<(), Errno> {
    let mode = Mode::from_bits_truncate(0o755);
    let mut sofar = String::new();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let parent = if sofar.is_empty() { "/" } else { &sofar };
        let parent = root.open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        sofar = format!("{sofar}/{name}");
        match root.open(&sofar, OFlag::O_PATH) {
            Err(Errno::ENOENT) if name != ".." => match mkdirat(&parent, Path::new(name), mode) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(error),
            },
            _ => {}
        }
    }
    Ok(())
}
