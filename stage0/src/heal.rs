//! Healing: what a crash left behind is put in order before anyone looks at pods.

use pod::{Locked, Pod, PodId, State};

use crate::context::Context;
use crate::error::{Error, joined};
use crate::handover::{Networks, Stage1};

/// A pod that cannot be healed, and why.
pub(crate) type Unhealed = (PodId, Error);

/// Brings every pod into a state that its lock agrees with. A pod that cannot be healed stays as it is, with a note.
pub(crate) fn pods(context: &Context) -> Result<(), Error> {
    all(context)?.iter().for_each(note);
    Ok(())
}

/// As [`pods`]; what is said of those that cannot be healed is the caller's business.
pub(crate) fn all(context: &Context) -> Result<Vec<Unhealed>, Error> {
    let mut unhealed = Vec::new();
    for pod in Pod::list(&context.data)? {
        let id = pod.id.clone();
        unhealed.extend(heal(pod, context).err().map(|error| (id, error)));
    }
    Ok(unhealed)
}

/// Says that a pod stays as it is.
pub(crate) fn note((_, error): &Unhealed) {
    log::warn!("{}", joined(error));
}

/// A pod in `run` without a keeper is ended; a prepare without a preparer is garbage. Others have nothing to heal.
fn heal(pod: Pod, context: &Context) -> Result<(), Error> {
    match pod.state {
        State::Run => match pod.try_lock()? {
            Some(locked) => end(locked, Networks::Left, context).map(drop),
            None => Ok(()),
        },
        State::Prepare => match pod.try_lock()? {
            Some(mut locked) => Ok(locked.move_to(State::Garbage)?),
            None => Ok(()),
        },
        State::Embryo | State::Prepared | State::ExitedGarbage | State::Garbage => Ok(()),
    }
}

/// Ends a pod without a keeper. Where its networks may be abandoned, those that are, in words.
pub(crate) fn end(
    mut locked: Locked,
    networks: Networks,
    context: &Context,
) -> Result<String, Error> {
    let id = locked.pod.id.clone();
    log::debug!("the keeper of pod {id} is gone");
    let abandoned = Stage1::new(None, context)?
        .gc(&locked, networks)
        .map_err(|e| Error::Heal(id, Box::new(e)))?;
    if locked.pod.path().exists() {
        locked.move_to(State::ExitedGarbage)?;
    }
    Ok(abandoned)
}
