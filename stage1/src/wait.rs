//! The keeper's long life: it waits for the end of the pod and passes signals on.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use crate::error::Error;
use crate::sys::{self, Child};

/// Signals that ask the pod to end; they are for stage2.
const FORWARDED: [Signal; 4] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
];

/// The signals that the keeper listens to, blocked so that none is lost and none kills it.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Where they come in.
    pub(crate) descriptor: SignalFd,
}

/// How stage2 ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

impl Signals {
    /// Blocks them. A caller may have ignored `SIGCHLD`, which would let the kernel forget how the pod ended.
    pub(crate) fn block() -> Result<Self, Error> {
        sys::default_action(libc::SIGCHLD);
        let mut set: SigSet = FORWARDED.into_iter().collect();
        set.add(Signal::SIGWINCH);
        set.thread_block().map_err(|e| Error::Signals(e.into()))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let descriptor = SignalFd::with_flags(&set, flags).map_err(|e| Error::Signals(e.into()))?;
        Ok(Self { descriptor })
    }
}

/// Waits for the end of the pod, by its pidfd: who holds its standard streams open does not matter.
pub(crate) fn to_end(
    child: &Child,
    signals: &Signals,
    terminal: Option<OwnedFd>,
) -> Result<Ended, Error> {
    drop(terminal);
    loop {
        let both = [child.pidfd.as_fd(), signals.descriptor.as_fd()];
        let mut both = both.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut both, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(Error::Wait(e.into())),
        }
        let [ended, signaled] = both.map(|fd| fd.any().unwrap_or(false));
        if ended {
            return reap(child);
        }
        if signaled {
            forward(child, signals)?;
        }
    }
}

fn forward(child: &Child, signals: &Signals) -> Result<(), Error> {
    while let Some(information) = signals
        .descriptor
        .read_signal()
        .map_err(|e| Error::Signals(e.into()))?
    {
        let number = information.ssi_signo.cast_signed();
        if number != libc::SIGWINCH {
            let _ = sys::send_signal(child.pidfd.as_fd(), number);
        }
    }
    Ok(())
}

/// Takes the exit status of a child that has ended, or waits for it.
pub(crate) fn reap(child: &Child) -> Result<Ended, Error> {
    loop {
        match waitid(Id::PIDFd(child.pidfd.as_fd()), WaitPidFlag::WEXITED) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(Ended::Exited(code)),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Ended::Killed(signal as i32)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(Error::Wait(io::Error::from(e))),
        }
    }
}

/// Now, in nanoseconds since 1970 UTC.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
