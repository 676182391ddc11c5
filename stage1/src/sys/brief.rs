//! A process that ends at once: a user namespace is made with it, and can be entered in `/proc` until it is reaped.
//!
//! Until then `/proc/<pid>/uid_map`, `gid_map` and `ns/user` are those of its credentials, which a zombie still has (other
//! namespaces go when a process ends).

use std::io;

use super::Child;
use super::share::{Stack, share};
use crate::wait;

/// The process. When this value goes, the process is reaped, and only then its stack goes.
#[derive(Debug)]
pub(crate) struct Brief {
    child: Child,
    _stack: Stack,
}

impl Brief {
    /// Clones it into a new user namespace.
    pub(crate) fn with_user_namespace() -> io::Result<Self> {
        let stack = Stack::new()?;
        // SAFETY: such a life touches nothing, and the stack outlives it: see `Drop`.
        let child = unsafe { share(libc::CLONE_NEWUSER, &stack, || 0) }?;
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
