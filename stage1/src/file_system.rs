//! New file systems of a pod, mounted nowhere yet, and whose a new directory is.
//!
//! **Runs as** the inside or its builder, as [`crate::rootfs`]. **Leaves** a descriptor. **Undone by** closing it.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use nix::fcntl::AtFlags;
use nix::unistd::{Gid, Uid, fchownat};

use crate::op::{FileSystem, NewMount};
use crate::sys;

/// A `tmpfs` whose root has this mode, in octal digits.
pub(crate) fn tmpfs(bits: &CStr) -> io::Result<OwnedFd> {
    let options = [(c"mode", bits.to_owned())];
    sys::new_mount(c"tmpfs", &options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
}

/// A file system with the options of the plan. Terminals are the only devices that one of them has.
pub(crate) fn new(mount: &NewMount) -> io::Result<OwnedFd> {
    let mut attributes = MOUNT_ATTR_NOSUID;
    // Terminals are devices.
    if mount.kind != FileSystem::Devpts {
        attributes |= MOUNT_ATTR_NODEV;
    }
    if mount.read_only {
        attributes |= MOUNT_ATTR_RDONLY;
    }
    if mount.kind != FileSystem::Tmpfs {
        attributes |= MOUNT_ATTR_NOEXEC;
    }
    let kind = CString::new(mount.kind.name())?;
    let mut options = Vec::with_capacity(mount.options.len());
    for (key, value) in &mount.options {
        options.push((CString::new(*key)?, CString::new(value.as_str())?));
    }
    let options: Vec<_> = options
        .iter()
        .map(|(key, value)| (key.as_c_str(), value.clone()))
        .collect();
    sys::new_mount(&kind, &options, attributes)
}

/// Gives a directory to a user and a group of the pod.
pub(crate) fn give(directory: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let itself = AtFlags::AT_EMPTY_PATH;
    Ok(fchownat(directory, "", Some(user), Some(group), itself)?)
}
