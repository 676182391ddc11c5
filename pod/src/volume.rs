//! Volumes of a pod, and their places in its apps.

use serde::{Deserialize, Serialize};

use crate::{Image, Layer, VolumeName};

/// A volume of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Unique in the pod.
    pub name: VolumeName,
    /// What it is.
    pub source: VolumeSource,
}

/// What a volume is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum VolumeSource {
    /// A directory or file of the host.
    Host(HostVolume),
    /// An empty directory of this pod, shared by its apps, gone with the pod.
    Empty {
        /// Permission bits.
        mode: u32,
        /// Whose it is; absent: user 0's.
        #[serde(default, skip_serializing_if = "VolumeOwner::is_root")]
        owner: VolumeOwner,
    },
    /// A tmpfs, shared by the pod's apps.
    Tmpfs {
        /// Permission bits.
        mode: u32,
        /// Whose it is; absent: user 0's.
        #[serde(default, skip_serializing_if = "VolumeOwner::is_root")]
        owner: VolumeOwner,
        /// Size in bytes; absent: the kernel's default.
        size: Option<u64>,
    },
    /// The files of an image, read-only.
    Image {
        /// Which image, and why it was trusted.
        image: Image,
        /// Its layers, lowest first.
        layers: Vec<Layer>,
    },
}

/// Whose a new volume is, in ids of the pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeOwner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl VolumeOwner {
    /// Whether it is user 0 with group 0, to whom all that is new belongs anyway.
    #[must_use]
    pub fn is_root(&self) -> bool {
        *self == Self::default()
    }
}

/// A directory or file of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostVolume {
    /// Absolute path on the host.
    pub path: String,
    /// Read-only, with everything mounted below it.
    pub read_only: bool,
    /// With the mounts below it.
    pub recursive: bool,
}

/// A volume's place in an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Which volume.
    pub volume: VolumeName,
    /// Absolute path inside the app's root.
    pub path: String,
    /// Read-only for this app.
    pub read_only: bool,
    /// Nothing in it can be executed by this app.
    pub no_exec: bool,
}
