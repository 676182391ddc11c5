//! Waiting for months in as little memory as possible: the pages of the program's own code are given back meanwhile.

use std::io;

use libc::c_long;
use nix::errno::Errno;
use nix::poll::PollFd;

/// `ppoll(2)` without a time limit.
pub(crate) fn poll_without_code(descriptors: &mut [PollFd<'_>]) -> io::Result<()> {
    let arguments = [descriptors.as_mut_ptr().addr(), descriptors.len(), 0, 0];
    // SAFETY: a `PollFd` is a `struct pollfd`; they outlive the call, and neither time nor signal mask is given.
    let result = unsafe { wait_without_code(libc::SYS_ppoll, arguments) };
    match i32::try_from(result) {
        Ok(error) if error < 0 => Err(io::Error::from(Errno::from_raw(-error))),
        _ => Ok(()),
    }
}

unsafe extern "C" {
    /// First byte of this program in memory: from the linker.
    static __executable_start: u8;
    /// First byte after its code.
    static etext: u8;
}

/// A system call that may wait for months, with up to four arguments. Meanwhile the pages of this program's code belong to
/// the page cache alone, but for the two that this function is in: touching another one would bring all of its folio back.
///
/// # Safety
/// As the system call itself.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
unsafe fn wait_without_code(number: c_long, arguments: [usize; 4]) -> isize {
    const PAGE: usize = 4096;
    let start = (&raw const __executable_start).addr();
    let own = (wait_without_code as *const ()).addr() & !(PAGE - 1);
    let above = own + 2 * PAGE;
    let end = (&raw const etext).addr();
    let mut result: isize;
    // SAFETY: the ranges are the program's read-only segments, private mappings of its file that nothing ever wrote to:
    // what is needed again is mapped again. The rest is the system call, for which the caller answers.
    unsafe {
        std::arch::asm!(
            "syscall",
            "mov eax, 28",
            "mov rdi, r8",
            "mov rsi, r9",
            "syscall",
            "mov rax, r13",
            "mov rdi, [r12]",
            "mov rsi, [r12 + 8]",
            "mov rdx, [r12 + 16]",
            "mov r10, [r12 + 24]",
            "xor r8d, r8d",
            "syscall",
            inlateout("rax") libc::SYS_madvise as isize => result,
            inlateout("rdi") start => _,
            inlateout("rsi") own.saturating_sub(start) => _,
            inlateout("rdx") libc::MADV_DONTNEED as usize => _,
            inlateout("r8") above => _,
            in("r9") end.saturating_sub(above),
            in("r12") arguments.as_ptr(),
            in("r13") number,
            lateout("r10") _,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result
}

/// Elsewhere the code stays.
///
/// # Safety
/// As the system call itself.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn wait_without_code(number: c_long, [a, b, c, d]: [usize; 4]) -> isize {
    // SAFETY: the caller answers for the system call.
    let result = unsafe { libc::syscall(number, a, b, c, d, 0) };
    if result < 0 {
        -(Errno::last_raw() as isize)
    } else {
        result as isize
    }
}
