//! `skua fetch`: brings images into the store.

use std::process::ExitCode;

use clap::Args;

use crate::context::Context;
use crate::error::Error;

/// What `fetch` takes.
#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// References of the images
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
    /// A detached signature of the image's manifest (minisign, OpenSSH, Sigstore bundle, or bare)
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Vec<std::path::PathBuf>,
}

/// Runs the command.
pub(crate) fn run(_args: FetchArgs, _context: &Context) -> Result<ExitCode, Error> {
    Err(Error::NotAvailable("fetch"))
}

/// Brings one image into the store.
pub(crate) fn image(
    _name: &images::reference::ImageName,
    _signatures: &[std::path::PathBuf],
    _store: &images::store::Store,
    _context: &Context,
) -> Result<images::store::Image, Error> {
    Err(Error::NotAvailable("fetch"))
}
