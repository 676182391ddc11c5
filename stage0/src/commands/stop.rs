//! `skua stop`: ends running pods.

use std::process::ExitCode;

use clap::Args;

use crate::context::Context;
use crate::error::Error;
use crate::find::SomePods;

/// What `stop` takes.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    #[command(flatten)]
    pub(crate) pods: SomePods,
    /// Kill at once instead of asking
    #[arg(long)]
    pub(crate) force: bool,
}

/// Runs the command.
pub(crate) fn run(_args: StopArgs, _context: &Context) -> Result<ExitCode, Error> {
    Err(Error::NotAvailable("stop"))
}
