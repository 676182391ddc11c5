//! What an app's sandbox has beyond the defaults: attributes of its process, labels, devices; and kernel parameters of its pod.

use serde::{Deserialize, Serialize};

use crate::SysctlName;

/// What an app's process begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessAttributes {
    /// The file mode mask.
    pub umask: u32,
    /// The nice value; absent: the caller's.
    pub nice: Option<i32>,
    /// `oom_score_adj`; absent: the caller's.
    pub oom_score_adj: Option<i32>,
}

/// Labels of security modules, which the app's program is executed under.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecurityLabels {
    /// An `AppArmor` profile.
    pub apparmor: Option<String>,
    /// An `SELinux` context.
    pub selinux: Option<String>,
}

/// A device of the host in an app's `/dev`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Absolute path on the host.
    pub host: String,
    /// Absolute path inside the app's root, below `/dev`.
    pub path: String,
    /// Block or character device.
    pub kind: DeviceKind,
    /// Major number, as found when the pod was made.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// The app may read.
    pub read: bool,
    /// The app may write.
    pub write: bool,
}

/// What a device node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// A block device.
    Block,
    /// A character device.
    Character,
}

/// A kernel parameter of the pod's own namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sysctl {
    /// Its name, with dots.
    pub name: SysctlName,
    /// Its value, as written.
    pub value: String,
}
