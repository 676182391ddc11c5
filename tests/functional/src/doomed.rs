//! A process that is no child of the test's, and must not outlive it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The process: killed when this goes, also when a test fails. Nobody else may end it.
#[derive(Debug)]
pub struct Doomed(pub Pid);

impl Drop for Doomed {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
    }
}
