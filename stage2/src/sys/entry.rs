//! Where the C library enters this program.
//!
//! Rust's own entry would first look for the stack in `/proc/self/maps` and install handlers for its overflow, on a stack of
//! their own: 16 system calls at each start of a pod, for a message where a signal says as much
//! (`docs/decisions/0162-two-stages-begin-with-main-of-c.md`).

use std::ffi::c_int;

/// `main` of C. Its arguments are those of [`std::env::args_os`].
#[cfg_attr(not(test), unsafe(no_mangle))]
#[cfg_attr(test, allow(dead_code, reason = "the tests have a main of their own"))]
extern "C" fn main() -> c_int {
    // Writing to what nobody reads is an error, and no signal.
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    crate::stage2().into()
}
