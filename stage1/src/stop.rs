//! Asks the keeper of a running pod to end it, or kills the pod; the keeper does what follows. Nothing is waited for.

use std::os::fd::AsFd;

use pod::PodDir;

use crate::alive;
use crate::error::Error;
use crate::sys;

/// How a pod is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// SIGTERM to the keeper, which stage2 turns into stop signals.
    Orderly,
    /// SIGKILL to pid 1, and with it to everything in the pod.
    Forced,
}

/// Sends the signal.
pub(crate) fn stop(how: How) -> Result<u8, Error> {
    let running = alive::load(&PodDir::here())?.ok_or(Error::NotRunning)?;
    let (process, signal) = match how {
        How::Orderly => (running.keeper, libc::SIGTERM),
        How::Forced => (running.pod, libc::SIGKILL),
    };
    let pidfd = alive::open(process)?.ok_or(Error::NotRunning)?;
    match sys::send_signal(pidfd.as_fd(), signal) {
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Err(Error::NotRunning),
        other => other.map(|()| 0).map_err(|e| Error::Kill(process.pid, e)),
    }
}
