//! `pid`: the processes of a running pod, so that others can find and signal them without mistaking a reused pid.

use serde::{Deserialize, Serialize};

use crate::{IdMap, LimitsRecord};

/// A process that cannot be mistaken for another one of the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessId {
    /// Its pid in the keeper's pid namespace.
    pub pid: u32,
    /// Field 22 of `/proc/<pid>/stat`: clock ticks from boot to its start (`proc_pid_stat(5)`).
    pub start_time: u64,
}

/// Contents of `pid`, written by the keeper when pid 1 of the pod exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// [`crate::CONTRACT_VERSION`] of the writer.
    pub version: u32,
    /// `/proc/sys/kernel/random/boot_id` when it was written: after a reboot nothing here holds.
    pub boot_id: String,
    /// The keeper.
    pub keeper: ProcessId,
    /// Pid 1 of the pod.
    pub pod: ProcessId,
    /// When the keeper began: nanoseconds since 1970 UTC.
    pub started: u64,
    /// What keeps the pod within bounds.
    pub limits: LimitsRecord,
    /// The id map in force.
    pub id_map: IdMap,
}
