//! `skua gc`: heals what crashes left and removes old pods.

use std::process::ExitCode;

use clap::Args;

use crate::context::Context;
use crate::error::Error;
use crate::typed::Seconds;

/// What `gc` takes.
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Keep pods that ended less than this ago [default: 30m]
    #[arg(long, value_name = "TIME")]
    pub(crate) grace_period: Option<Seconds>,
    /// Print what would be removed, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Runs the command.
pub(crate) fn run(_args: GcArgs, _context: &Context) -> Result<ExitCode, Error> {
    Err(Error::NotAvailable("gc"))
}
