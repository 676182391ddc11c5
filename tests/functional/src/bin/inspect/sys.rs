//! The raw system call: to try any of them from inside.
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

/// A child process: `Some(pid)` here, `None` in the child.
pub(crate) fn fork() -> Result<Option<i32>, Errno> {
    // SAFETY: this program has one thread.
    let pid = unsafe { libc::fork() };
    Errno::result(pid).map(|pid| (pid != 0).then_some(pid))
}
