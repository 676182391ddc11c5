//! A lock: exactly which images a name stood for, all the way down, and who had signed them. What `skua lock` prints, and
//! `--locked FILE` holds runs to.

use std::io;
use std::path::{Path, PathBuf};

use images::digest::{Digest, DigestError};
use images::reference::{ImageName, Reference};
use images::small_file::{self, By};
use images::store::Image;
use images::strict_json;
use serde::{Deserialize, Serialize};

/// Version of the format.
const VERSION: u32 = 1;
/// The most bytes of a lock.
const MAX_LOCK: usize = 4 << 20;

/// What is wrong with a lock, or with an image under one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// A lock cannot be read.
    #[error("cannot read lock {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A lock is not one.
    #[error("cannot parse lock {}", .0.display())]
    Parse(PathBuf, #[source] strict_json::JsonError),
    /// A lock of another version.
    #[error("lock {} has version {}, this program knows 1", .0.display(), .1)]
    Version(PathBuf, u32),
    /// A lock has nothing about an image.
    #[error("image {} is not in lock {}", .0, .1.display())]
    Missing(String, PathBuf),
    /// An image is not the locked one.
    #[error("image {image} is not the locked one: its {part} is {found}, locked to {locked}")]
    Differs {
        /// The image.
        image: String,
        /// What of it.
        part: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        locked: String,
    },
    /// An image has lost a signature.
    #[error("image {0} is not the locked one: no signature by key {1} is verified any more")]
    Signer(String, String),
    /// A config whose diff ids are no digests.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// A lock, as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lock {
    version: u32,
    images: Vec<Locked>,
}

/// One image of a lock.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Locked {
    /// The name that was locked, in its canonical form.
    name: String,
    /// The index that lists the manifest.
    index: Option<Digest>,
    manifest: Digest,
    config: Digest,
    /// The layers' diff ids, lowest first.
    layers: Vec<Digest>,
    /// Fingerprints of the keys whose signatures were verified, sorted.
    signers: Vec<String>,
}

impl Lock {
    /// A lock of these images.
    pub(crate) fn new(images: Vec<Locked>) -> Self {
        Self {
            version: VERSION,
            images,
        }
    }

    /// Loads a lock.
    pub(crate) fn load(path: &Path) -> Result<Self, LockError> {
        let bytes = small_file::required(path, MAX_LOCK, By::CommandLine)
            .map_err(|e| LockError::Read(path.to_owned(), e))?;
        let lock: Self = strict_json::from_slice(&bytes, MAX_LOCK)
            .map_err(|e| LockError::Parse(path.to_owned(), e))?;
        if lock.version != VERSION {
            return Err(LockError::Version(path.to_owned(), lock.version));
        }
        Ok(lock)
    }

    /// What is locked under `name`.
    pub(crate) fn find(&self, name: &ImageName, path: &Path) -> Result<&Locked, LockError> {
        let text = name.to_string();
        let found = self.images.iter().find(|locked| locked.name == text);
        found.ok_or_else(|| LockError::Missing(text, path.to_owned()))
    }
}

impl Locked {
    /// What `image` is now.
    pub(crate) fn new(image: &Image, signers: Vec<String>) -> Result<Self, LockError> {
        let layers: Result<_, _> = image
            .config
            .rootfs()
            .diff_ids()
            .iter()
            .map(|id| Digest::parse(id))
            .collect();
        Ok(Self {
            name: image.name.to_string(),
            index: image.index_digest,
            manifest: image.manifest_digest,
            config: image.config_digest,
            layers: layers?,
            signers,
        })
    }

    /// The name by which exactly this image is fetched; a local image has no other than its own.
    pub(crate) fn pinned(&self, name: &ImageName) -> ImageName {
        match name {
            ImageName::Registry(reference) => ImageName::Registry(Reference {
                digest: Some(self.index.unwrap_or(self.manifest)),
                ..reference.clone()
            }),
            local => local.clone(),
        }
    }

    /// Whether `image`, under whatever name, is the locked one.
    pub(crate) fn is(&self, image: &Image) -> bool {
        self.manifest == image.manifest_digest && self.index == image.index_digest
    }

    /// Fails unless `image`, signed by `signers`, is the locked one in every part.
    pub(crate) fn check(&self, image: &Image, signers: Vec<String>) -> Result<(), LockError> {
        let found = Self::new(image, signers)?;
        let shown = |digest: &Option<Digest>| digest.map_or("none".to_owned(), |d| d.to_string());
        let layers = |layers: &[Digest]| {
            let layers: Vec<String> = layers.iter().map(ToString::to_string).collect();
            layers.join(" ")
        };
        let parts = [
            ("index", shown(&found.index), shown(&self.index)),
            (
                "manifest",
                found.manifest.to_string(),
                self.manifest.to_string(),
            ),
            ("config", found.config.to_string(), self.config.to_string()),
            ("layers", layers(&found.layers), layers(&self.layers)),
        ];
        if let Some((part, found, locked)) = parts.into_iter().find(|(_, a, b)| a != b) {
            let image = self.name.clone();
            return Err(LockError::Differs {
                image,
                part,
                found,
                locked,
            });
        }
        match self
            .signers
            .iter()
            .find(|signer| !found.signers.contains(signer))
        {
            Some(signer) => Err(LockError::Signer(self.name.clone(), signer.clone())),
            None => Ok(()),
        }
    }
}

/// `--locked FILE`.
pub(crate) struct LockFile {
    path: PathBuf,
    lock: Lock,
}

impl LockFile {
    /// Loads it.
    pub(crate) fn load(path: &Path) -> Result<Self, LockError> {
        Ok(Self {
            path: path.to_owned(),
            lock: Lock::load(path)?,
        })
    }

    /// What is locked under `name`.
    pub(crate) fn find(&self, name: &ImageName) -> Result<&Locked, LockError> {
        self.lock.find(name, &self.path)
    }
}
