//! The signals that the keeper listens to, and passes on to the pod (`docs/decisions/0186-which-signals-are-passed-on.md`).
//!
//! **Runs as** the keeper. **Needs** what the caller ignored, as it was at the start. **Leaves** them blocked. **Undone by** the
//! keeper's end.

use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::error::Error;
use crate::sys;

/// Signals that ask the pod to end.
const ASKING: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// Signals that mean the keeper itself: SIGKILL and SIGSTOP, which nobody can listen to, those about its children, its pipes and
/// its job, and those that the kernel sends for what a process has done.
const OWN: [i32; 17] = [
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGCHLD,
    libc::SIGPIPE,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGCONT,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGABRT,
    libc::SIGXCPU,
    libc::SIGXFSZ,
];

/// The signals that the keeper listens to, blocked so that none is lost and none kills it.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Where they come in.
    pub(crate) descriptor: SignalFd,
}

impl Signals {
    /// Blocks them.
    pub(crate) fn block() -> Result<Self, Error> {
        let set = sys::signal_set((1..=libc::SIGRTMAX()).filter(|number| is_passed_on(*number)));
        set.thread_block().map_err(|e| Error::Signals(e.into()))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let descriptor = SignalFd::with_flags(&set, flags).map_err(|e| Error::Signals(e.into()))?;
        Ok(Self { descriptor })
    }

    /// A descriptor that is readable while a signal waits that asks the pod to end. Reading it is left to
    /// [`crate::wait::to_end`], through the other one.
    pub(crate) fn asking_to_end() -> Result<SignalFd, Error> {
        let set = sys::signal_set(ASKING.into_iter().filter(|number| is_passed_on(*number)));
        SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC).map_err(|e| Error::Signals(e.into()))
    }
}

/// What the caller ignored means nobody here: `nohup` ignores SIGHUP, and a shell without job control SIGINT and SIGQUIT for what
/// it starts with `&`. A signal that is blocked would be queued for us although it is ignored. SIGTERM is how a pod is stopped,
/// by us too.
fn is_passed_on(number: i32) -> bool {
    !OWN.contains(&number) && (number == libc::SIGTERM || !sys::is_ignored(number))
}
