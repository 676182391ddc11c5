//! `skua enter`: starts a program in a running pod.

use std::process::ExitCode;

use clap::Args;

use crate::context::Context;
use crate::error::Error;
use crate::find::OnePod;

/// What `enter` takes.
#[derive(Debug, Args)]
pub(crate) struct EnterArgs {
    #[command(flatten)]
    pub(crate) pod: OnePod,
    /// The app whose root and confinement the program gets [default: the only app]
    #[arg(long, value_name = "NAME")]
    pub(crate) app: Option<pod::AppName>,
    /// The program and its arguments [default: /bin/sh]
    #[arg(last = true, value_name = "PROGRAM")]
    pub(crate) program: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(_args: EnterArgs, _context: &Context) -> Result<ExitCode, Error> {
    Err(Error::NotAvailable("enter"))
}
