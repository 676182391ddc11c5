//! `skua prepare`: makes a pod that is ready to run.

use std::process::ExitCode;

use clap::Args;
use pod::State;

use crate::context::Context;
use crate::error::Error;
use crate::run_line::{AppWords, PodFlags};
use crate::{output, prepare};

// What `prepare` takes.
#[derive(Debug, Args)]
pub(crate) struct PrepareArgs {
    #[command(flatten)]
    pub(crate) pod: PodFlags,
    #[command(flatten)]
    pub(crate) apps: AppWords,
}

/// Runs the command.
pub(crate) fn run(args: PrepareArgs, context: &Context) -> Result<ExitCode, Error> {
    let mut pod = prepare::pod(&args.pod, args.apps.parse()?, context)?;
    if let Err(error) = pod.move_to(State::Prepared) {
        return Err(prepare::abandon(pod, context, error.into()));
    }
    output::print(&format!("{}\n", pod.pod.id))?;
    Ok(ExitCode::SUCCESS)
}
