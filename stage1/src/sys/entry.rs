//! Where the C library enters this program.
//!
//! Rust's own entry would first look for the stack in `/proc/self/maps` and install handlers for its overflow, on a stack of
//! their own: 16 system calls at each start of a pod, for a message where a signal says as much
//! (`docs/decisions/0162-two-stages-begin-with-main-of-c.md`). What else it does is done here.

use std::ffi::c_int;

/// `main` of C. Its arguments are those of [`std::env::args`].
#[cfg_attr(not(test), unsafe(no_mangle))]
#[cfg_attr(test, allow(dead_code, reason = "the tests have a main of their own"))]
extern "C" fn main() -> c_int {
    // Writing to what nobody reads, or to a file that is to grow no more, is an error, and no signal.
    for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
        // SAFETY: no handler is installed.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // A caller may have ignored it: the kernel would forget how the pod, or what a command starts, ended.
    super::default_action(libc::SIGCHLD);
    (0..3).for_each(stand_in);
    crate::stage1().into()
}

/// Opens `/dev/null` as standard stream `number` if the caller closed that, so that nothing else gets the number. A process
/// that cannot even do this ends here: an error would be written into whatever is opened next.
fn stand_in(number: c_int) {
    // SAFETY: takes numbers only.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } != -1 {
        return;
    }
    // SAFETY: the path ends in a zero byte. The lowest free number is this one.
    if unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) } != number {
        std::process::abort();
    }
}
