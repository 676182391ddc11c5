//! `skua rm`: removes pods that are not running.

use std::process::ExitCode;

use clap::Args;

use crate::context::Context;
use crate::error::Error;
use crate::find::SomePods;

/// What `rm` takes.
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    #[command(flatten)]
    pub(crate) pods: SomePods,
}

/// Runs the command.
pub(crate) fn run(_args: RmArgs, _context: &Context) -> Result<ExitCode, Error> {
    Err(Error::NotAvailable("rm"))
}
