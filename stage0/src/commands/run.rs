//! `skua run`: makes a pod and becomes its keeper.

use std::process::ExitCode;

use clap::Args;
use pod::State;

use crate::context::Context;
use crate::error::Error;
use crate::given::{Claims, Given};
use crate::handover::Stage1;
use crate::manifest::Terminal;
use crate::run_line::{AppWords, ParentFlags, PodFlags};
use crate::{parent, prepare, watchdog};

// What `run` takes.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) pod: PodFlags,
    #[command(flatten)]
    pub(crate) parent: ParentFlags,
    #[command(flatten)]
    pub(crate) apps: AppWords,
}

/// Runs the command. Only a failure comes back: the keeper has taken our place.
pub(crate) fn run(args: RunArgs, context: &Context) -> Result<ExitCode, Error> {
    let mut given = Given::take()?;
    let apps = args.apps.parse()?;
    watchdog::check(apps.iter().map(|app| app.flags.notify))?;
    parent::watch(&args.parent)?;
    let stage1 = Stage1::new(args.pod.stage1.as_deref(), context)?;
    given.meet(&Claims::of_lines(&apps))?;
    let mut pod = prepare::pod(&args.pod, apps, Terminal::of_caller(), context)?;
    let reason = match pod.move_to(State::Run) {
        Ok(()) => stage1.run(&pod, &given),
        Err(error) => error.into(),
    };
    Err(prepare::abandon(pod, context, reason))
}
