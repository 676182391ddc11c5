//! Between the caller's terminal and the pod's: bytes both ways, the window's size, raw mode while it lasts.
//!
//! **Runs as** the keeper. **Needs** the master of a terminal that was made inside the pod. **Leaves** the caller's terminal in
//! raw mode. **Undone by** dropping it.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};
use nix::sys::termios::{self, SetArg, Termios};
use nix::unistd::write;

use crate::buffer::Buffer;
use crate::error::Error;
use crate::sys;

/// What a caller without a terminal sends at the end of its input: the default end-of-file character of terminals.
const END_OF_FILE: u8 = 4;
/// Bytes that may wait, each way.
const PASSING: usize = 2048;

/// The relay between two terminals.
pub(crate) struct Relay {
    input: io::Stdin,
    output: io::Stdout,
    master: OwnedFd,
    /// The caller's settings, if its standard input is a terminal.
    saved: Option<Termios>,
    /// Typed, and not yet taken by the pod.
    typed: Buffer,
    /// Shown by the pod, and not yet printed.
    shown: Buffer,
    /// More may be typed.
    typing: bool,
    /// The pod has the terminal open.
    showing: bool,
}

impl Relay {
    /// Begins: the caller's terminal passes every key on.
    pub(crate) fn begin(master: OwnedFd) -> Result<Self, Error> {
        let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK;
        fcntl(&master, FcntlArg::F_SETFL(flags)).map_err(|e| Error::Terminal(e.into()))?;
        let input = io::stdin();
        let saved = input.is_terminal().then(|| make_raw(&input)).transpose();
        Ok(Self {
            saved: saved.map_err(|e| Error::Terminal(e.into()))?,
            input,
            output: io::stdout(),
            master,
            typed: Buffer::new(PASSING),
            shown: Buffer::new(PASSING),
            typing: true,
            showing: true,
        })
    }

    /// What to wait for now.
    pub(crate) fn events(&self) -> Vec<PollFd<'_>> {
        let mut master = PollFlags::empty();
        let mut all = Vec::with_capacity(3);
        if self.shown.is_empty() {
            master |= PollFlags::POLLIN;
        } else {
            all.push(PollFd::new(self.output.as_fd(), PollFlags::POLLOUT));
        }
        if !self.typed.is_empty() {
            master |= PollFlags::POLLOUT;
        } else if self.typing && self.showing {
            all.push(PollFd::new(self.input.as_fd(), PollFlags::POLLIN));
        }
        if self.showing && !master.is_empty() {
            all.push(PollFd::new(self.master.as_fd(), master));
        }
        all
    }

    /// Moves what can be moved without waiting; `ready` says so of each descriptor.
    pub(crate) fn pass(&mut self, ready: impl Fn(BorrowedFd<'_>) -> bool) -> Result<(), Error> {
        let failed = |e: Errno| Error::Terminal(e.into());
        if !self.shown.is_empty() && ready(self.output.as_fd()) {
            self.shown
                .drain(|bytes| write(&self.output, bytes))
                .map_err(failed)?;
        }
        if self.typed.is_empty() && self.typing && ready(self.input.as_fd()) {
            let length = self.typed.fill(self.input.as_fd()).map_err(failed)?;
            if length == Some(0) {
                self.typing = false;
                self.typed.put(END_OF_FILE);
            }
        }
        if ready(self.master.as_fd()) {
            self.use_master();
        }
        Ok(())
    }

    /// EIO on the master: nobody in the pod has the terminal open any more.
    fn use_master(&mut self) {
        let mut over = !self.typed.is_empty()
            && self
                .typed
                .drain(|bytes| write(&self.master, bytes))
                .is_err();
        if self.shown.is_empty() {
            over |=
                !matches!(self.shown.fill(self.master.as_fd()), Ok(length) if length != Some(0));
        }
        self.showing &= !over;
    }

    /// The caller's window has another size.
    pub(crate) fn resize(&self) {
        // A caller without a window has no size to tell.
        let _ = sys::copy_window_size(self.input.as_fd(), self.master.as_fd());
    }

    /// The pod has ended: prints what it has shown.
    pub(crate) fn finish(mut self) {
        loop {
            while !self.shown.is_empty() {
                if self
                    .shown
                    .drain(|bytes| write(&self.output, bytes))
                    .is_err()
                {
                    return;
                }
            }
            match self.shown.fill(self.master.as_fd()) {
                Ok(Some(length)) if length > 0 => {}
                _ => return,
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            // A terminal that is gone needs no settings.
            let _ = termios::tcsetattr(&self.input, SetArg::TCSADRAIN, saved);
        }
    }
}

/// Every key is passed on; the settings before that.
fn make_raw(terminal: &io::Stdin) -> nix::Result<Termios> {
    let before = termios::tcgetattr(terminal)?;
    let mut raw = before.clone();
    termios::cfmakeraw(&mut raw);
    termios::tcsetattr(terminal, SetArg::TCSADRAIN, &raw)?;
    Ok(before)
}
