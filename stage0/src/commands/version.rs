//! `skua version`: prints the version.

use std::process::ExitCode;

use clap::Args;

use crate::error::Error;
use crate::output;

// What `version` takes.
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {}

/// Runs the command.
pub(crate) fn run(_args: VersionArgs) -> Result<ExitCode, Error> {
    let (version, contract) = (env!("CARGO_PKG_VERSION"), pod::CONTRACT_VERSION);
    output::print(&format!("skua {version}\npod contract {contract}\n"))?;
    Ok(ExitCode::SUCCESS)
}
