//! Devices of an app: the host's own nodes, opened once and checked, or nodes that the keeper makes for the pod.
//!
//! A pod of root has none of the host's users, so of the host's nodes it could use only those that everybody can. Its nodes
//! are made by the keeper instead, in the pod directory, owned by the host's root: the pod can neither change their mode nor
//! get around it, so what was not asked for is denied.
//!
//! **Runs as** the keeper (making) and the inside (checking). **Leaves** nodes, mounts. **Undone by** the removal of the pod.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use libc::{MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, SFlag, major, makedev, minor, mknod};
use nix::unistd::{AccessFlags, faccessat};

use pod::{DeviceKind, PodDir};

use crate::error::Error;
use crate::inroot;
use crate::op::Device;
use crate::plan::DeviceNode;
use crate::sys;

/// Makes the nodes of every app. They are owned by root, whatever the directories below which they lie.
pub(crate) fn make_nodes(pod: &PodDir, nodes: &[DeviceNode]) -> Result<(), Error> {
    for made in nodes {
        let directory = pod.devices(&made.app);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|e| Error::PodFile(directory.clone(), e))?;
        let path = directory.join(made.number.to_string());
        node(&path, &made.device).map_err(|e| Error::PodFile(path, e))?;
    }
    Ok(())
}

fn node(path: &Path, device: &pod::Device) -> io::Result<()> {
    let kind = match device.kind {
        DeviceKind::Block => SFlag::S_IFBLK,
        DeviceKind::Character => SFlag::S_IFCHR,
    };
    let number = makedev(device.major.into(), device.minor.into());
    mknod(path, kind, Mode::empty(), number)?;
    let read = if device.read { 0o444 } else { 0 };
    let write = if device.write { 0o222 } else { 0 };
    fs::set_permissions(path, Permissions::from_mode(read | write))
}

/// Another mount of a node of the host.
pub(crate) fn of_host(path: &str) -> io::Result<OwnedFd> {
    let mount = sys::clone_tree(sys::here(), Path::new(path), false)?;
    let flags = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
    sys::set_mount_attributes(mount.as_fd(), false, flags, None)?;
    Ok(mount)
}

/// A mounted node must be the device that it should be.
pub(crate) fn check(mount: BorrowedFd<'_>, device: Device) -> io::Result<()> {
    let found = inroot::look(mount)?;
    let kind = match SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFCHR => DeviceKind::Character,
        SFlag::S_IFBLK => DeviceKind::Block,
        _ => return Err(Errno::ENODEV.into()),
    };
    let numbers = (major(found.st_rdev), minor(found.st_rdev));
    let wanted = (u64::from(device.numbers.0), u64::from(device.numbers.1));
    if kind == device.kind && numbers == wanted {
        Ok(())
    } else {
        Err(Errno::ENODEV.into())
    }
}

/// May this process, root of the pod, read and write it? Asked of the node, not of the device.
pub(crate) fn usable(mount: BorrowedFd<'_>) -> io::Result<()> {
    let both = AccessFlags::R_OK | AccessFlags::W_OK;
    let flags = AtFlags::AT_EMPTY_PATH | AtFlags::AT_EACCESS;
    Ok(faccessat(mount, "", both, flags)?)
}
