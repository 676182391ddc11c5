//! What apps write to standard output and error where the caller's are terminals, files or sockets: they get pipes, and the keeper
//! passes on what comes (`docs/decisions/0192-outputs-are-passed-on.md`).
//!
//! A descriptor gives more than writing: an app whose user is the caller outside could make the caller's file a set-id program or
//! his terminal everybody's, and any could change how the terminal works. And no program can open a socket again as
//! `/dev/stdout`, where many images log: standard output of a unit is one, which leads to the journal.
//!
//! **Runs as** the keeper. **Needs** that apps get its own streams. **Leaves** pipes as its standard output and error until
//! [`Outlets::take_back`], and what there is to pass on until [`Outlets::finish`]. **Undone by** dropping it.

use std::io::{self, IsTerminal, PipeReader, pipe};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt,
    send, sockopt,
};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat};
use nix::unistd::{dup2_stderr, dup2_stdout, write};

use crate::buffer::Buffer;
use crate::error::Error;
use crate::signals::Signals;
use crate::streams::AGAIN;

/// Bytes that one of them may have to pass on.
const PASSING: usize = 16 << 10;

/// All of them.
#[derive(Default)]
pub(crate) struct Outlets {
    outlets: Vec<Outlet>,
    /// The caller's standard output and error, while pipes are in their place.
    callers: [Option<OwnedFd>; 2],
}

/// One way out of the pod.
struct Outlet {
    name: &'static str,
    /// What comes from the pod; absent when nobody is left there, or behind the other end.
    from: Option<PipeReader>,
    to: OwnedFd,
    kind: Kind,
    passing: Buffer,
    /// Why something was lost.
    failure: Option<Errno>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Terminal,
    File,
    Socket,
}

impl Outlets {
    /// Puts pipes in the place of standard output and error. Two that are the same stay the same, so that what is written to
    /// them stays in order.
    pub(crate) fn open() -> Result<Self, Error> {
        let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
        let (output, error) = (output.as_fd(), error.as_fd());
        let kind = |stream| kind(stream, input.as_fd());
        let mut all = Self::default();
        let mut opened = || {
            let of_output = kind(output).map(|kind| all.add("standard output", output, kind));
            let of_output = of_output.transpose()?;
            let of_error = match &of_output {
                Some(end) if is_same(output, error) => Some(end.try_clone()?),
                _ => kind(error)
                    .map(|kind| all.add("standard error", error, kind))
                    .transpose()?,
            };
            if let Some(end) = of_output {
                all.callers[0] = Some(output.try_clone_to_owned()?);
                dup2_stdout(&end)?;
            }
            if let Some(end) = of_error {
                all.callers[1] = Some(error.try_clone_to_owned()?);
                dup2_stderr(&end)?;
            }
            Ok(())
        };
        opened().map_err(Error::Outlet)?;
        Ok(all)
    }

    /// A pipe that leads to `stream`; the end for the pod. Whoever the apps are, they can open it again, to write: it is found only
    /// by who has it.
    fn add(
        &mut self,
        name: &'static str,
        stream: BorrowedFd<'_>,
        kind: Kind,
    ) -> io::Result<OwnedFd> {
        let (from, end) = pipe()?;
        fchmod(&end, AGAIN)?;
        fcntl(&from, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        self.outlets.push(Outlet {
            name,
            from: Some(from),
            to: match kind {
                Kind::Terminal => opened_again(stream).or_else(|_| stream.try_clone_to_owned())?,
                Kind::File | Kind::Socket => stream.try_clone_to_owned()?,
            },
            kind,
            passing: Buffer::new(PASSING),
            failure: None,
        });
        Ok(end.into())
    }

    /// The keeper's own streams are the caller's again: the pod has the others.
    pub(crate) fn take_back(&mut self) -> Result<(), Error> {
        let [output, error] = &mut self.callers;
        let output = output.take().map_or(Ok(()), dup2_stdout);
        let error = error.take().map_or(Ok(()), dup2_stderr);
        output.and(error).map_err(|e| Error::Outlet(e.into()))
    }

    /// What to wait for now.
    pub(crate) fn events(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.outlets.iter().filter_map(|outlet| {
            let from = outlet.from.as_ref()?;
            Some(match outlet.passing.is_empty() {
                true => PollFd::new(from.as_fd(), PollFlags::POLLIN),
                false => PollFd::new(outlet.to.as_fd(), PollFlags::POLLOUT),
            })
        })
    }

    /// Moves what can be moved without waiting; `ready` says so of each descriptor.
    pub(crate) fn pass(&mut self, ready: impl Fn(BorrowedFd<'_>) -> bool) {
        for outlet in &mut self.outlets {
            if !outlet.passing.is_empty() {
                if ready(outlet.to.as_fd()) {
                    outlet.write();
                }
            } else if outlet.from.as_ref().is_some_and(|from| ready(from.as_fd())) {
                outlet.read();
            }
        }
    }

    /// Passes on what is left, now that nobody writes any more. An error says what was lost, and keeps nothing from the others.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        let mut first = Ok(());
        for outlet in &mut self.outlets {
            first = first.and(outlet.finish());
        }
        first
    }
}

impl Drop for Outlets {
    /// What the keeper has to say is for the caller.
    fn drop(&mut self) {
        let _ = self.take_back();
    }
}

impl Outlet {
    /// Whether there is something now.
    fn read(&mut self) -> bool {
        let from = self.from.as_ref();
        match from.map(|from| self.passing.fill(from.as_fd())) {
            Some(Ok(Some(length))) if length > 0 => true,
            Some(Ok(None)) => false,
            _ => {
                self.from = None;
                false
            }
        }
    }

    /// When it cannot be written any more, the next write of the apps fails, as it would without a keeper in between.
    fn write(&mut self) {
        let written = self.passing.drain(|bytes| match self.kind {
            Kind::Socket => send(self.to.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT),
            Kind::Terminal | Kind::File => write(&self.to, bytes),
        });
        if let Err(error) = written {
            self.from = None;
            self.failure = Some(error);
        }
    }

    fn finish(&mut self) -> Result<(), Error> {
        let asked = Signals::asking_to_end()?;
        // What entered may have left others that write on. A read takes all that is there, or as much as there is room for.
        let reads = self.capacity().div_ceil(PASSING);
        for _ in 0..=reads {
            if !self.pass_all(asked.as_fd()) || !self.read() {
                break;
            }
        }
        match self.failure {
            // Nobody is there to read it.
            None | Some(Errno::EPIPE | Errno::ECONNRESET | Errno::EIO) => Ok(()),
            Some(error) => Err(Error::PassOn(self.name, error.into())),
        }
    }

    /// Writes what was read, or as much as somebody waits for; whether that was all.
    fn pass_all(&mut self, asked: BorrowedFd<'_>) -> bool {
        while self.from.is_some() && !self.passing.is_empty() {
            self.write();
            if self.passing.is_empty() {
                break;
            }
            // A terminal that was stopped by ^S stays so until somebody comes, or nobody wants to wait.
            let mut either = [
                PollFd::new(self.to.as_fd(), PollFlags::POLLOUT),
                PollFd::new(asked, PollFlags::POLLIN),
            ];
            let _ = poll(&mut either, PollTimeout::NONE);
            if either[1].any() == Some(true) {
                return false;
            }
        }
        self.from.is_some()
    }

    /// How much the pipe holds.
    fn capacity(&self) -> usize {
        let asked = |from| fcntl(from, FcntlArg::F_GETPIPE_SZ).ok();
        let size = self.from.as_ref().and_then(asked);
        size.and_then(|size| usize::try_from(size).ok())
            .unwrap_or_default()
    }
}

/// What it is, if apps are not to have it themselves. Who connects a program with somebody by a socket, as `inetd` does, makes it
/// standard input as well: that is the app's.
fn kind(stream: BorrowedFd<'_>, input: BorrowedFd<'_>) -> Option<Kind> {
    if stream.is_terminal() {
        return Some(Kind::Terminal);
    }
    // The bits of a kind overlap: it is one of them, not a set.
    let found = fstat(stream).ok()?.st_mode & SFlag::S_IFMT.bits();
    match SFlag::from_bits_truncate(found) {
        SFlag::S_IFREG => Some(Kind::File),
        SFlag::S_IFSOCK if is_unix_stream(stream) && !is_same(stream, input) => Some(Kind::Socket),
        _ => None,
    }
}

fn is_unix_stream(socket: BorrowedFd<'_>) -> bool {
    let name = getsockname::<SockaddrStorage>(socket.as_raw_fd());
    name.is_ok_and(|name| name.family() == Some(AddressFamily::Unix))
        && getsockopt(&socket, sockopt::SockType) == Ok(SockType::Stream)
}

fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let number = |stream| fstat(stream).map(|found| (found.st_dev, found.st_ino));
    number(one).is_ok() && number(one) == number(other)
}

/// The same terminal, to be written without waiting: that would otherwise hold for all who have it. That of another user, as
/// after `su`, cannot be opened.
fn opened_again(terminal: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", terminal.as_raw_fd());
    let flags = OFlag::O_WRONLY | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    Ok(open(path.as_str(), flags, Mode::empty())?)
}
