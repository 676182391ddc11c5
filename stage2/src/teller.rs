//! Tells the keeper that every app of the pod has been executed: exec closes an app's end of its pipe of reports.
//!
//! While it waits for that, signals and time are not missed: what happens first ends the wait.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::write;
use pod::Word;

use crate::error::Error;
use crate::report::{Reports, Said};

/// Has something to tell to the keeper.
pub(crate) struct Teller {
    keeper: OwnedFd,
    /// Readable while a signal waits; it is never read.
    signals: SignalFd,
}

/// What came of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Every app has been executed.
    All,
    /// One of them never will be.
    Failure,
    /// A signal has come, or the time has passed.
    Other,
}

impl Teller {
    /// For a keeper, and while `signals` are blocked.
    pub(crate) fn new(keeper: OwnedFd, signals: &SigSet) -> Result<Self, Error> {
        let signals = SignalFd::with_flags(signals, SfdFlags::SFD_CLOEXEC);
        let signals = signals.map_err(|e| Error::Harden("watch for signals", e))?;
        Ok(Self { keeper, signals })
    }

    /// Waits until all apps with these reports have been executed.
    pub(crate) fn wait(
        &self,
        apps: &[&Reports],
        patience: Option<Duration>,
    ) -> Result<Heard, Errno> {
        loop {
            let mut watched = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            for app in apps {
                match app.said()? {
                    Said::Executed => {}
                    Said::Failure => return Ok(Heard::Failure),
                    Said::Nothing => watched.push(PollFd::new(app.as_fd(), PollFlags::POLLIN)),
                }
            }
            if watched.len() == 1 {
                return Ok(Heard::All);
            }
            let limit = patience.map(PollTimeout::try_from);
            let limit = limit.map_or(PollTimeout::NONE, |limit| limit.unwrap_or(PollTimeout::MAX));
            let signal = |first: &PollFd<'_>| first.any().unwrap_or(false);
            match poll(&mut watched, limit) {
                Ok(0) => return Ok(Heard::Other),
                Ok(_) if watched.first().is_some_and(signal) => return Ok(Heard::Other),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Tells. A keeper that is gone needs not know.
    pub(crate) fn tell(self) {
        let _ = write(&self.keeper, &Word::Ready.to_bytes());
    }

    /// Leaves it to somebody who has more to tell.
    pub(crate) fn into_keeper(self) -> OwnedFd {
        self.keeper
    }
}
