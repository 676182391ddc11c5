//! Removing pods: out of sight by one rename, then file by file.

use std::fs;
use std::io;
use std::path::Path;

use pod::{Locked, Pod, State};

use crate::context::Context;
use crate::error::Error;
use crate::handover::Stage1;

/// Removes a pod whose lock we hold and that is not running.
pub(crate) fn pod(mut locked: Locked, context: &Context) -> Result<(), Error> {
    if locked.pod.state != State::Garbage {
        locked.move_to(State::Garbage)?;
    }
    let path = locked.pod.path();
    // What apps wrote goes first: as long as any of it is left, the manifest that stage1 needs is there.
    let written = ["rootfs", "volumes"]
        .iter()
        .try_for_each(|part| absent(&path.join(part)));
    match written {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            return Stage1::new(None, context)?.rm(&locked);
        }
        other => other.and_then(|()| fs::remove_dir_all(&path)),
    }
    .map_err(|e| Error::Remove(path, e))
}

/// Removes a directory that may be absent.
fn absent(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Takes the lock of a pod for its removal. A running pod is an error.
pub(crate) fn lock(pod: &Pod) -> Result<Locked, Error> {
    match (pod.state, pod.try_lock()?) {
        (State::Run, _) => Err(Error::Running(pod.id.clone())),
        (_, Some(locked)) => Ok(locked),
        (_, None) => Err(Error::Busy(pod.id.clone())),
    }
}
