//! The one unsafe call that the command line needs: `skua` itself forbids unsafe code
//! (`docs/decisions/0173-a-signal-that-the-caller-ignored.md`).
#![allow(unsafe_code, reason = "the only thing in this crate")]

/// Lets the kernel remember how our children ended, which it forgets when who started us ignored `SIGCHLD`. What is ignored
/// stays so over exec.
pub fn remember_children() {
    // SAFETY: no handler is installed, so none can run in the wrong place.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}
