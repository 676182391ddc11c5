//! A process that ends at once: a user namespace is made with it, and can be entered in `/proc` until it is reaped.
//!
//! Until then `/proc/<pid>/uid_map`, `gid_map` and `ns/user` are those of its credentials, which a zombie still has (other
//! namespaces go when a process ends). It shares the memory of this process (`CLONE_VM`), so that neither has to copy a page
//! of it: that takes a third of the time of a fork. So it has a stack of its own here, and nothing to do on it.

use std::ffi::c_void;
use std::io;

use libc::c_int;

use super::{Child, check, owned};
use crate::wait;

/// Bytes of its stack.
const STACK: usize = 16 * 1024;

/// The process. When this value goes, the process is reaped, and only then its stack goes.
#[derive(Debug)]
pub(crate) struct Brief {
    child: Child,
    _stack: Box<[u128]>,
}

impl Brief {
    /// Clones it into a new user namespace.
    pub(crate) fn with_user_namespace() -> io::Result<Self> {
        let mut stack = vec![0_u128; STACK / size_of::<u128>()].into_boxed_slice();
        let top = stack.as_mut_ptr_range().end.cast::<c_void>();
        let flags = libc::CLONE_NEWUSER | libc::CLONE_VM | libc::CLONE_PIDFD | libc::SIGCHLD;
        let mut pidfd: c_int = -1;
        let nothing = std::ptr::null_mut();
        // SAFETY: the stack is aligned, large enough for `end`, and outlives the process: see `Drop`. `end` touches no memory
        // of ours but that stack.
        let pid = unsafe { libc::clone(end, top, flags, nothing, &raw mut pidfd) };
        let pid = check(pid.into())?;
        let child = Child {
            pid: u32::try_from(pid).map_err(io::Error::other)?,
            pidfd: owned(pidfd.into())?,
        };
        Ok(Self {
            child,
            _stack: stack,
        })
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> u32 {
        self.child.pid
    }
}

impl Drop for Brief {
    fn drop(&mut self) {
        let _ = wait::reap(&self.child);
    }
}

/// Its life.
extern "C" fn end(_: *mut c_void) -> c_int {
    0
}
