//! `skua completion`: prints a completion script.

use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use crate::error::Error;
use crate::{cli, output};

// What `completion` takes.
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Runs the command.
pub(crate) fn run(args: CompletionArgs) -> Result<ExitCode, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::completable(), "skua", &mut script);
    output::print_bytes(&script)?;
    Ok(ExitCode::SUCCESS)
}
