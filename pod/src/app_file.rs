//! `apps/<app>/app.json`: all that stage2 ever reads about an app. Written by stage1.

use serde::{Deserialize, Serialize};

use crate::{
    AppName, AppNotify, Capability, CredentialName, IdMap, ProcessAttributes, Rlimit,
    SecurityLabels, SocketName,
};

/// One app as stage2 starts it: every choice made, nothing about images, the host or other apps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppFile {
    /// [`crate::CONTRACT_VERSION`] of the writer.
    pub version: u32,
    /// The app's name.
    pub name: AppName,
    /// Absolute path of the app's root in stage2's view.
    pub root: String,
    /// The program and its arguments; not empty.
    pub argv: Vec<String>,
    /// The whole environment as `NAME=value`.
    pub environment: Vec<String>,
    /// User: a name or a number; empty is 0.
    pub user: String,
    /// Group: a name or a number; absent: the user's own.
    pub group: Option<String>,
    /// Further groups.
    pub supplementary_groups: Vec<String>,
    /// Absolute path inside the root.
    pub working_directory: String,
    /// Signal number that asks the app to end.
    pub stop_signal: i32,
    /// A terminal is on standard input, output and error: make it the controlling one.
    pub terminal: bool,
    /// Keep standard input; otherwise it is `/dev/null`.
    pub stdin: bool,
    /// The capability sets before exec.
    pub capabilities: CapabilitySets,
    /// Set `no_new_privs`.
    pub no_new_privileges: bool,
    /// The seccomp filter: a file beside this one that holds `struct sock_filter`s; absent: no filter.
    pub seccomp: Option<String>,
    /// The Landlock domain.
    pub landlock: LandlockRules,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// What its process begins with.
    pub process: ProcessAttributes,
    /// Labels of security modules.
    pub labels: SecurityLabels,
    /// The id map that stage2 must find itself in.
    pub id_map: IdMap,
    /// Mounts that stage2 must find in the app's root.
    pub mounts: Vec<MountCheck>,
    /// Volumes that stage2 must find in the app's root.
    pub volumes: Vec<VolumeCheck>,
    /// Sockets that stage2 must have got for it, by name: its descriptors from 3 on, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<SocketName>,
    /// Credentials that stage2 must find in [`crate::CREDENTIALS_PATH`], and give to the app's user alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<CredentialName>,
    /// It tells how it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<AppNotify>,
}

/// A Landlock domain: what it denies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LandlockRules {
    /// Keep the app from files outside its root, by whatever descriptor or link it may reach them (ABI 2); with a read-only
    /// root also from changing anything that is not in `writable`. A kernel without it is no error.
    pub files: bool,
    /// Absolute paths inside a root that is read-only below which the app may write; empty when the root is writable.
    pub writable: Vec<String>,
    /// Keep the app from abstract Unix sockets made outside it (ABI 6): set when it shares the host's network. A kernel
    /// without it is an error.
    pub scope_abstract_sockets: bool,
}

/// The capability sets of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapabilitySets {
    /// The bounding set; for user 0 also permitted and effective.
    pub bounding: Vec<Capability>,
    /// For a user that is not 0: inheritable, permitted, effective and ambient. Empty unless asked for.
    pub ambient: Vec<Capability>,
}

/// A mount that must be there, as read back from `/proc/self/mountinfo` before exec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountCheck {
    /// Absolute path inside the app's root.
    pub path: String,
    /// Type of the file system.
    pub file_system: String,
    /// The mount is read-only.
    pub read_only: bool,
}

/// A volume that must be there, asked of the file system at its path before exec. Always `nosuid` and `nodev`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeCheck {
    /// Absolute path inside the app's root; links are resolved in it.
    pub path: String,
    /// The mount is read-only.
    pub read_only: bool,
    /// The mount is `noexec`.
    pub no_exec: bool,
    /// It is a directory of the host, in which stage2 makes nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_host: bool,
}
