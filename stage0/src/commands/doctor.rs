//! `skua doctor`: checks what the host offers.

use std::process::ExitCode;

use clap::Args;

use crate::context::Context;
use crate::error::Error;
use crate::output::Format;

/// What `doctor` takes.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// How it is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub(crate) format: Format,
}

/// Runs the command.
pub(crate) fn run(_args: DoctorArgs, _context: &Context) -> Result<ExitCode, Error> {
    Err(Error::NotAvailable("doctor"))
}
