//! `skua run-prepared`: becomes the keeper of a prepared pod.

use std::process::ExitCode;

use clap::Args;

use crate::context::Context;
use crate::error::Error;
use crate::find::OnePod;

/// What `run-prepared` takes.
#[derive(Debug, Args)]
pub(crate) struct RunPreparedArgs {
    #[command(flatten)]
    pub(crate) pod: OnePod,
    /// Use this stage1 instead of skua's own
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) stage1: Option<std::path::PathBuf>,
}

/// Runs the command.
pub(crate) fn run(_args: RunPreparedArgs, _context: &Context) -> Result<ExitCode, Error> {
    Err(Error::NotAvailable("run-prepared"))
}
