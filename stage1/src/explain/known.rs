//! What a pod that was started has left in its directory about what could not be known before.

use std::io;
use std::path::PathBuf;

use pod::{App, AppFile, NetworkUse, PodDir, PodResult, Running};

use crate::error::Error;
use crate::{alive, cgroup, host, network};

/// Nothing of it, for a pod that is not made.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// What the filters of its apps refuse is said on standard error: `--debug`.
    pub(super) watched: bool,
    /// Its processes and its map, when it was started since the last boot.
    pub(super) running: Option<Running>,
    /// Its cgroup, when it got one.
    pub(super) cgroup: Option<PathBuf>,
    /// The networks that it is in, or was in before it ended.
    pub(super) networks: Vec<NetworkUse>,
}

impl Known {
    /// Of a pod that is not made.
    pub(super) fn draft() -> Self {
        Self {
            watched: std::env::var_os(pod::DEBUG_VARIABLE).is_some(),
            ..Self::default()
        }
    }

    /// Of the pod of the working directory.
    pub(super) fn load(dir: &PodDir) -> Result<Self, Error> {
        Ok(Self {
            watched: dir.apps().join(pod::SYSTEM_CALLS).exists(),
            running: alive::load(dir)?,
            cgroup: cgroup::recorded(dir, &host::pod_id()?)?,
            networks: networks(dir)?,
        })
    }
}

/// An ended pod has left its networks, and its record has them.
fn networks(dir: &PodDir) -> Result<Vec<NetworkUse>, Error> {
    match pod::load::<PodResult>(&dir.result()) {
        Ok(result) => Ok(result.networks),
        Err(pod::Error::Read(_, e)) if e.kind() == io::ErrorKind::NotFound => {
            Ok(network::uses(dir))
        }
        Err(e) => Err(e.into()),
    }
}

/// What the wishes about streams came to in a pod that was started.
pub(super) fn streams(dir: &PodDir, app: &mut App) {
    if let Ok(file) = pod::load::<AppFile>(&dir.app(&app.name)) {
        (app.stdin, app.terminal) = (file.stdin, file.terminal);
    }
}
