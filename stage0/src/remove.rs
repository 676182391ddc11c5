//! Removing pods: out of sight by one rename, then file by file.

use pod::{Locked, Pod, State};

use crate::context::Context;
use crate::error::Error;
use crate::worker;

/// Removes a pod whose lock we hold and that is not running. What apps wrote may belong to ids that are not ours: a worker
/// with the pod's ids removes it, whatever the manifest says or whether there is one.
pub(crate) fn pod(mut locked: Locked, context: &Context) -> Result<(), Error> {
    if locked.pod.state != State::Garbage {
        locked.move_to(State::Garbage)?;
    }
    let path = locked.pod.path();
    worker::remove(&path, context.debug).map_err(|e| Error::Remove(path, e))
}

/// Takes the lock of a pod for its removal. A running pod is an error.
pub(crate) fn lock(pod: &Pod) -> Result<Locked, Error> {
    match (pod.state, pod.try_lock()?) {
        (State::Run, _) => Err(Error::Running(pod.id.clone())),
        (_, Some(locked)) => Ok(locked),
        (_, None) => Err(Error::Busy(pod.id.clone())),
    }
}
