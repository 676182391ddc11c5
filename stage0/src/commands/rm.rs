//! `skua rm`: removes pods that are not running.

use std::process::ExitCode;

use clap::Args;
use pod::Pod;

use crate::context::Context;
use crate::error::Error;
use crate::find::SomePods;
use crate::handover::Networks;
use crate::heal::{self, Unhealed};
use crate::{errand, remove};

// What `rm` takes.
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    #[command(flatten)]
    pub(crate) pods: SomePods,
    /// Remove also what cannot leave its networks, as without their plugins: what they keep for the pod, such as an address, stays taken
    #[arg(long)]
    pub(crate) abandon_networks: bool,
}

/// Runs the command. Every pod that can be removed is, even when one before it cannot, or is not there.
pub(crate) fn run(args: RmArgs, context: &Context) -> Result<ExitCode, Error> {
    let mut unhealed = heal::all(context)?;
    let found = args.pods.find(&context.data);
    let is_meant = |(id, _): &Unhealed| found.pods.iter().any(|pod| pod.id == *id);
    let others = unhealed.iter().filter(|unhealed| !is_meant(unhealed));
    others.for_each(heal::note);
    errand::each_found(context, found, |pod| {
        match unhealed.iter().position(|(id, _)| *id == pod.id) {
            None => remove::pod(remove::lock(pod)?, context),
            Some(_) if args.abandon_networks => abandon(pod, context),
            Some(at) => Err(unhealed.swap_remove(at).1),
        }
    })
}

/// Removes a dead pod, whether it can leave its networks or not.
fn abandon(pod: &Pod, context: &Context) -> Result<(), Error> {
    let Some(locked) = pod.try_lock()? else {
        return Err(Error::Busy(pod.id.clone()));
    };
    for abandoned in heal::end(locked, Networks::Abandoned, context)?.lines() {
        log::warn!("pod {}: {abandoned}", pod.id);
    }
    // One that was to be removed at its end is gone.
    match Pod::find(&context.data, &pod.id) {
        Some(ended) => remove::pod(remove::lock(&ended)?, context),
        None => Ok(()),
    }
}
