//! `skua gc`: heals what crashes left and removes old pods.

use std::process::ExitCode;

use clap::Args;
use pod::{Locked, Pod, PodManifest, Scratch, State};

use crate::age::{self, Clock};
use crate::context::Context;
use crate::error::{Error, joined};
use crate::record::{self, Record, RecordError};
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

/// Runs the command. Every pod is looked at, even when one before it fails.
pub(crate) fn run(args: GcArgs, context: &Context) -> Result<ExitCode, Error> {
    let settings = Settings::load(&context.config_directories)?;
    let unhealed = heal::all(context)?;
    let terms = Terms {
        grace: args.grace_period.unwrap_or(settings.grace_period.value),
        prepared: args
            .expire_prepared
            .unwrap_or(settings.expire_prepared.value),
        now: Clock::now()?,
    };
    let pods = Pod::list(&context.data)?;
    let collected = errand::each(context, &pods, |pod| match terms.is_due(pod)? {
        true if args.dry_run => output::print(&format!("{}\n", pod.id)),
        true => terms.collect(pod, context),
        false => Ok(()),
    });
    let mut failures: Vec<Error> = unhealed.into_iter().map(|(_, error)| error).collect();
    failures.extend(collected.err());
    if !args.dry_run {
        failures.extend(unfinished(context).err());
    }
    errand::failed(context, failures)
}

/// Removes what somebody who is gone had not finished.
fn unfinished(context: &Context) -> Result<(), Error> {
    let data = &context.data;
    let left = Scratch::left(data).map_err(|e| Error::Remove(data.0.clone(), e))?;
    let locks = pod::remove_older_locks(data);
    locks.map_err(|e| Error::Remove(data.0.join("ids"), e))?;
    left.iter().try_for_each(|scratch| {
        let removed = scratch.remove();
        removed.map_err(|e| Error::Remove(scratch.path().to_owned(), e))
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
                let lost = matches!(record::of(pod.clone()), Ok(Record::Lost(..)));
                let old = || age::waited(pod, &self.now).map(|age| age >= kept(self.prepared));
                Ok(lost || self.prepared.0 == 0 || old()?)
            }
            State::Prepare | State::Run => Ok(false),
        }
    }

    /// Removes a pod that is due, or lets it expire.
    fn collect(&self, pod: &Pod, context: &Context) -> Result<(), Error> {
        let Some(locked) = pod.try_lock()? else {
            return Ok(());
        };
        if pod.state != State::Prepared {
            return remove::pod(locked, context);
        }
        match pod::load::<PodManifest>(&pod.dir().manifest()) {
            Err(error) if record::is_lost(pod.state, &error) => {
                let why = joined(&RecordError::Lost(error));
                log::warn!("pod {} was prepared, but {why}: removed", pod.id);
                remove::pod(locked, context)
            }
            _ => self.expire(locked, context),
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
