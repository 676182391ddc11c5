//! Of a pod in state `run` whose keeper is gone: kills what is left, leaves its networks, records that it was killed.
//!
//! **Runs as** the caller, with the pod's lock: nobody else does this. **Needs** nothing but the pod directory.
//! **Leaves** the pod in `exited-garbage`. **Undone by** nothing; after a failure the next `gc` does it again.

use std::time::UNIX_EPOCH;

use pod::{PodDir, PodResult, State};

use crate::alive;
use crate::cgroup;
use crate::error::{Error, joined};
use crate::finish;
use crate::host::Host;
use crate::network::{self, Netns};
use crate::opened::Opened;
use crate::wait;

/// Ends a dead pod.
pub(crate) fn gc() -> Result<u8, Error> {
    let host = Host::probe()?;
    let opened = Opened::take(&host, State::Run)?;
    kill(&opened.dir)?;
    let mut errors = network::del(&opened.dir, Netns::Gone).into_iter();
    if let Some(error) = errors.next() {
        return Err(error.into());
    }
    if !opened.dir.result().exists() {
        match pod::save(&opened.dir.result(), &result(&opened)) {
            // What fills the disk may be the pod itself, and goes only with it: without a record, then.
            Err(error) if error.is_full_disk() => {}
            saved => saved?,
        }
    }
    finish::move_on(opened).map(|()| 0)
}

/// Pid 1 first: with it the kernel kills its pid namespace. The cgroup also has what has not entered the namespace yet.
fn kill(dir: &PodDir) -> Result<(), Error> {
    if let Some(running) = alive::load(dir)? {
        alive::kill(running.pod)?;
    }
    match cgroup::recorded(dir)? {
        Some(path) => cgroup::remove(&path),
        None => Ok(()),
    }
}

fn result(opened: &Opened) -> PodResult {
    let changed = std::fs::metadata(opened.dir.pid()).and_then(|pid| pid.modified());
    let since = changed
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    PodResult {
        version: pod::CONTRACT_VERSION,
        exit_status: finish::FAILED,
        started: since
            .and_then(|since| u64::try_from(since.as_nanos()).ok())
            .unwrap_or(0),
        finished: wait::now(),
        apps: finish::statuses(opened),
        errors: vec![joined(&Error::KeeperKilled)],
    }
}
