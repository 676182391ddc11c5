//! Whose the pod's user namespace is.
//!
//! The kernel counts inotify instances, timers, queued signals and namespaces for a user of a user namespace, and once more, with
//! all others, for the owner of that namespace outside (`user_namespaces(7)`; `inc_ucount` of Linux 6.18). A pod of root's
//! belongs to user 0 of its own range: what its apps use up is not root's.
//!
//! **Runs as** the keeper, root, with the effective user of the pod meanwhile. **Needs** the range. **Leaves** nothing: the keeper
//! is as before, with what a change of user takes away. **Undone by** nothing.

use std::io;

use nix::errno::Errno;
use nix::sys::prctl::{get_dumpable, get_pdeathsig, set_dumpable, set_pdeathsig};
use nix::sys::signal::{Signal, raise};
use nix::unistd::{Pid, Uid, geteuid, getppid, seteuid};

use crate::error::Error;
use crate::sys::{self, Cloned};

/// Calls `clone` as `owner`, or as the caller when that is who owns the pod anyway.
pub(crate) fn clone_as(
    owner: Option<u32>,
    clone: impl FnOnce() -> io::Result<Cloned>,
) -> Result<Cloned, Error> {
    let Some(owner) = owner else {
        return clone().map_err(Error::Clone);
    };
    if !sys::may_signal_everybody().map_err(Error::Clone)? {
        return Err(Error::Unsignalled);
    }
    let failed = |e: Errno| Error::Clone(e.into());
    let caller = Caller::note().map_err(failed)?;
    seteuid(Uid::from_raw(owner)).map_err(|e| Error::Owner(owner, e.into()))?;
    // They go with user 0; a security module may ask for them at the clone, and the cgroup belongs to root.
    let cloned = sys::raise_capabilities().and_then(|()| clone());
    if !matches!(cloned, Ok(Cloned::Child)) {
        caller.back().map_err(failed)?;
    }
    cloned.map_err(Error::Clone)
}

/// What this process was before.
struct Caller {
    user: Uid,
    /// Who is not has files in `/proc` that CAP_SYS_PTRACE alone opens, also for itself, and a unit need not have it.
    dumpable: bool,
    /// The signal that was asked for when the parent ends.
    death: Option<Signal>,
    parent: Pid,
}

impl Caller {
    fn note() -> Result<Self, Errno> {
        Ok(Self {
            user: geteuid(),
            dumpable: get_dumpable()?,
            death: get_pdeathsig()?,
            parent: getppid(),
        })
    }

    fn back(self) -> Result<(), Errno> {
        seteuid(self.user)?;
        set_dumpable(self.dumpable)?;
        let Some(signal) = self.death else {
            return Ok(());
        };
        set_pdeathsig(signal)?;
        // A parent that has ended meanwhile has ended unheard.
        if getppid() == self.parent {
            return Ok(());
        }
        raise(signal)
    }
}
