//! `skua man`: writes the manual pages, one for each subcommand; used by the packaging.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli;
use crate::error::Error;

/// Columns of a manual page.
const WIDTH: usize = 78;

// What `man` takes.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// An existing directory
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: ManArgs) -> Result<ExitCode, Error> {
    clap_mangen::generate_to(cli::documented(Some(WIDTH)), &args.directory)
        .map_err(|e| Error::ManPages(args.directory, e))?;
    Ok(ExitCode::SUCCESS)
}
