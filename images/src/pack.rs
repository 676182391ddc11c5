//! The way back: trees of the store become an archive again, one layer of it or all of an image in one.
//!
//! Names and files of a tree were chosen by a stranger and belong to ids that are not the caller's, so a worker reads
//! them: with the ids of the store, without the right to write anything. The archive is the same for the same trees:
//! entries are sorted, and nothing in it tells when or where it was made.
//!
//! ```text
//! coordinator → pack worker      PackJob with the pipe to write to, then a PackTree with its directory for each tree
//! pack worker → coordinator      PackAnswer, when all is written
//! coordinator → extract worker   ExtractJob with the pipe to read from
//! extract worker → coordinator   ExtractAnswer
//! ```

mod compare;
mod extract;
mod start;
mod tree;
mod view;
mod walk;
mod worker;
mod writer;

pub use compare::Difference;
pub(crate) use compare::compare;
pub use extract::{ExtractJob, extract, serve_extract};
pub(crate) use start::restorable;
pub use start::{Change, PackError, Packing, changed};
pub use worker::{Input, serve};
pub(crate) use writer::{Archive, Metadata};

use serde::{Deserialize, Serialize};

use crate::unpack::{Device, LayerReport};

/// What is made of the trees.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum What {
    /// A layer: of one tree, with its whiteouts.
    Layer,
    /// What an app of the image sees, or one file or directory of it.
    Merged {
        /// The file or directory; absent: the root.
        path: Option<String>,
        /// Bits that give a program the rights of its owner are left out.
        without_setuid: bool,
    },
    /// Nothing: the trees are only measured and looked at.
    Measure {
        /// Tell what was changed after this time of the kernel's: seconds and nanoseconds.
        since: Option<(i64, i64)>,
    },
}

/// The job of a pack worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackJob {
    /// What is made.
    pub what: What,
    /// How many trees follow, the topmost first.
    pub trees: usize,
}

/// One tree of the job.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackTree {
    /// Devices of the layer, which are not in the tree.
    pub devices: Vec<Device>,
}

/// What was packed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackReport {
    /// Entries written, or found.
    pub entries: u64,
    /// Bytes that the files take on the disk, when they were measured.
    pub disk_bytes: u64,
    /// The first file or directory that was changed too late, escaped.
    pub changed: Option<String>,
}

/// How packing ended.
pub type PackAnswer = Result<PackReport, PackFailure>;

/// Why trees were not packed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackFailure {
    /// The whole message, with causes.
    pub message: String,
    /// Whoever was to read the archive did not.
    pub unread: bool,
}

/// How extraction ended.
pub type ExtractAnswer = Result<LayerReport, String>;
