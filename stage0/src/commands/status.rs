//! `skua status`: shows one pod.

use std::process::ExitCode;

use clap::Args;

use crate::context::Context;
use crate::error::Error;
use crate::find::OnePod;
use crate::output::Format;

/// What `status` takes.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) pod: OnePod,
    /// Wait until the pod has ended
    #[arg(long)]
    pub(crate) wait: bool,
    /// How it is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub(crate) format: Format,
}

/// Runs the command.
pub(crate) fn run(_args: StatusArgs, _context: &Context) -> Result<ExitCode, Error> {
    Err(Error::NotAvailable("status"))
}
