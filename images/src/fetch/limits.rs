//! How much an image's documents may be.

use crate::strict_json::{self, Bounds};

/// How much an image's documents may be. The defaults let every honest image through that we know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentLimits {
    /// Bytes of a manifest or index; at most [`crate::store::MANIFEST_LIMIT`].
    pub manifest: u64,
    /// Bytes of a config; at most [`crate::store::CONFIG_LIMIT`].
    pub config: u64,
    /// Layers: overlayfs stacks them all.
    pub layers: usize,
    /// Objects and arrays inside each other.
    pub depth: u32,
}

impl Default for DocumentLimits {
    fn default() -> Self {
        Self {
            manifest: 4 << 20,
            config: 8 << 20,
            layers: 128,
            depth: strict_json::MAX_DEPTH,
        }
    }
}

impl DocumentLimits {
    /// Those of a manifest or index.
    pub(crate) fn manifests(&self) -> Bounds {
        Bounds {
            bytes: self.manifest,
            depth: self.depth,
            same_case: u32::MAX,
        }
    }

    /// Those of a config. Its labels are the author's own, in whatever case; they lie deeper than what is read.
    pub(crate) fn configs(&self) -> Bounds {
        Bounds {
            bytes: self.config,
            depth: self.depth,
            same_case: 2,
        }
    }
}
