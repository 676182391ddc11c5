//! How long ago a pod ended, and how long a prepared one has waited, by evidence that a changed clock cannot forge.
//!
//! ```text
//! ended      in exited-garbage   the boot and the seconds since it, when gc first saw the pod
//! waiting    in prepared         the same of the last gc that saw it, and how old it was then
//! expired    in garbage          the same of the gc that moved it there
//! ```
//!
//! A later `gc` of the same boot knows at least the difference; after a reboot the pod is at least as old as the boot. Wall
//! time is never asked.

use std::fs;
use std::io;
use std::path::Path;

use images::gc::{Downloads, Grace};
use nix::time::{ClockId, clock_gettime};
use pod::{Pod, PodDir, Running, State};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// This moment.
pub(crate) struct Clock {
    boot_id: String,
    since_boot: u64,
}

/// Contents of `ended` and `expired`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    version: u32,
    boot_id: String,
    since_boot: u64,
}

impl Clock {
    /// This moment, for what has to wait for `seconds`.
    pub(crate) fn grace(self, seconds: u64) -> Grace {
        Grace {
            seconds,
            boot_id: self.boot_id,
            since_boot: self.since_boot,
            downloads: Downloads::Young,
        }
    }

    fn seen(&self) -> Seen {
        Seen {
            version: pod::CONTRACT_VERSION,
            boot_id: self.boot_id.clone(),
            since_boot: self.since_boot,
        }
    }

    /// Asks the kernel.
    pub(crate) fn now() -> Result<Self, Error> {
        let boot_id =
            fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(Error::Clock)?;
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_err(|e| Error::Clock(e.into()))?;
        Ok(Self {
            boot_id: boot_id.trim_end().to_owned(),
            since_boot: u64::try_from(now.tv_sec()).unwrap_or(0),
        })
    }
}

/// Contents of `waiting`: how old a prepared pod was known to be when `gc` last saw it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Waiting {
    version: u32,
    boot_id: String,
    since_boot: u64,
    /// In seconds that the machine was up.
    age: u64,
}

/// At least how many seconds ago `pod` ended.
pub(crate) fn ended(pod: &Pod, now: &Clock) -> Result<u64, Error> {
    let path = pod.dir().ended();
    match since(&path, now)? {
        Some(seconds) => Ok(seconds),
        None if ran_before_this_boot(&pod.dir(), now) => Ok(now.since_boot),
        None => note(&path, &now.seen()).map(|()| 0),
    }
}

/// At least how many seconds a prepared pod has waited to be run. After a reboot it goes on from what was known before: it may
/// wait for longer than this machine is ever up.
pub(crate) fn waited(pod: &Pod, now: &Clock) -> Result<u64, Error> {
    let path = pod.dir().waiting();
    let age = match found(pod::load::<Waiting>(&path))? {
        Some(seen) if seen.boot_id == now.boot_id => {
            let further = now.since_boot.saturating_sub(seen.since_boot);
            seen.age.saturating_add(further)
        }
        Some(seen) => seen.age.saturating_add(now.since_boot),
        None => 0,
    };
    let waiting = Waiting {
        version: pod::CONTRACT_VERSION,
        boot_id: now.boot_id.clone(),
        since_boot: now.since_boot,
        age,
    };
    note(&path, &waiting).map(|()| age)
}

/// Notes in a prepared pod that it expires now.
pub(crate) fn expires(pod: &Pod, now: &Clock) -> Result<(), Error> {
    note(&pod.dir().expired(), &now.seen())
}

/// At least how many seconds ago a pod in `garbage` expired; `None`: that is not why it is there.
pub(crate) fn expired(pod: &Pod, now: &Clock) -> Result<Option<u64>, Error> {
    since(&pod.dir().expired(), now)
}

/// Whether `pod` is in `garbage` because it expired.
pub(crate) fn has_expired(pod: &Pod) -> bool {
    pod.state == State::Garbage && pod.dir().expired().exists()
}

/// At least how many seconds ago `path` was noted.
fn since(path: &Path, now: &Clock) -> Result<Option<u64>, Error> {
    let seen = found(pod::load::<Seen>(path))?;
    Ok(seen.map(|seen| {
        let before = if seen.boot_id == now.boot_id {
            seen.since_boot
        } else {
            0
        };
        now.since_boot.saturating_sub(before)
    }))
}

/// What a note says. One that a power failure has torn says nothing, as if it had not been written: it is written anew.
fn found<T>(loaded: Result<T, pod::Error>) -> Result<Option<T>, Error> {
    match loaded {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.is_missing() || e.is_malformed() => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Writes a note. Where there is no space, the pod stays as young as it is and stands in nobody's way; one that has moved on
/// meanwhile needs none.
fn note<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    match pod::save(path, value) {
        Err(error) if error.is_full_disk() => Ok(()),
        Err(pod::Error::Write(_, e)) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        saved => Ok(saved?),
    }
}

fn ran_before_this_boot(dir: &PodDir, now: &Clock) -> bool {
    pod::load::<Running>(&dir.pid()).is_ok_and(|running| running.boot_id != now.boot_id)
}
