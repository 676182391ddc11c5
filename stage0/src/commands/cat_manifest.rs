//! `skua cat-manifest`: prints what a pod was made to be.

use std::process::ExitCode;

use clap::Args;
use pod::PodManifest;

use crate::context::Context;
use crate::error::Error;
use crate::find::OnePod;
use crate::{heal, output};

// What `cat-manifest` takes.
#[derive(Debug, Args)]
pub(crate) struct CatManifestArgs {
    #[command(flatten)]
    pub(crate) pod: OnePod,
}

/// Runs the command.
pub(crate) fn run(args: CatManifestArgs, context: &Context) -> Result<ExitCode, Error> {
    heal::pods(context)?;
    let pod = args.pod.find(&context.data)?;
    let manifest: PodManifest = pod::load(&pod.dir().manifest())?;
    output::print_json(&manifest)?;
    Ok(ExitCode::SUCCESS)
}
