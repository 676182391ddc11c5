//! Finding the processes of a running pod, from the outside, without mistaking another process for one of them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pod::{PodDir, ProcessId, Running};

use crate::error::Error;
use crate::host;
use crate::sys;

/// What the file `pid` says, if it is of this boot. `None`: it was never written, or everything ended with a reboot.
pub(crate) fn load(dir: &PodDir) -> Result<Option<Running>, Error> {
    let running: Running = match pod::load(&dir.pid()) {
        Ok(running) => running,
        Err(pod::Error::Read(_, e)) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    Ok((running.boot_id == host::boot_id()?).then_some(running))
}

/// A hold on a process. `None`: it has ended. The start time is compared while the pidfd holds the pid.
pub(crate) fn open(process: ProcessId) -> Result<Option<OwnedFd>, Error> {
    let pidfd = match sys::pidfd_open(process.pid) {
        Ok(pidfd) => pidfd,
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
        Err(e) => return Err(Error::Process(process.pid, e)),
    };
    let same = host::start_time(process.pid).is_ok_and(|found| found == process.start_time);
    Ok(same.then_some(pidfd))
}

/// Whether a process has ended, though its parent may not know of it yet.
pub(crate) fn has_ended(process: ProcessId) -> bool {
    match open(process) {
        Ok(Some(pidfd)) => {
            let mut ended = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
            poll(&mut ended, PollTimeout::ZERO).is_ok_and(|count| count > 0)
        }
        Ok(None) => true,
        Err(_) => false,
    }
}

/// Kills a process, and waits until it is gone.
pub(crate) fn kill(process: ProcessId) -> Result<(), Error> {
    let Some(pidfd) = open(process)? else {
        return Ok(());
    };
    let failed = |e| Error::Kill(process.pid, e);
    match sys::send_signal(pidfd.as_fd(), libc::SIGKILL) {
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
        other => other.map_err(failed)?,
    }
    loop {
        let mut ended = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ended, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            other => return other.map(drop).map_err(|e| failed(e.into())),
        }
    }
}
