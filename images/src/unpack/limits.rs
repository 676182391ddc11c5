//! How much a layer may be.

use serde::{Deserialize, Serialize};

/// How much a layer may be. The defaults let every honest image through that we know of.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of the uncompressed archive, and bytes in all files made (they differ for sparse files).
    pub bytes: u64,
    /// Uncompressed bytes for each compressed one, once there are more than `ratio_from`.
    pub ratio: u64,
    /// Up to so many uncompressed bytes any ratio is fine: a file of zeros is not an attack.
    pub ratio_from: u64,
    /// Bytes of a path.
    pub path: usize,
    /// Components of a path.
    pub depth: usize,
    /// Bytes of the extension headers of one entry.
    pub extensions: u64,
    /// Bytes of the paths of all directories together: they are remembered until the end.
    pub directories: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 1_000_000,
            bytes: 64 << 30,
            ratio: 200,
            ratio_from: 1 << 30,
            path: 4096,
            depth: 256,
            extensions: 1 << 20,
            directories: 16 << 20,
        }
    }
}
