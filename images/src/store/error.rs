//! What can go wrong with the store.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::digest::Digest;
use crate::reference::ImageName;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be made.
    #[error("cannot make the image store {}", .0.display())]
    Make(PathBuf, #[source] io::Error),
    /// A newer skua made it.
    #[error("image store {} has layout version {version}, this skua knows only 1: use the skua that made it", path.display())]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The version file holds something else.
    #[error("{} does not hold the layout version of an image store", .0.display())]
    Version(PathBuf),
    /// A file cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file cannot be written or renamed into place.
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// A layer cannot be given to the user whose it is to be.
    #[error("cannot give {} to user {}", .0.display(), .1)]
    Owner(PathBuf, u32, #[source] io::Error),
    /// An object cannot be removed.
    #[error("cannot remove {}", .0.display())]
    Remove(PathBuf, #[source] io::Error),
    /// An object cannot be locked.
    #[error("cannot lock {}", .0.display())]
    Lock(PathBuf, #[source] io::Error),
    /// There is no such blob.
    #[error("blob {0} is not in the image store")]
    NoBlob(Digest),
    /// A blob is larger than its kind may be.
    #[error("blob {0} has more than {1} bytes")]
    TooLarge(Digest, u64),
    /// A blob's bytes are not those of its name.
    #[error("blob {wanted} in the image store is corrupt: its digest is {found}")]
    Corrupt {
        /// Its name.
        wanted: Digest,
        /// What it holds.
        found: Digest,
    },
    /// A document in the store is not what it should be.
    #[error("cannot parse {what} {digest} in the image store")]
    Document {
        /// Manifest, config or index.
        what: &'static str,
        /// Its name.
        digest: Digest,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A record in the store is not what it should be.
    #[error("cannot parse {}", .0.display())]
    Record(PathBuf, #[source] serde_json::Error),
    /// A digest in a document is not one.
    #[error("{what} {digest} names content by an unusable digest")]
    Digest {
        /// Manifest, config or index.
        what: &'static str,
        /// Its name.
        digest: Digest,
        /// Why.
        #[source]
        source: crate::digest::DigestError,
    },
    /// The config does not describe the layers of the manifest.
    #[error("manifest {manifest} has {layers} layers but its config has {diff_ids} diff ids")]
    LayerCount {
        /// The manifest.
        manifest: Digest,
        /// Layers of the manifest.
        layers: usize,
        /// Diff ids of the config.
        diff_ids: usize,
    },
    /// An index does not list the manifest that was chosen from it.
    #[error("index {index} does not list manifest {manifest}")]
    NotInIndex {
        /// The index.
        index: Digest,
        /// The manifest.
        manifest: Digest,
    },
    /// An image that was complete is so no more.
    #[error(
        "image {name} is damaged in the store: fetch it again, or remove it by 'skua image rm'"
    )]
    Image {
        /// Its name.
        name: String,
        /// What is wrong.
        #[source]
        source: Box<StoreError>,
    },
    /// A record from whose path no name follows, as of a local image, cannot be read.
    #[error(
        "an image, of which the name is not known, is damaged in the store: fetch it again, or remove its record"
    )]
    Nameless(#[source] Box<StoreError>),
    /// The record of a pinned name says something else than the name.
    #[error("the store's record of {name} is of another digest")]
    WrongRecord {
        /// The image's name.
        name: String,
    },
}

impl StoreError {
    /// Says which image is the damaged one. What is no damage, such as a lack of descriptors, stays as it is.
    pub(super) fn of_image(self, name: &ImageName) -> Self {
        let is_damage = match &self {
            Self::Read(_, e) => !matches!(
                e.raw_os_error().map(Errno::from_raw_os_error),
                Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::ACCESS | Errno::PERM)
            ),
            Self::TooLarge(..)
            | Self::Corrupt { .. }
            | Self::Document { .. }
            | Self::Record(..)
            | Self::Digest { .. }
            | Self::LayerCount { .. }
            | Self::NotInIndex { .. }
            | Self::WrongRecord { .. } => true,
            _ => false,
        };
        match is_damage {
            true => Self::Image {
                name: name.to_string(),
                source: Box::new(self),
            },
            false => self,
        }
    }
}
