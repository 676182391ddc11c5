//! `skua run`: makes a pod and becomes its keeper.

use std::process::ExitCode;

use clap::Args;

use crate::context::Context;
use crate::error::Error;
use crate::run_line::{AppWords, PodFlags};

/// What `run` takes.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) pod: PodFlags,
    #[command(flatten)]
    pub(crate) apps: AppWords,
}

/// Runs the command.
pub(crate) fn run(_args: RunArgs, _context: &Context) -> Result<ExitCode, Error> {
    Err(Error::NotAvailable("run"))
}
