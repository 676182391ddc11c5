//! What pid 1 and the child that becomes an app say to each other: one pipe per app, and one gate for all of them.
//!
//! The child writes [`READY`] when it is confined, or why it failed, and waits at the gate. The gate opens when every app is
//! confined: so a limit or a filter that cannot be had is found before any app of the pod runs. Exec closes the pipe.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{pipe2, read};

use crate::error::{self, Error};
use crate::sockets::{self, Socket};
use crate::sys;
use crate::user::{Identity, Ids};

/// The child is confined and waits at the gate. The count of its ids follows, and they.
const READY: u8 = 0;
/// The child has failed; its message follows.
const FAILED: char = '\u{2}';
/// Between a cause and its hint.
const HINT: char = '\u{1}';
/// The longest message.
const MAX_MESSAGE: u64 = 4096;

/// Keeps every app from exec until all are confined.
pub(crate) struct Gate {
    wait: OwnedFd,
    open: Option<OwnedFd>,
}

impl Gate {
    /// A closed gate, for several apps; a single one has nobody to wait for and finds it open.
    pub(crate) fn new(apps: usize) -> Result<Self, Errno> {
        let (wait, open) = pipe2(OFlag::O_CLOEXEC)?;
        let open = (apps > 1).then_some(open);
        Ok(Self { wait, open })
    }

    /// Lets every child that waits go on.
    pub(crate) fn open(self) {
        drop(self.open);
    }
}

/// Pid 1's end of one app's pipe.
pub(crate) struct Reports(File);

/// What an app has said since the gate was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Nothing yet.
    Nothing,
    /// Nothing, and it never will: it has been executed.
    Executed,
    /// Why it failed.
    Failure,
}

/// The child's end, and its place at the gate: the only descriptors it keeps besides the standard ones and its sockets.
pub(crate) struct Reporter {
    pipe: File,
    gate: OwnedFd,
}

/// Why an app was not executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What was done to which thing, and the cause.
    pub(crate) cause: String,
    /// What the user can do about it.
    pub(crate) hint: Option<String>,
}

/// The two ends of one app's pipe.
pub(crate) fn pipe() -> Result<(Reports, OwnedFd), Errno> {
    let (reports, tell) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    Ok((Reports(File::from(reports)), tell))
}

impl Reports {
    /// Waits until the child is ready, and has said who it is, or has failed.
    pub(crate) fn ready(&self) -> Result<Option<Ids>, Errno> {
        let mut watched = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        while let Err(error) = poll(&mut watched, PollTimeout::NONE) {
            if error != Errno::EINTR {
                return Err(error);
            }
        }
        let mut first = [0];
        if read(&self.0, &mut first)? != 1 || first != [READY] {
            return Ok(None);
        }
        // It was written by one call, and is short enough to be in the pipe as a whole.
        let mut count = [0];
        read(&self.0, &mut count)?;
        let mut bytes = vec![0; usize::from(count[0]) * 4];
        let length = read(&self.0, &mut bytes)?;
        let (numbers, _) = bytes[..length].as_chunks::<4>();
        let numbers: Vec<u32> = numbers.iter().copied().map(u32::from_ne_bytes).collect();
        Ids::new(&numbers).map(Some).ok_or(Errno::EBADMSG)
    }

    /// What the child has said, without reading it.
    pub(crate) fn said(&self) -> Result<Said, Errno> {
        let mut watched = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        poll(&mut watched, PollTimeout::ZERO)?;
        let events = watched[0].revents().unwrap_or(PollFlags::empty());
        Ok(
            match (events.contains(PollFlags::POLLIN), events.is_empty()) {
                (true, _) => Said::Failure,
                (false, false) => Said::Executed,
                (false, true) => Said::Nothing,
            },
        )
    }

    /// Why the app was never executed; to be asked when its process has ended.
    pub(crate) fn failure(&mut self) -> Option<Failure> {
        let mut bytes = Vec::new();
        // Nothing written and nobody left to write is the end of file: exec closed the other end.
        let _ = (&mut self.0).take(MAX_MESSAGE).read_to_end(&mut bytes);
        // That it was ready may not have been read, when another app was not.
        let rest = match bytes[..] {
            [READY, count, ref rest @ ..] => rest.get(usize::from(count) * 4..).unwrap_or_default(),
            ref rest => rest,
        };
        let text = String::from_utf8_lossy(rest);
        let text = text.trim_start_matches(FAILED);
        let (cause, hint) = text.split_once(HINT).unwrap_or((text, ""));
        (!cause.is_empty()).then(|| Failure {
            cause: cause.to_owned(),
            hint: (!hint.is_empty()).then(|| hint.to_owned()),
        })
    }
}

impl AsFd for Reports {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Reporter {
    /// In the child: puts the app's sockets where it will look for them, and both descriptors where nothing else is, and closes
    /// everything else.
    pub(crate) fn take(tell: &OwnedFd, gate: &Gate, sockets: &[Socket]) -> Result<Self, Errno> {
        // Through higher numbers, so that none is overwritten before it is moved.
        let least = i32::try_from(sockets.len()).map_or(i32::MAX, |count| count.saturating_add(16));
        let tell = sys::duplicate_above(tell, least)?;
        let wait = sys::duplicate_above(&gate.wait, least)?;
        let free = sockets::place(sockets, least)?;
        let reporter = Self {
            pipe: File::from(sys::move_to(tell, free)?),
            gate: sys::move_to(wait, free + 1)?,
        };
        sys::close_from(free.cast_unsigned() + 2)?;
        Ok(reporter)
    }

    /// Says that this child is confined, and who it is, and waits until all are.
    pub(crate) fn wait_at_gate(&mut self, identity: &Identity) -> Result<(), Error> {
        let failed = |e| Error::Harden("wait for the other apps", e);
        let numbers = identity.numbers();
        let count = u8::try_from(numbers.len()).map_err(|_| failed(Errno::EMSGSIZE))?;
        let mut said = vec![READY, count];
        said.extend(numbers.into_iter().flat_map(u32::to_ne_bytes));
        self.pipe
            .write_all(&said)
            .map_err(|e| failed(error::errno(&e)))?;
        loop {
            match read(&self.gate, &mut [0]) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Says why this child failed.
    pub(crate) fn failed(&mut self, error: &Error) {
        let hint = error.hint().unwrap_or_default();
        let message = format!("{FAILED}{}{HINT}{hint}", error::joined(error));
        // When even this fails, the exit status alone says that it was us.
        let _ = self.pipe.write_all(message.as_bytes());
    }
}
