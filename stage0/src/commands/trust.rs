//! `skua trust`: which images may run, and whose keys decide.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use crate::context::Context;
use crate::error::Error;
use crate::output::Format;

/// What `trust` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// Accept images below a prefix when they are signed by one of these keys
    Add {
        /// Prefix of image names, matched at '/' boundaries
        #[arg(long, value_name = "PREFIX")]
        prefix: String,
        /// Files with public keys
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<PathBuf>,
    },
    /// List the scopes and their keys
    List {
        /// How it is printed
        #[arg(long, value_name = "FORMAT", value_enum, default_value = "table")]
        format: Format,
    },
    /// Trust these keys no longer; without a key remove the whole scope
    Rm {
        /// Prefix of the scope
        #[arg(long, value_name = "PREFIX")]
        prefix: String,
        /// Fingerprints of keys, or files with them
        #[arg(value_name = "KEY")]
        keys: Vec<String>,
    },
    /// Print each rule tried for an image in the store, and why it did or did not hold
    Test {
        /// Reference of the image
        image: String,
    },
}

/// Runs the command.
pub(crate) fn run(_command: TrustCommand, _context: &Context) -> Result<ExitCode, Error> {
    Err(Error::NotAvailable("trust"))
}
