//! `status/<app>.json` by stage2 and `result.json` by stage1: how it ended. Each is written once, by rename.

use serde::{Deserialize, Serialize};

use crate::AppName;

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
    /// When it had ended.
    pub finished: u64,
    /// It was killed because the stop timeout had run out.
    pub timed_out: bool,
    /// What it used.
    pub usage: Usage,
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
    /// The kernel's out-of-memory killer ended it.
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
    /// What skua itself failed to do, joined with causes; empty when nothing did. Clean-up failures are here too.
    pub errors: Vec<String>,
}
