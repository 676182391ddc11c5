//! `skua lock`: prints exactly which images some names stand for, for `run --locked`.

use std::process::ExitCode;

use clap::Args;
use images::reference::ImageName;

use crate::context::Context;
use crate::error::Error;
use crate::lock::{Lock, Locked};
use crate::output;
use crate::prepare::{self, ImageSource};
use crate::run_line::FetchFlags;
use crate::trusted::{self, Judge, Subject};

// What `lock` takes.
#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    #[command(flatten)]
    pub(crate) fetch: FetchFlags,
    /// References of the images
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

/// Fetches what is missing, and prints the lock once every image was found and is trusted.
pub(crate) fn run(args: LockArgs, context: &Context) -> Result<ExitCode, Error> {
    let store = context.store()?;
    let judge = Judge::new(trusted::signatures(&args.fetch.signature)?, context)?;
    let source = ImageSource {
        flags: &args.fetch,
        signatures: judge.given(),
        store: &store,
    };
    let mut locked = Vec::new();
    for given in &args.images {
        let name = ImageName::parse(given)?;
        let image = prepare::image(&name, &source, context)?;
        let subject = Subject::from(&image);
        judge.decide(&subject, &store)?;
        locked.push(Locked::new(&image, judge.signers(&subject, &store)?)?);
    }
    output::print_json(&Lock::new(locked))?;
    Ok(ExitCode::SUCCESS)
}
