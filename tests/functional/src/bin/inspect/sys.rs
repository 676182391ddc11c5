//! The raw system call, to try any of them from inside; calls about descriptors and processes.
#![allow(unsafe_code)]

use nix::errno::Errno;

/// System call `number` with six arguments.
pub(crate) fn syscall(number: i64, arguments: [i64; 6]) -> Result<i64, Errno> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the caller of this program asks for this call; it passes numbers only, never addresses of our memory, and
    // expects whatever becomes of this process.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    Errno::result(result)
}

/// Another descriptor for the same file, numbered `least` or more, and closed on exec.
pub(crate) fn duplicate(from: i32, least: i32) -> Result<i32, Errno> {
    // SAFETY: takes numbers only.
    let made = unsafe { libc::fcntl(from, libc::F_DUPFD_CLOEXEC, least) };
    Errno::result(made)
}

/// Makes `from` also descriptor `to`, which stays open on exec.
pub(crate) fn place(from: i32, to: i32) -> Result<(), Errno> {
    // SAFETY: takes numbers only; nothing that is open as `to` is used any more.
    let result = unsafe { libc::dup2(from, to) };
    Errno::result(result).map(drop)
}

/// A child process: `Some(pid)` here, `None` in the child.
pub(crate) fn fork() -> Result<Option<i32>, Errno> {
    // SAFETY: this program has one thread.
    let pid = unsafe { libc::fork() };
    Errno::result(pid).map(|pid| (pid != 0).then_some(pid))
}
