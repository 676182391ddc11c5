//! `skua gc`: heals what crashes left and removes old pods.

use std::process::ExitCode;

use clap::Args;
use pod::{Locked, Pod, State};

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
    /// Keep prepared pods that have waited for less than this; others expire, and are removed after the grace period [default: 7d]
    #[arg(long, value_name = "TIME")]
    pub(crate) expire_prepared: Option<Seconds>,
    /// Print which pods would be removed or expire, and do neither
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// How long pods are kept, and what time it is.
struct Terms {
    grace: Seconds,
    prepared: Seconds,
    now: Clock,
}

/// Runs the command.
pub(crate) fn run(args: GcArgs, context: &Context) -> Result<ExitCode, Error> {
    let settings = Settings::load(&context.config_directories)?;
    heal::pods(context)?;
    let terms = Terms {
        grace: args.grace_period.unwrap_or(settings.grace_period.value),
        prepared: args
            .expire_prepared
            .unwrap_or(settings.expire_prepared.value),
        now: Clock::now()?,
    };
    let mut due = Vec::new();
    for pod in Pod::list(&context.data)? {
        if terms.is_due(&pod)? {
            due.push(pod);
        }
    }
    if args.dry_run {
        let lines: String = due.iter().map(|pod| format!("{}\n", pod.id)).collect();
        output::print(&lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    errand::each(context, &due, |pod| match pod.try_lock()? {
        Some(locked) if pod.state == State::Prepared => terms.expire(locked, context),
        Some(locked) => remove::pod(locked, context),
        None => Ok(()),
    })
}

impl Terms {
    /// Whether a pod is to be removed, or to expire. One that somebody holds the lock of never is.
    fn is_due(&self, pod: &Pod) -> Result<bool, Error> {
        let kept = |seconds: Seconds| u64::from(seconds.0);
        match pod.state {
            State::Embryo => Ok(!pod.is_locked()?),
            State::Garbage => match age::expired(pod, &self.now)? {
                Some(age) if age < kept(self.grace) => Ok(false),
                _ => Ok(!pod.is_locked()?),
            },
            State::ExitedGarbage => {
                Ok(self.grace.0 == 0 || age::ended(pod, &self.now)? >= kept(self.grace))
            }
            State::Prepared => {
                Ok(self.prepared.0 == 0 || age::waited(pod, &self.now)? >= kept(self.prepared))
            }
            State::Prepare | State::Run => Ok(false),
        }
    }

    /// Takes a prepared pod from those that can be run. Who comes too late for it is told so until the grace period is over.
    fn expire(&self, mut locked: Locked, context: &Context) -> Result<(), Error> {
        if self.grace.0 == 0 {
            return remove::pod(locked, context);
        }
        age::expires(&locked.pod, &self.now)?;
        locked.move_to(State::Garbage)?;
        log::warn!("pod {} was prepared and not run: expired", locked.pod.id);
        Ok(())
    }
}
