//! `skua run-prepared`: becomes the keeper of a prepared pod.

use std::process::ExitCode;

use clap::Args;
use pod::{Pod, PodManifest, State};

use crate::context::Context;
use crate::error::Error;
use crate::find::OnePod;
use crate::given::{Claims, Given};
use crate::handover::Stage1;
use crate::run_line::ParentFlags;
use crate::{age, errand, parent, trusted, watchdog};

// What `run-prepared` takes.
#[derive(Debug, Args)]
pub(crate) struct RunPreparedArgs {
    #[command(flatten)]
    pub(crate) pod: OnePod,
    #[command(flatten)]
    pub(crate) parent: ParentFlags,
    /// Use this stage1 instead of skua's own
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) stage1: Option<std::path::PathBuf>,
}

/// Runs the command. What was trusted and allowed when the pod was made must be so now.
pub(crate) fn run(args: RunPreparedArgs, context: &Context) -> Result<ExitCode, Error> {
    let mut given = Given::take()?;
    parent::watch(&args.parent)?;
    let stage1 = Stage1::new(args.stage1.as_deref(), context)?;
    let pod = args.pod.find(&context.data)?;
    let (State::Prepared, Some(mut locked)) = (pod.state, pod.try_lock()?) else {
        return Err(why_not(pod, context));
    };
    let manifest: PodManifest = pod::load(&pod.dir().manifest())?;
    given.meet(&Claims::of_pod(&manifest))?;
    watchdog::check(manifest.apps.iter().map(|app| app.notify))?;
    trusted::again(&manifest, context)?;
    context.policy()?.check(&manifest)?;
    locked.move_to(State::Run)?;
    let reason = stage1.run(&locked, &given);
    let unmoved = locked.move_to(State::Prepared).map_err(Error::from);
    errand::failed(context, [reason].into_iter().chain(unmoved.err()))
}

/// Why a pod cannot be started now. gc may have been faster, or another command.
fn why_not(pod: Pod, context: &Context) -> Error {
    let pod = Pod::find(&context.data, &pod.id).unwrap_or(pod);
    if age::has_expired(&pod) {
        return Error::Expired(pod.id);
    }
    let why = match pod.state {
        State::Embryo | State::Prepare => "it is being prepared",
        State::Prepared => "somebody is starting it",
        State::Run => "it has been started",
        State::ExitedGarbage => "it has ended",
        State::Garbage => "it is being removed",
    };
    Error::NotPrepared(pod.id, why)
}
