//! A process that does nothing: namespaces are made with it, and last while somebody has them open.
//!
//! It shares the memory of this process (`CLONE_VM`), so that neither has to copy a page of it: that takes a third of the time
//! of a fork. So it has a stack of its own here, and on it makes system calls and nothing else.

use std::ffi::c_void;
use std::io;
use std::os::fd::AsFd;

use libc::c_int;

use super::{Child, check, owned, send_signal};
use crate::wait;

/// Bytes of its stack.
const STACK: usize = 16 * 1024;

/// The process. When this value goes, the process is killed and reaped, and only then its stack goes.
#[derive(Debug)]
pub(crate) struct Idle {
    child: Child,
    killed: bool,
    _stack: Box<[u128]>,
}

impl Idle {
    /// Clones it into new namespaces.
    pub(crate) fn new(namespaces: c_int) -> io::Result<Self> {
        let mut stack = vec![0_u128; STACK / size_of::<u128>()].into_boxed_slice();
        let top = stack.as_mut_ptr_range().end.cast::<c_void>();
        let flags = namespaces | libc::CLONE_VM | libc::CLONE_PIDFD | libc::SIGCHLD;
        let mut pidfd: c_int = -1;
        let parent = std::ptr::without_provenance_mut(std::process::id() as usize);
        // SAFETY: the stack is aligned, large enough for `idle`, and outlives the process: see `Drop`. `idle` touches no memory
        // of ours but that stack: its argument is a number.
        let pid = unsafe { libc::clone(idle, top, flags, parent, &raw mut pidfd) };
        let pid = check(pid.into())?;
        let child = Child {
            pid: u32::try_from(pid).map_err(io::Error::other)?,
            pidfd: owned(pidfd.into())?,
        };
        Ok(Self {
            child,
            killed: false,
            _stack: stack,
        })
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> u32 {
        self.child.pid
    }

    /// Kills it, without waiting for its end.
    pub(crate) fn kill(&mut self) {
        if !self.killed {
            // It fails only when the process has ended already.
            let _ = send_signal(self.child.pidfd.as_fd(), libc::SIGKILL);
            self.killed = true;
        }
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.kill();
        let _ = wait::reap(&self.child);
    }
}

/// Its life. Its end must not depend on ours being orderly: it would wait for ever, and hold the pod's lock. When we were
/// killed before it asked to go with us, it has another parent by now, and ends.
extern "C" fn idle(parent: *mut c_void) -> c_int {
    // SAFETY: no pointers.
    let asked = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: it has no preconditions.
    while asked == 0 && unsafe { libc::getppid() } as usize == parent.addr() {
        // SAFETY: it has no preconditions.
        unsafe { libc::pause() };
    }
    0
}
