//! Healing: what a crash left behind is put in order before anyone looks at pods.

use pod::{Pod, State};

use crate::context::Context;
use crate::error::{Error, joined};
use crate::handover::Stage1;

/// Brings every pod into a state that its lock agrees with. A pod that cannot be healed stays as it is, with a note.
pub(crate) fn pods(context: &Context) -> Result<(), Error> {
    for pod in Pod::list(&context.data)? {
        if let Err(error) = heal(pod, context) {
            log::warn!("{}", joined(&error));
        }
    }
    Ok(())
}

/// A pod in `run` without a keeper is ended; a prepare without a preparer is garbage. Others have nothing to heal.
fn heal(pod: Pod, context: &Context) -> Result<(), Error> {
    match pod.state {
        State::Run => {
            let Some(mut locked) = pod.try_lock()? else {
                return Ok(());
            };
            log::debug!("the keeper of pod {} is gone", pod.id);
            Stage1::new(None, context)?
                .gc(&locked)
                .map_err(|e| Error::Heal(pod.id.clone(), Box::new(e)))?;
            if pod.path().exists() {
                locked.move_to(State::ExitedGarbage)?;
            }
            Ok(())
        }
        State::Prepare => match pod.try_lock()? {
            Some(mut locked) => Ok(locked.move_to(State::Garbage)?),
            None => Ok(()),
        },
        State::Embryo | State::Prepared | State::ExitedGarbage | State::Garbage => Ok(()),
    }
}
