//! `skua kill`: sends a signal to running pods.

use std::process::ExitCode;

use clap::Args;
use pod::State;

use crate::context::Context;
use crate::error::Error;
use crate::find::SomePods;
use crate::handover::Stage1;
use crate::typed::StopSignal;
use crate::{errand, heal};

/// The number of `SIGSTOP`: it would stop the one process of a pod that nothing of the pod may wait for.
const SIGSTOP: i32 = 19;

// What `kill` takes.
#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    #[command(flatten)]
    pub(crate) pods: SomePods,
    /// The signal, by name or number. SIGKILL ends the pod at once; SIGTERM and SIGQUIT ask it to end as 'skua stop'
    /// does; every other reaches each app, and after SIGINT the pod is stopped if it has not ended within its stop timeout
    #[arg(long, short, value_name = "SIGNAL", default_value = "SIGKILL")]
    pub(crate) signal: StopSignal,
}

/// Runs the command. Every pod gets the signal, even when one before it fails or is not there.
pub(crate) fn run(args: KillArgs, context: &Context) -> Result<ExitCode, Error> {
    let signal = args.signal.0;
    if signal == SIGSTOP {
        return Err(Error::usage("SIGSTOP cannot be passed on to apps", None));
    }
    heal::pods(context)?;
    let found = args.pods.find(&context.data);
    let stage1 = Stage1::new(None, context)?;
    errand::each_found(context, found, |pod| {
        if pod.state != State::Run || !pod.is_locked()? {
            return Err(Error::NotRunning(pod.id.clone(), pod.state));
        }
        let told = stage1.kill(&pod.dir(), signal);
        told.map_err(Error::tell("signal", &pod.id))
    })
}
