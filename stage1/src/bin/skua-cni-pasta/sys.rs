//! Every unsafe call of skua-cni-pasta.
#![allow(unsafe_code, reason = "the only module of this program that may")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use libc::c_long;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

/// `NS_GET_USERNS` of `ioctl_nsfs(2)`: the user namespace that owns a namespace.
const NS_GET_USERNS: libc::c_ulong = 0xb701;

fn owned(result: c_long) -> io::Result<OwnedFd> {
    let number = RawFd::try_from(result).map_err(io::Error::other)?;
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this number as a new descriptor of ours.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Lets the kernel remember how our children ended, which it forgets when who started us ignored `SIGCHLD`.
pub(crate) fn remember_children() {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// The user namespace that owns `namespace`.
pub(crate) fn owner_of(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) }.into())
}

/// `pidfd_open(2)`.
pub(crate) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// `pidfd_send_signal(2)`.
pub(crate) fn send_signal(process: BorrowedFd<'_>, signal: libc::c_int) -> io::Result<()> {
    let information = std::ptr::null::<libc::siginfo_t>();
    let number = process.as_raw_fd();
    // SAFETY: a null siginfo is allowed.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, number, signal, information, 0) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets the kernel kill what `command` starts when this process dies, until it changes its credentials.
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
