//! Asks the keeper of a running pod to end it, or kills the pod; the keeper does what follows. Nothing is waited for.

use std::os::fd::AsFd;

use pod::{PodDir, ProcessId, Running};

use crate::alive;
use crate::cgroup;
use crate::error::Error;
use crate::host;
use crate::sys;

/// How a pod is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// SIGTERM to the keeper, which stage2 turns into stop signals.
    Orderly,
    /// SIGKILL to pid 1, and with it to everything in the pod.
    Forced,
}

/// Sends pid 1 a signal, given by its number. stage2 passes it on to every app, but for those that ask it to stop the pod;
/// it cannot pass on what the kernel does not let it see.
pub(crate) fn kill(number: &str) -> Result<u8, Error> {
    let number: i32 = number.parse().map_err(|_| Error::Usage)?;
    if !(1..=64).contains(&number) || number == libc::SIGSTOP {
        return Err(Error::Usage);
    }
    let running = running()?;
    send(running.pod, number)
}

/// Sends the signal.
pub(crate) fn stop(how: How) -> Result<u8, Error> {
    let running = running()?;
    let (process, signal) = match how {
        How::Orderly => (running.keeper, libc::SIGTERM),
        How::Forced => (running.pod, libc::SIGKILL),
    };
    let sent = send(process, signal)?;
    if let (How::Forced, Some(cgroup)) = (how, cgroup::recorded(&PodDir::here(), &host::pod_id()?)?)
    {
        // Also what is on its way into the pod and not yet in its pid namespace.
        cgroup::kill(&cgroup)?;
    }
    Ok(sent)
}

/// Who is there to be told. stage0 has seen that the keeper lives.
fn running() -> Result<Running, Error> {
    let dir = PodDir::here();
    match alive::load(&dir)? {
        Some(running) => Ok(running),
        None if dir.pid().exists() => Err(Error::NotRunning),
        None => Err(Error::Starting),
    }
}

fn send(process: ProcessId, signal: i32) -> Result<u8, Error> {
    let pidfd = alive::open(process)?.ok_or(Error::NotRunning)?;
    match sys::send_signal(pidfd.as_fd(), signal) {
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Err(Error::NotRunning),
        other => other.map(|()| 0).map_err(|e| Error::Kill(process.pid, e)),
    }
}
