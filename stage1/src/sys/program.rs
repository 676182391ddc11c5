//! Becoming another program, alone or beside a process that goes on with this one's memory.
//!
//! All that can be prepared is prepared before, so that what is left takes system calls and no memory.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use libc::c_char;
use nix::errno::Errno;

use super::share::{Stack, share};
use super::{EMPTY, close_at_exec_from, default_action, exit_now, lift, place, send_signal};
use crate::wait;

/// A program that is open, with all that it gets.
#[derive(Debug)]
pub(crate) struct Program {
    file: OwnedFd,
    argv: CStrings,
    envp: CStrings,
    /// Each above all numbers that are placed onto, so that none is closed before it is placed.
    placed: Vec<(OwnedFd, RawFd)>,
}

/// Texts, and their addresses with null at the end.
#[derive(Debug)]
struct CStrings {
    pointers: Vec<*const c_char>,
    _texts: Vec<CString>,
}

impl CStrings {
    fn new(texts: Vec<CString>) -> Self {
        let null = std::iter::once(std::ptr::null());
        Self {
            pointers: texts.iter().map(|text| text.as_ptr()).chain(null).collect(),
            _texts: texts,
        }
    }
}

impl Program {
    /// `file` with these arguments, this environment, the standard streams, and these descriptors under these numbers. From
    /// now on every other descriptor of this process is closed at exec.
    pub(crate) fn new(
        file: &OwnedFd,
        argv: Vec<CString>,
        envp: Vec<CString>,
        placed: &[(&OwnedFd, RawFd)],
    ) -> io::Result<Self> {
        close_at_exec_from(3)?;
        let highest = placed.iter().map(|(_, number)| *number).max();
        let first = highest.unwrap_or(2).max(2) + 1;
        let lifted = |(from, number): &(&OwnedFd, RawFd)| Ok((lift(from.as_fd(), first)?, *number));
        Ok(Self {
            file: lift(file.as_fd(), first)?,
            argv: CStrings::new(argv),
            envp: CStrings::new(envp),
            placed: placed.iter().map(lifted).collect::<io::Result<_>>()?,
        })
    }

    /// Becomes it. Returns only an error.
    pub(crate) fn execute(&self) -> io::Error {
        default_action(libc::SIGPIPE);
        default_action(libc::SIGXFSZ);
        for (from, number) in &self.placed {
            if let Err(error) = place(from.as_fd(), *number) {
                return error;
            }
        }
        // SAFETY: both lists end with null and point to C strings that outlive the call.
        unsafe {
            libc::syscall(
                libc::SYS_execveat,
                self.file.as_raw_fd(),
                EMPTY.as_ptr(),
                self.argv.pointers.as_ptr(),
                self.envp.pointers.as_ptr(),
                libc::AT_EMPTY_PATH,
            )
        };
        io::Error::last_os_error()
    }

    /// Becomes it in `directory`, while a child lives the life `other` and ends with what that returns. When it cannot, the child
    /// is ended, `failed` is told why, and this process ends too: none of that may take memory or give it back, which the child may
    /// have been about to do.
    pub(crate) fn execute_beside(
        &self,
        directory: &CStr,
        other: impl FnOnce() -> u8,
        failed: impl FnOnce(Errno),
    ) -> io::Result<Infallible> {
        let stack = Stack::new()?;
        // SAFETY: what follows makes system calls only, until this is another program; and `failed` too.
        let child = unsafe { share(0, &stack, other) }?;
        let _ = self.execute_in(directory);
        let _ = send_signal(child.pidfd.as_fd(), libc::SIGKILL);
        let _ = wait::reap(&child);
        // What the first attempt has left as its error, the child may have written over.
        failed(self.execute_in(directory));
        exit_now(254)
    }

    fn execute_in(&self, directory: &CStr) -> Errno {
        // SAFETY: the path is a C string.
        if unsafe { libc::chdir(directory.as_ptr()) } == 0 {
            let _ = self.execute();
        }
        Errno::last()
    }
}
