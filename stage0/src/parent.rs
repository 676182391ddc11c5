//! Whether a pod outlives the process that started it.
//!
//! The kernel sends us SIGTERM when our parent ends, also when we are the keeper by then: it keeps that over exec. The keeper
//! takes SIGTERM as the wish for an orderly stop. A parent that was gone before we asked is found by the number of the new one.

use std::io::{self, IsTerminal};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use crate::error::Error;
use crate::run_line::ParentFlags;

/// Asks for the signal, when that was asked for or the pod runs in somebody's foreground.
pub(crate) fn watch(flags: &ParentFlags) -> Result<(), Error> {
    let foreground = || io::stdin().is_terminal() && !flags.no_die_with_parent;
    if !flags.die_with_parent && !foreground() {
        return Ok(());
    }
    let parent = getppid();
    set_pdeathsig(Signal::SIGTERM).map_err(|e| Error::DeathSignal(e.into()))?;
    if getppid() == parent {
        Ok(())
    } else {
        Err(Error::ParentGone)
    }
}
