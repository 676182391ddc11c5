//! `status/<app>.json` by stage2 and `result.json` by stage1: how it ended. Each is written once, by rename.

use serde::{Deserialize, Serialize};

use crate::{AppName, NetworkName};

/// How one app ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppStatus {
    /// [`crate::CONTRACT_VERSION`] of the writer.
    pub version: u32,
    /// The app's name.
    pub name: AppName,
    /// Code, signal, or why it never started.
    pub outcome: Outcome,
    /// When it was started: nanoseconds since 1970 UTC.
    pub started: u64,
    /// When it said that it was ready; absent: it was not asked (`--notify`), or it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<u64>,
    /// When it had ended.
    pub finished: u64,
    /// It was killed because the stop timeout had run out.
    pub timed_out: bool,
    /// What it used.
    pub usage: Usage,
}

/// `status/<app>.ids.json` by stage2, as soon as the app is confined: who it is. Its image may say that by name, in files that the app
/// may change; what enters it is nobody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppIds {
    /// [`crate::CONTRACT_VERSION`] of the writer.
    pub version: u32,
    /// The app's name.
    pub name: AppName,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// Exit code or signal, never both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// It exited.
    Exited {
        /// Its exit code.
        code: u8,
    },
    /// A signal ended it.
    Signaled {
        /// The signal's number.
        signal: i32,
        /// It left a core dump.
        core: bool,
    },
    /// It was never executed.
    Failed {
        /// What stage2 was doing to which thing, and the cause.
        error: String,
    },
    /// The kernel killed it because its memory, or its pod's, was used up. stage2 writes `signaled` with signal 9; stage1,
    /// which sees the cgroup, says in `result.json` that it was this.
    OutOfMemory,
}

impl Outcome {
    /// The exit status that a shell would show: the code, 128 + signal, or 254 when skua itself failed.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Exited { code } => *code,
            Self::Signaled { signal, .. } => u8::try_from(128 + signal).unwrap_or(u8::MAX),
            Self::Failed { .. } => 254,
            Self::OutOfMemory => 137,
        }
    }
}

/// Resources that an app and its waited-for children used (`getrusage(2)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// User time in microseconds.
    pub user_us: u64,
    /// System time in microseconds.
    pub system_us: u64,
    /// Largest resident set in KiB.
    pub max_rss_kib: u64,
}

/// How the pod ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodResult {
    /// [`crate::CONTRACT_VERSION`] of the writer.
    pub version: u32,
    /// The pod's exit status: of the first app that failed, 0 when none did, 254 when skua failed.
    pub exit_status: u8,
    /// When the keeper started it: nanoseconds since 1970 UTC.
    pub started: u64,
    /// When it had ended.
    pub finished: u64,
    /// Every app that has a status, in manifest order.
    pub apps: Vec<AppStatus>,
    /// What kept the pod within bounds.
    pub limits: LimitsRecord,
    /// What all of the pod used; absent if it had no cgroup.
    pub usage: Option<PodUsage>,
    /// The CNI networks that it was in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkUse>,
    /// What skua itself failed to do, joined with causes; empty when nothing did. Clean-up failures are here too.
    pub errors: Vec<String>,
}

/// A network that a pod was in: what is left of [`crate::NetworkFile`] when it has left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkUse {
    /// The network's name.
    pub name: NetworkName,
    /// The pod's interface in it.
    pub interface: String,
    /// Its addresses there, with their prefix lengths.
    pub addresses: Vec<String>,
}

/// How the limits of a pod were enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsRecord {
    /// By what.
    pub by: LimitsBy,
    /// Why not by the pod's cgroup.
    pub reason: Option<String>,
}

/// What enforces limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitsBy {
    /// The pod's cgroup: every limit that was asked for, and the bound of processes.
    Cgroup,
    /// No limit was asked for; the processes of each user of the pod are bounded by `RLIMIT_NPROC`.
    Rlimit,
    /// Nothing: the pod was run with `--insecure-options=limits` where its limits could not be had, or it never ran.
    Nothing,
}

/// Resources that all processes of a pod used together, by the count of its cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodUsage {
    /// User time in microseconds.
    pub user_us: u64,
    /// System time in microseconds.
    pub system_us: u64,
    /// Most bytes of memory at one time; absent without the memory controller.
    pub memory_peak: Option<u64>,
    /// Most processes and threads at one time; absent without the pids controller, or where the kernel does not count.
    pub pids_peak: Option<u64>,
    /// Processes that the kernel killed because memory was used up; absent without the memory controller.
    pub oom_kills: Option<u64>,
}
