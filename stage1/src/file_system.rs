//! New file systems of a pod, mounted nowhere yet.
//!
//! **Runs as** the inside or its builder, as [`crate::rootfs`]. **Leaves** a descriptor. **Undone by** closing it.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::OwnedFd;

use libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};

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
