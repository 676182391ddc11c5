//! `skua list`: shows the pods.

use std::process::ExitCode;

use clap::Args;

use crate::context::Context;
use crate::error::Error;
use crate::output::Format;

/// What `list` takes.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// How it is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub(crate) format: Format,
}

/// Runs the command.
pub(crate) fn run(_args: ListArgs, _context: &Context) -> Result<ExitCode, Error> {
    Err(Error::NotAvailable("list"))
}
