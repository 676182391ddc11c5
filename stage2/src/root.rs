//! Entering an app's root, and opening files in it that its image may have made hostile.
//!
//! **Runs as** the pod's user 0 with all capabilities, in the mount namespace of pid 1.
//! **Needs** the app's root as a mount point with everything mounted that the app shall see.
//! **Leaves** a mount namespace in which nothing but the app's root can be reached: one of its own, or for the only app of a
//! pod that of pid 1, which has the same root.
//! **Undone by** the kernel, with the last process of that namespace.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, fchdir, pivot_root};
use pod::AppFile;

use crate::error::Error;

/// The root of the app, entered: proof that paths mean the image's files from here on.
pub(crate) struct Root(OwnedFd);

/// Makes the app's root the root of this process.
pub(crate) fn enter(app: &AppFile) -> Result<Root, Error> {
    let shared = app.root == "/";
    if !shared {
        unshare_mounts().map_err(Error::UnshareMounts)?;
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let root = open(app.root.as_str(), flags, Mode::empty())
        .map_err(|e| Error::OpenRoot(app.root.clone(), e))?;
    if !shared {
        pivot(&root).map_err(|e| Error::PivotRoot(app.root.clone(), e))?;
    }
    Ok(Root(root))
}

fn unshare_mounts() -> Result<(), Errno> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
}

/// The old root comes to lie over the new one (`pivot_root(2)`, "pivot_root(".", ".")") and is detached from there.
fn pivot(root: &OwnedFd) -> Result<(), Errno> {
    fchdir(root)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Root {
    /// Opens `path` without ever leaving the root or passing through a descriptor of some process.
    pub(crate) fn open(&self, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        open_in(&self.0, path, flags)
    }
}

/// Opens `path` below `directory` as if that were the root, without magic links.
pub(crate) fn open_in(directory: impl AsFd, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    // Whenever anything on the machine is renamed or mounted meanwhile, the kernel cannot be sure of a `..` and says so.
    // Somebody who renames without end must not keep us for ever.
    for _ in 0..RETRIES {
        match openat2(&directory, path, how) {
            Err(Errno::EAGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::EAGAIN)
}

/// Of one path, when the kernel was not sure.
const RETRIES: usize = 10_000;
