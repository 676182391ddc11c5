//! `skua rm`: removes pods that are not running.

use std::process::ExitCode;

use clap::Args;

use crate::context::Context;
use crate::error::Error;
use crate::find::SomePods;
use crate::{errand, heal, remove};

// What `rm` takes.
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    #[command(flatten)]
    pub(crate) pods: SomePods,
}

/// Runs the command. Every pod that can be removed is, even when one before it cannot.
pub(crate) fn run(args: RmArgs, context: &Context) -> Result<ExitCode, Error> {
    heal::pods(context)?;
    let pods = args.pods.find(&context.data)?;
    errand::each(context, &pods, |pod| {
        remove::pod(remove::lock(pod)?, context)
    })
}
