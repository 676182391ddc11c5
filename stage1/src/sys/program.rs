//! Becoming another program, alone or beside a process that goes on with this one's memory.
//!
//! All that can be prepared is prepared before, so that what is left takes system calls and no memory.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use libc::c_char;

use super::share::{Stack, share};
use super::{EMPTY, check, close_at_exec_from, default_action, lift, place, send_signal};
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

    /// Becomes it in `directory`, while a child lives the life `other` and ends with what that returns. Returns only an error;
    /// then the child is gone.
    pub(crate) fn execute_beside<F: FnOnce() -> u8>(
        &self,
        directory: &CStr,
        other: F,
    ) -> io::Error {
        let stack = match Stack::new() {
            Ok(stack) => stack,
            Err(error) => return error,
        };
        // SAFETY: what follows makes system calls only, until this is another program or the child has ended.
        let child = match unsafe { share(0, &stack, other) } {
            Ok(child) => child,
            Err(error) => return error,
        };
        // SAFETY: the path is a C string.
        let error = match check(unsafe { libc::chdir(directory.as_ptr()) }.into()) {
            Ok(_) => self.execute(),
            Err(error) => error,
        };
        // Before anything here takes memory.
        let _ = send_signal(child.pidfd.as_fd(), libc::SIGKILL);
        let _ = wait::reap(&child);
        error
    }
}
