//! Limits of a pod or of an app: what the files of its cgroup (version 2) will say.

use serde::{Deserialize, Serialize};

/// What a pod or an app may use. An absent value is no limit of its own; the pod's limits hold for all of its apps together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of memory (`memory.max`).
    pub memory: Option<u64>,
    /// Bytes of memory from which on it is slowed down and reclaimed (`memory.high`).
    pub memory_high: Option<u64>,
    /// Bytes of swap (`memory.swap.max`); absent: none if memory is limited.
    pub memory_swap: Option<u64>,
    /// Processor time (`cpu.max`).
    pub cpu_quota: Option<CpuQuota>,
    /// Share of contended processors, 1 to 10000 (`cpu.weight`).
    pub cpu_weight: Option<u32>,
    /// Processors it may run on, such as `0-3,7` (`cpuset.cpus`).
    pub cpuset_cpus: Option<String>,
    /// Memory nodes it may use (`cpuset.mems`).
    pub cpuset_mems: Option<String>,
    /// Processes and threads (`pids.max`).
    pub pids: PidsLimit,
    /// Rates for block devices (`io.max`).
    pub io_max: Vec<IoMax>,
    /// Share of contended block devices, 1 to 10000 (`io.weight`).
    pub io_weight: Option<u32>,
}

/// Processor time per period, summed over all processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuQuota {
    /// Microseconds of processor time.
    pub quota_us: u64,
    /// In so many microseconds.
    pub period_us: u64,
}

/// How many processes and threads there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum PidsLimit {
    /// Nothing was said: stage1's own bound for a pod, none for an app.
    #[default]
    Default,
    /// As many as the caller may have.
    Unlimited,
    /// At most so many.
    Max {
        /// So many.
        count: u64,
    },
}

/// Rates of one block device; at least one is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IoMax {
    /// Major number of the device.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Bytes read per second.
    pub read_bytes: Option<u64>,
    /// Bytes written per second.
    pub write_bytes: Option<u64>,
    /// Read operations per second.
    pub read_operations: Option<u64>,
    /// Write operations per second.
    pub write_operations: Option<u64>,
}
