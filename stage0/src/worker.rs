//! The hidden subcommand `worker`: one confined step of a fetch.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

use crate::context::Context;
use crate::error::Error;

/// What `worker` takes.
#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// The step and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) job: Vec<OsString>,
}

/// Runs the step.
pub(crate) fn run(_args: WorkerArgs, _context: &Context) -> Result<ExitCode, Error> {
    Err(Error::NotAvailable("worker"))
}
