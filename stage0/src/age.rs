//! How long ago a pod ended, by evidence that a changed clock cannot forge.
//!
//! The first `gc` that sees an ended pod writes `ended` into its directory: the boot and the seconds since it. A later
//! one of the same boot knows at least the difference; after a reboot the pod is at least as old as the boot. Wall time
//! is never asked.

use std::fs;
use std::io;

use images::gc::Grace;
use nix::time::{ClockId, clock_gettime};
use pod::{Pod, PodDir, Running};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// This moment.
pub(crate) struct Clock {
    boot_id: String,
    since_boot: u64,
}

/// Contents of `ended`.
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

/// At least how many seconds ago `pod` ended.
pub(crate) fn ended(pod: &Pod, now: &Clock) -> Result<u64, Error> {
    let path = pod.path().join("ended");
    match pod::load::<Seen>(&path) {
        Ok(seen) if seen.boot_id == now.boot_id => {
            Ok(now.since_boot.saturating_sub(seen.since_boot))
        }
        Ok(_) => Ok(now.since_boot),
        Err(pod::Error::Read(_, e)) if e.kind() == io::ErrorKind::NotFound => first_sight(pod, now),
        Err(e) => Err(e.into()),
    }
}

fn first_sight(pod: &Pod, now: &Clock) -> Result<u64, Error> {
    if ran_before_this_boot(&pod.dir(), now) {
        return Ok(now.since_boot);
    }
    let seen = Seen {
        version: pod::CONTRACT_VERSION,
        boot_id: now.boot_id.clone(),
        since_boot: now.since_boot,
    };
    match pod::save(&pod.path().join("ended"), &seen) {
        // It stays as young as it is until there is space, and stands in nobody's way.
        Err(error) if error.is_full_disk() => Ok(0),
        saved => saved.map(|()| 0).map_err(Error::from),
    }
}

fn ran_before_this_boot(dir: &PodDir, now: &Clock) -> bool {
    pod::load::<Running>(&dir.pid()).is_ok_and(|running| running.boot_id != now.boot_id)
}
