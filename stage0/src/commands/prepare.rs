//! `skua prepare`: makes a pod that is ready to run.

use std::process::ExitCode;

use clap::Args;

use crate::context::Context;
use crate::error::Error;
use crate::run_line::{AppWords, PodFlags};

/// What `prepare` takes.
#[derive(Debug, Args)]
pub(crate) struct PrepareArgs {
    #[command(flatten)]
    pub(crate) pod: PodFlags,
    #[command(flatten)]
    pub(crate) apps: AppWords,
}

/// Runs the command.
pub(crate) fn run(_args: PrepareArgs, _context: &Context) -> Result<ExitCode, Error> {
    Err(Error::NotAvailable("prepare"))
}
