//! A child with the memory of this process and a stack of its own (`CLONE_VM`, `clone(2)`): neither has to copy the map of
//! that memory, nor a page of it at the first write. It takes a third of the time of a fork.

use std::ffi::c_void;
use std::io;
use std::ptr::null_mut;

use libc::c_int;

use super::{Child, check, exit_now, owned};

/// Bytes that a stack may take; what is not used is never there.
const SIZE: usize = 1 << 20;
/// Bytes below it that nobody may touch, at least a page of every machine.
const GUARD: usize = 64 << 10;
/// What a stack begins at a multiple of (System V ABI, AMD64; 64-bit Arm is the same).
const ALIGNMENT: usize = 16;

/// Memory for the stack of a process.
#[derive(Debug)]
pub(super) struct Stack(*mut c_void);

impl Stack {
    pub(super) fn new() -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses where; nothing else is there.
        let start = unsafe { libc::mmap(null_mut(), GUARD + SIZE, access, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self(start);
        // SAFETY: it is the lower part of what was mapped, which nobody uses yet.
        check(unsafe { libc::mprotect(start, GUARD, libc::PROT_NONE) }.into())?;
        Ok(stack)
    }

    /// The end of it, where a stack begins, without `reserved` bytes, and aligned for all that is put there.
    fn top(&self, reserved: usize) -> *mut c_void {
        let size = (GUARD + SIZE).saturating_sub(reserved) & !(ALIGNMENT - 1);
        self.0.wrapping_byte_add(size)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: it was mapped so, and nobody runs on it any more: see `share`.
        unsafe { libc::munmap(self.0, GUARD + SIZE) };
    }
}

/// Clones a child that lives `life` on `stack`, and ends with what that returns.
///
/// # Safety
///
/// Until the child has ended, or this process has executed another program: `stack` stays, with all that `life` refers to, and
/// this process touches nothing that `life` may touch, the allocator included.
pub(super) unsafe fn share<F: FnOnce() -> u8>(
    flags: c_int,
    stack: &Stack,
    life: F,
) -> io::Result<Child> {
    const { assert!(align_of::<F>() <= ALIGNMENT) };
    let flags = flags | libc::CLONE_VM | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut pidfd: c_int = -1;
    // At the beginning of the stack: the child finds it there also when this process has left this function.
    let top = stack.top(size_of::<F>());
    // SAFETY: it has its size there, and is aligned.
    unsafe { top.cast::<F>().write(life) };
    // SAFETY: the stack is aligned, and for the child alone; the rest is the caller's promise.
    let pid = unsafe { libc::clone(begin::<F>, top, flags, top, &raw mut pidfd) };
    if pid == -1 {
        let error = io::Error::last_os_error();
        // SAFETY: no child has taken it.
        unsafe { top.cast::<F>().drop_in_place() };
        return Err(error);
    }
    Ok(Child {
        pid: u32::try_from(pid).map_err(io::Error::other)?,
        pidfd: owned(pidfd.into())?,
    })
}

/// The child's first function.
extern "C" fn begin<F: FnOnce() -> u8>(life: *mut c_void) -> c_int {
    // SAFETY: `share` has put it there, for this function alone.
    let life = unsafe { life.cast::<F>().read() };
    exit_now(life())
}
