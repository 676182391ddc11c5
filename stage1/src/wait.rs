//! The keeper's long life: it waits for the end of the pod and passes signals on.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::Error;
use crate::notify::Notify;
use crate::outlet::Outlets;
use crate::signals::Signals;
use crate::sys::{self, Child};
use crate::terminal::Relay;

/// When nothing has happened for so many milliseconds, the keeper waits on in as little memory as possible.
const SHORT: u8 = 200;

/// How stage2 ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

impl Ended {
    /// The exit status that a shell would show: the code, or 128 + signal.
    pub(crate) fn exit_status(self) -> u8 {
        let status = match self {
            Self::Exited(code) => code,
            Self::Killed(signal) => 128 + signal,
        };
        u8::try_from(status).unwrap_or(u8::MAX)
    }
}

/// Waits for the end of the pod, by its pidfd: who holds its standard streams open does not matter. `process` gets the
/// signals: the pod's pid 1, or a program that entered the pod. `notify` hears what it is waiting for.
pub(crate) fn to_end(
    child: &Child,
    process: BorrowedFd<'_>,
    signals: &Signals,
    terminal: Option<OwnedFd>,
    mut outlets: Outlets,
    mut notify: Option<&mut Notify>,
) -> Result<Ended, Error> {
    let mut relay = terminal.map(Relay::begin).transpose()?;
    loop {
        let event = notify.as_ref().and_then(|notify| notify.event());
        let ready = until_ready(child, signals, event, relay.as_ref(), &outlets)?;
        let said = event.is_some_and(|event| ready.contains(&event.as_raw_fd()));
        if let (true, Some(notify)) = (said, &mut notify) {
            notify.heard();
        }
        if ready.contains(&child.pidfd.as_raw_fd()) {
            if let Some(relay) = relay {
                relay.finish();
            }
            outlets.finish()?;
            return reap(child);
        }
        if ready.contains(&signals.descriptor.as_fd().as_raw_fd()) {
            let notify = notify.as_deref_mut();
            pass_signals(process, signals, relay.as_ref(), notify)?;
        }
        let is_ready = |descriptor: BorrowedFd<'_>| ready.contains(&descriptor.as_raw_fd());
        if let Some(relay) = &mut relay {
            relay.pass(is_ready)?;
        }
        outlets.pass(is_ready);
    }
}

/// The descriptors on which something has happened.
fn until_ready(
    child: &Child,
    signals: &Signals,
    event: Option<BorrowedFd<'_>>,
    relay: Option<&Relay>,
    outlets: &Outlets,
) -> Result<Vec<RawFd>, Error> {
    let always = [child.pidfd.as_fd(), signals.descriptor.as_fd()];
    let watched = always.into_iter().chain(event);
    let mut all: Vec<_> = watched
        .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
        .collect();
    all.extend(relay.into_iter().flat_map(Relay::events));
    all.extend(outlets.events());
    let waited = match poll(&mut all, PollTimeout::from(SHORT)) {
        Ok(0) => {
            sys::forget_code();
            poll(&mut all, PollTimeout::NONE)
        }
        other => other,
    };
    match waited {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(e) => return Err(Error::Wait(e.into())),
    }
    let ready = all.iter().filter(|fd| fd.any().unwrap_or(false));
    Ok(ready.map(|fd| fd.as_fd().as_raw_fd()).collect())
}

fn pass_signals(
    process: BorrowedFd<'_>,
    signals: &Signals,
    relay: Option<&Relay>,
    mut notify: Option<&mut Notify>,
) -> Result<(), Error> {
    let next = || {
        signals
            .descriptor
            .read_signal()
            .map_err(|e| Error::Signals(e.into()))
    };
    while let Some(information) = next()? {
        let number = information.ssi_signo.cast_signed();
        if number == libc::SIGWINCH
            && let Some(relay) = relay
        {
            relay.resize();
        }
        // Of the caller's window; what has no terminal of the pod is not shown in it.
        if number == libc::SIGWINCH && information.ssi_code == libc::SI_KERNEL {
            continue;
        }
        if let Some(notify) = &mut notify {
            notify.signalled(number);
        }
        // A process that has just ended needs no signal.
        drop(sys::send_signal(process, number));
    }
    Ok(())
}

/// Takes the exit status of a child that has ended, or waits for it.
pub(crate) fn reap(child: &Child) -> Result<Ended, Error> {
    loop {
        match sys::wait_for_end(child.pidfd.as_fd()) {
            Ok((libc::CLD_EXITED, code)) => return Ok(Ended::Exited(code)),
            Ok((_, signal)) => return Ok(Ended::Killed(signal)),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::Wait(e)),
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
