//! Every unsafe call of stage1: one thin function each, owned descriptors in and out.
#![allow(unsafe_code, reason = "the only module of stage1 that may")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use libc::{c_long, c_uint};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn owned(result: c_long) -> io::Result<OwnedFd> {
    let number = RawFd::try_from(check(result)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just returned this number as a new descriptor of ours.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// `close_range(2)`: every descriptor from `first` on is closed when this process executes another program.
pub(crate) fn close_at_exec_from(first: c_uint) -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: no pointers, and no descriptor is closed now.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, flags) })?;
    Ok(())
}

/// `pidfd_open(2)`.
pub(crate) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// Lets the kernel kill what `command` starts when this process dies.
pub(crate) fn dies_with_parent(command: &mut Command) {
    let parent = Pid::this();
    let hook = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // It may have died before that call.
        match getppid() == parent {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    };
    // SAFETY: between fork and exec the hook makes two system calls and nothing else.
    unsafe { command.pre_exec(hook) };
}
