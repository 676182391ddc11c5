//! `skua status`: shows one pod.

use std::process::ExitCode;

use clap::Args;
use pod::{Pod, State};

use crate::context::Context;
use crate::error::Error;
use crate::find::OnePod;
use crate::output::Format;
use crate::report::Report;
use crate::{heal, output};

// What `status` takes.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) pod: OnePod,
    /// Wait until the pod has ended
    #[arg(long)]
    pub(crate) wait: bool,
    /// How it is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub(crate) format: Format,
}

/// Runs the command.
pub(crate) fn run(args: StatusArgs, context: &Context) -> Result<ExitCode, Error> {
    heal::pods(context)?;
    let mut pod = args.pod.find(&context.data)?;
    if args.wait {
        pod = wait(pod, context)?;
    }
    let report = Report::of(&pod);
    match args.format {
        Format::Json => output::print_json(&report)?,
        Format::Table => output::print(&report.lines())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for the end of a pod, without polling: its lock is free then. Where its keeper was killed, what it left is
/// healed first.
fn wait(mut pod: Pod, context: &Context) -> Result<Pod, Error> {
    while pod.state <= State::Run {
        let before = pod.state;
        pod.wait()?;
        heal::pods(context)?;
        let id = pod.id.clone();
        pod = Pod::find(&context.data, &id).ok_or(Error::RemovedMeanwhile(id))?;
        if pod.state == before && !pod.is_locked()? {
            break;
        }
    }
    Ok(pod)
}
