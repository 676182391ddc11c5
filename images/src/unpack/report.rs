//! What was found in a layer, for the record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::path::EntryPath;
use crate::escape;

/// Devices that a report lists.
const LISTED: usize = 64;

/// What was found in a layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerReport {
    /// Entries in the archive.
    pub entries: u64,
    /// Regular files made.
    pub files: u64,
    /// Bytes in those files.
    pub file_bytes: u64,
    /// Bytes of the uncompressed archive.
    pub archive_bytes: u64,
    /// Files of lower layers that are hidden.
    pub whiteouts: u64,
    /// Directories that hide those of lower layers.
    pub opaques: u64,
    /// The layer hides all lower layers.
    pub opaque_root: bool,
    /// Device nodes in the archive; none was made.
    pub devices_skipped: u64,
    /// The first of them.
    pub devices: Vec<Device>,
    /// Extended attributes that were not kept, and of how many entries.
    pub xattrs_dropped: BTreeMap<String, u64>,
    /// Directories that the archive uses without describing them; they belong to user 0 with mode 0755.
    pub implied_directories: u64,
    /// Owners that the archive names were not applied.
    pub owners_squashed: bool,
}

/// A device node that was not made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its path in the layer, escaped.
    pub path: String,
    /// `c` or `b`.
    pub kind: char,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    #[serde(default)]
    pub uid: u32,
    /// Group.
    #[serde(default)]
    pub gid: u32,
    /// Modification time, in seconds.
    #[serde(default)]
    pub mtime: i64,
}

impl LayerReport {
    /// Counts a device node, and lists the first ones. `device` lacks its path.
    pub(super) fn note_device(&mut self, path: &EntryPath, device: Device) {
        self.devices_skipped += 1;
        if self.devices.len() < LISTED {
            self.devices.push(Device {
                path: escape::text(path.bytes()),
                ..device
            });
        }
    }

    /// The report without what is for information only, where it is too long to be sent.
    pub(crate) fn without_lists(self) -> Self {
        Self {
            devices: Vec::new(),
            xattrs_dropped: BTreeMap::new(),
            ..self
        }
    }
}
