//! Why an image cannot be exported.

use std::io;

use crate::digest::Digest;
use crate::evidence::EvidenceError;
use crate::pack::PackError;
use crate::store::StoreError;

/// Why an image cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signatures in the store.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// A layer cannot be made again.
    #[error("cannot pack layer {0}")]
    Pack(Digest, #[source] PackError),
    /// A kept layer cannot be read.
    #[error("cannot read layer {0} in the store")]
    Read(Digest, #[source] io::Error),
    /// A layer is not what it was a moment ago, or what its digest says.
    #[error("layer {0} in the store is not what its digest says")]
    Changed(Digest),
    /// The archive cannot be written.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    /// A document cannot be made.
    #[error("cannot make the {0} of the image")]
    Document(&'static str, #[source] serde_json::Error),
}

impl ExportError {
    /// What the user can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Pack(_, error) => error.hint(),
            _ => None,
        }
    }
}
