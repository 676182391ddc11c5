//! The pod of the working directory: its manifest and its lock.

use std::fs::File;
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;

use pod::{LOCK_FD_VARIABLE, Locked, Pod, PodDir, PodId, PodManifest, State};

use crate::error::Error;
use crate::host::Host;
use crate::sys;

/// A pod whose lock this process holds.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Its paths, relative to the working directory.
    pub(crate) dir: PodDir,
    /// Its manifest.
    pub(crate) manifest: PodManifest,
    /// Its lock.
    pub(crate) locked: Locked,
}

impl Opened {
    /// Takes over the lock, and loads the manifest. The pod must be in `state`.
    pub(crate) fn take(host: &Host, state: State) -> Result<Self, Error> {
        let dir = PodDir::here();
        let manifest: PodManifest = pod::load(&dir.manifest())?;
        let locked = lock(host, &manifest.id, state)?;
        Ok(Self {
            dir,
            manifest,
            locked,
        })
    }
}

/// Takes over the lock of the pod whose directory is the working directory. It must be in `state`.
pub(crate) fn lock(host: &Host, id: &PodId, state: State) -> Result<Locked, Error> {
    let (number, lock) = inherited_lock()?;
    let (data, id) = (host.data.clone(), id.clone());
    let pod = Pod { data, id, state };
    let ours = lock.metadata().map_err(|e| Error::Lock(number, e))?;
    let there = std::fs::metadata(pod.path());
    if !there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
        return Err(Error::NotItsDirectory(pod.id, state.directory()));
    }
    lock.try_lock().map_err(|e| Error::Lock(number, e.into()))?;
    Ok(Locked { pod, lock })
}

fn inherited_lock() -> Result<(RawFd, File), Error> {
    let bad = || Error::LockVariable(LOCK_FD_VARIABLE);
    let value = std::env::var(LOCK_FD_VARIABLE).map_err(|_| bad())?;
    let number: RawFd = value.parse().map_err(|_| bad())?;
    if number < 3 {
        return Err(bad());
    }
    let lock = sys::inherited(number).map_err(|e| Error::Lock(number, e))?;
    Ok((number, lock))
}
