//! `skua stop`: ends running pods.

use std::process::ExitCode;

use clap::Args;
use pod::State;

use crate::context::Context;
use crate::error::Error;
use crate::find::SomePods;
use crate::handover::Stage1;
use crate::{errand, heal};

// What `stop` takes.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    #[command(flatten)]
    pub(crate) pods: SomePods,
    /// Kill at once instead of asking
    #[arg(long)]
    pub(crate) force: bool,
}

/// Runs the command. Every pod is asked, and none is waited for, even when one before it fails or is not there.
pub(crate) fn run(args: StopArgs, context: &Context) -> Result<ExitCode, Error> {
    heal::pods(context)?;
    let found = args.pods.find(&context.data);
    let stage1 = Stage1::new(None, context)?;
    errand::each_found(context, found, |pod| {
        if pod.state != State::Run || !pod.is_locked()? {
            return Err(Error::NotRunning(pod.id.clone(), pod.state));
        }
        let told = stage1.stop(&pod.dir(), args.force);
        told.map_err(Error::tell("stop", &pod.id))
    })
}
