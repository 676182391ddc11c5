//! A pseudo terminal of the pod, made in the `devpts` of an app.
//!
//! **Runs as** the inside, or as the usher of a program that enters. **Needs** the app's `/dev/pts`. **Leaves** both ends.
//! **Undone by** closing them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::inroot::{self, Kind};
use crate::op::Find;
use crate::sys;

/// A pseudo terminal of the pod.
pub(crate) struct Terminal {
    /// For the keeper.
    pub(crate) master: OwnedFd,
    /// For the app.
    pub(crate) slave: OwnedFd,
}

impl Terminal {
    /// Opens one: the slave is opened through the master, no path is walked.
    pub(crate) fn open(root: BorrowedFd<'_>) -> io::Result<Self> {
        let pts = inroot::open(root, "/dev/pts", Find::Existing, Kind::Directory)?;
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let master = openat(&pts, "ptmx", flags, Mode::empty())?;
        let slave = sys::terminal_peer(master.as_fd())?;
        // A caller without a window has no size to tell.
        let _ = sys::copy_window_size(io::stdin().as_fd(), master.as_fd());
        Ok(Self { master, slave })
    }
}
