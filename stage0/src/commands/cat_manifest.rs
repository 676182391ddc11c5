//! `skua cat-manifest`: prints what a pod was made to be.

use std::process::ExitCode;

use clap::Args;

use crate::context::Context;
use crate::error::Error;
use crate::find::OnePod;

/// What `cat-manifest` takes.
#[derive(Debug, Args)]
pub(crate) struct CatManifestArgs {
    #[command(flatten)]
    pub(crate) pod: OnePod,
}

/// Runs the command.
pub(crate) fn run(_args: CatManifestArgs, _context: &Context) -> Result<ExitCode, Error> {
    Err(Error::NotAvailable("cat-manifest"))
}
