//! `skua gc`: heals what crashes left and removes old pods.

use std::process::ExitCode;

use clap::Args;
use pod::{Pod, State};

use crate::age::{self, Clock};
use crate::context::Context;
use crate::error::Error;
use crate::settings::Settings;
use crate::typed::Seconds;
use crate::{errand, heal, output, remove};

// What `gc` takes.
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Keep pods that ended less than this ago [default: 30m]
    #[arg(long, value_name = "TIME")]
    pub(crate) grace_period: Option<Seconds>,
    /// Print what would be removed, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Runs the command.
pub(crate) fn run(args: GcArgs, context: &Context) -> Result<ExitCode, Error> {
    let settings = Settings::load(&context.config_directories)?;
    let grace = args.grace_period.unwrap_or(settings.grace_period.value);
    heal::pods(context)?;
    let now = Clock::now()?;
    let mut due = Vec::new();
    for pod in Pod::list(&context.data)? {
        if is_due(&pod, grace, &now)? {
            due.push(pod);
        }
    }
    if args.dry_run {
        let lines: String = due.iter().map(|pod| format!("{}\n", pod.id)).collect();
        output::print(&lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    errand::each(context, &due, |pod| match pod.try_lock()? {
        Some(locked) => remove::pod(locked, context),
        None => Ok(()),
    })
}

/// Whether a pod is to be removed. One that somebody holds the lock of never is.
fn is_due(pod: &Pod, grace: Seconds, now: &Clock) -> Result<bool, Error> {
    match pod.state {
        State::Embryo | State::Garbage => Ok(!pod.is_locked()?),
        State::ExitedGarbage => Ok(grace.0 == 0 || age::ended(pod, now)? >= u64::from(grace.0)),
        State::Prepare | State::Prepared | State::Run => Ok(false),
    }
}
