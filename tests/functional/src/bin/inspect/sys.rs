//! The raw system call, to try any of them from inside; calls about descriptors and processes.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd};

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

/// `rt_sigqueueinfo(2)` with this code and this pid of a sender.
pub(crate) fn queue_signal(pid: i32, signal: i32, code: i32, sender: i32) -> Result<(), Errno> {
    // The kernel's siginfo_t of 128 bytes: number, errno, code, padding, pid and uid of the sender.
    let mut information = [0_i32; 32];
    (information[0], information[2], information[4]) = (signal, code, sender);
    let pointer = information.as_ptr();
    // SAFETY: the kernel reads 128 bytes, which outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, pid, signal, pointer) };
    Errno::result(result).map(drop)
}

/// The first real-time signal stays in the queue.
pub(crate) fn block_real_time() -> Result<(), Errno> {
    let set: u64 = 1 << (libc::SIGRTMIN() - 1);
    let old: *const u64 = std::ptr::null();
    // SAFETY: the kernel reads a set of 64 signals, which outlives the call, and writes nothing.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_BLOCK,
            &raw const set,
            old,
            size_of::<u64>(),
        )
    };
    Errno::result(result).map(drop)
}

/// Lets `pid` have the signals of this descriptor.
pub(crate) fn own(descriptor: &OwnedFd, pid: i32) -> Result<(), Errno> {
    let number = descriptor.as_raw_fd();
    // SAFETY: takes numbers only.
    Errno::result(unsafe { libc::fcntl(number, libc::F_SETOWN, pid) })?;
    // SAFETY: takes numbers only.
    Errno::result(unsafe { libc::fcntl(number, libc::F_SETFL, libc::O_ASYNC) }).map(drop)
}

/// `prlimit(2)`: both limits.
pub(crate) fn limit(pid: i32, resource: u32, limit: u64) -> Result<(), Errno> {
    let limits = [limit, limit];
    let old: *const u64 = std::ptr::null();
    let new = limits.as_ptr();
    // SAFETY: the kernel reads two numbers, which outlive the call, and writes nothing.
    let result = unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, new, old) };
    Errno::result(result).map(drop)
}
