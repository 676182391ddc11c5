//! `skua prepare`: makes a pod that is ready to run.

use std::process::ExitCode;

use clap::Args;
use pod::State;

use crate::context::Context;
use crate::error::Error;
use crate::manifest::Terminal;
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

/// Runs the command. A prepared pod may wait for longer than the power lasts: it is on the disk before its UUID is printed.
pub(crate) fn run(args: PrepareArgs, context: &Context) -> Result<ExitCode, Error> {
    let mut pod = prepare::pod(&args.pod, args.apps.parse()?, Terminal::Later, context)?;
    let kept = pod::sync(&pod.pod.dir().manifest())
        .and_then(|()| pod.move_to(State::Prepared))
        .and_then(|()| pod::sync(&pod.pod.path()));
    // Of a pod whose UUID nobody was told nobody could get rid.
    let told = kept
        .map_err(Error::from)
        .and_then(|()| output::print(&format!("{}\n", pod.pod.id)));
    match told {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(prepare::abandon(pod, context, error)),
    }
}
