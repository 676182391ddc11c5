//! An image as it is in the store: complete, its documents verified again. This is on the way of every launch.

use std::fs;
use std::io;
use std::path::PathBuf;

use oci_spec::image::{ImageConfiguration, ImageIndex, ImageManifest};
use serde::de::DeserializeOwned;

use super::names::is_absent;
use super::{Store, StoreError};
use crate::digest::Digest;
use crate::reference::ImageName;

/// Largest manifest or index, whatever is configured for a fetch.
pub const MANIFEST_LIMIT: u64 = 16 << 20;
/// Largest config, whatever is configured for a fetch.
pub const CONFIG_LIMIT: u64 = 16 << 20;

/// The attribute that makes a directory hide the same directory of lower layers.
pub(crate) const OPAQUE: &str = "user.overlay.opaque";

/// An image of which everything is in the store.
#[derive(Clone, Debug)]
pub struct Image {
    /// The name it was asked for by.
    pub name: ImageName,
    /// Its manifest.
    pub manifest_digest: Digest,
    /// The index that lists the manifest, when the name was resolved to an index.
    pub index_digest: Option<Digest>,
    /// Its config.
    pub config_digest: Digest,
    /// The manifest's bytes, as signed.
    pub manifest: Vec<u8>,
    /// The config. Fields that the type does not know are in the blob only.
    pub config: ImageConfiguration,
    /// The trees to stack, lowest first: each once, and none below a tree that hides all others.
    pub layers: Vec<LayerTree>,
}

/// An unpacked layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerTree {
    /// Digest of the uncompressed layer.
    pub diff_id: Digest,
    /// Its root directory, absolute.
    pub path: PathBuf,
}

impl Image {
    /// The diff ids of all its layers, lowest first, as the config has them: also of those that others hide.
    ///
    /// # Errors
    /// [`StoreError::Digest`].
    pub fn diff_ids(&self) -> Result<Vec<Digest>, StoreError> {
        diff_ids(&self.config_digest, &self.config)
    }

    /// The digests of the blobs that its layers were unpacked from, lowest first.
    ///
    /// # Errors
    /// [`StoreError::Document`] or [`StoreError::Digest`].
    pub fn layer_blobs(&self) -> Result<Vec<Digest>, StoreError> {
        let digest = &self.manifest_digest;
        let manifest: ImageManifest = document("manifest", digest, &self.manifest)?;
        let layers = manifest.layers().iter();
        layers
            .map(|layer| content_digest("manifest", digest, layer.digest()))
            .collect()
    }
}

impl Store {
    /// Whether the blobs of all layers of the image were kept.
    ///
    /// # Errors
    /// As [`Image::layer_blobs`].
    pub fn has_layer_blobs(&self, image: &Image) -> Result<bool, StoreError> {
        let blobs = image.layer_blobs()?;
        Ok(blobs.iter().all(|blob| self.blob_path(blob).exists()))
    }

    /// The image called `name`. `None`: it was never fetched, or not all of it is here. The image is leased.
    ///
    /// # Errors
    /// [`StoreError::Image`], whose cause says which object of the store is unusable, or another.
    pub fn image(&self, name: &ImageName) -> Result<Option<Image>, StoreError> {
        self.find(name).map_err(|error| error.of_image(name))
    }

    fn find(&self, name: &ImageName) -> Result<Option<Image>, StoreError> {
        match self.resolve(name)? {
            Some((manifest, index)) => self.complete(name, manifest, index),
            None => Ok(None),
        }
    }

    /// As [`Store::image`], of this manifest and index, whatever the name stands for now: who has just fetched them does not
    /// lose them to somebody who removes the name. They are leased.
    ///
    /// # Errors
    /// As [`Store::image`].
    pub fn image_of(
        &self,
        name: &ImageName,
        manifest: Digest,
        index: Option<Digest>,
    ) -> Result<Option<Image>, StoreError> {
        self.complete(name, manifest, index)
            .map_err(|error| error.of_image(name))
    }

    fn complete(
        &self,
        name: &ImageName,
        manifest_digest: Digest,
        index_digest: Option<Digest>,
    ) -> Result<Option<Image>, StoreError> {
        if let Some(index) = index_digest
            && !self.index_lists(&index, &manifest_digest)?
        {
            return Ok(None);
        }
        let Some(manifest_bytes) = self.lease_blob(&manifest_digest, MANIFEST_LIMIT)? else {
            return Ok(None);
        };
        let manifest: ImageManifest = match document("manifest", &manifest_digest, &manifest_bytes)
        {
            // The index of a name that was asked for by a tag: what it leads to by its digest is not recorded.
            Err(_)
                if name.pinned() == Some(manifest_digest) && self.ref_record(name)?.is_none() =>
            {
                return Ok(None);
            }
            other => other?,
        };
        let config_digest =
            content_digest("manifest", &manifest_digest, manifest.config().digest())?;
        let config_bytes = match self.read_blob(&config_digest, CONFIG_LIMIT) {
            Err(StoreError::NoBlob(_)) => return Ok(None),
            other => other?,
        };
        let config: ImageConfiguration = document("config", &config_digest, &config_bytes)?;
        let diff_ids = diff_ids(&config_digest, &config)?;
        if diff_ids.len() != manifest.layers().len() {
            return Err(StoreError::LayerCount {
                manifest: manifest_digest,
                layers: manifest.layers().len(),
                diff_ids: diff_ids.len(),
            });
        }
        let Some(layers) = self.stack(&diff_ids)? else {
            return Ok(None);
        };
        Ok(Some(Image {
            name: name.clone(),
            manifest_digest,
            index_digest,
            config_digest,
            manifest: manifest_bytes,
            config,
            layers,
        }))
    }

    /// The manifest and the index that `name` stands for. A pinned name without a record is a manifest's digest.
    fn resolve(&self, name: &ImageName) -> Result<Option<(Digest, Option<Digest>)>, StoreError> {
        let pinned = name.pinned();
        let Some(record) = self.ref_record(name)? else {
            return Ok(pinned.map(|digest| (digest, None)));
        };
        match pinned {
            Some(digest) if digest != record.manifest && Some(digest) != record.index => {
                Err(StoreError::WrongRecord {
                    name: name.to_string(),
                })
            }
            _ => Ok(Some((record.manifest, record.index))),
        }
    }

    fn index_lists(&self, index: &Digest, manifest: &Digest) -> Result<bool, StoreError> {
        let Some(bytes) = self.lease_blob(index, MANIFEST_LIMIT)? else {
            return Ok(false);
        };
        let listed: ImageIndex = document("index", index, &bytes)?;
        let wanted = manifest.to_string();
        if listed
            .manifests()
            .iter()
            .any(|entry| entry.digest().as_ref() == wanted)
        {
            return Ok(true);
        }
        Err(StoreError::NotInIndex {
            index: *index,
            manifest: *manifest,
        })
    }

    /// The trees of `diff_ids`, or `None` when one is missing. overlayfs refuses a tree that is there twice; leaving out
    /// the lower one changes nothing. It also ignores an opaque mark on a root, so what such a tree hides is left out.
    fn stack(&self, diff_ids: &[Digest]) -> Result<Option<Vec<LayerTree>>, StoreError> {
        let mut layers = Vec::with_capacity(diff_ids.len());
        for (at, diff_id) in diff_ids.iter().enumerate() {
            let path = self.tree_path(diff_id).join("fs");
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Ok(None),
                Err(e) if is_absent(&e) => return Ok(None),
                Err(e) => return Err(StoreError::Read(path, e)),
            }
            let mut value = [0; 1];
            match rustix::fs::lgetxattr(&path, OPAQUE, &mut value) {
                Ok(1) if value == *b"y" => layers.clear(),
                Ok(_)
                | Err(
                    rustix::io::Errno::NODATA
                    | rustix::io::Errno::OPNOTSUPP
                    | rustix::io::Errno::RANGE,
                ) => {}
                Err(rustix::io::Errno::NOENT) => return Ok(None),
                Err(e) => return Err(StoreError::Read(path, io::Error::from(e))),
            }
            if !diff_ids[at + 1..].contains(diff_id) {
                layers.push(LayerTree {
                    diff_id: *diff_id,
                    path,
                });
            }
        }
        Ok(Some(layers))
    }
}

/// The diff ids of a config, lowest first.
pub(crate) fn diff_ids(
    digest: &Digest,
    config: &ImageConfiguration,
) -> Result<Vec<Digest>, StoreError> {
    let parse = |given: &String| {
        Digest::parse(given).map_err(|source| StoreError::Digest {
            what: "config",
            digest: *digest,
            source,
        })
    };
    config.rootfs().diff_ids().iter().map(parse).collect()
}

pub(crate) fn document<T: DeserializeOwned>(
    what: &'static str,
    digest: &Digest,
    bytes: &[u8],
) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|source| StoreError::Document {
        what,
        digest: *digest,
        source,
    })
}

pub(crate) fn content_digest(
    what: &'static str,
    digest: &Digest,
    given: &oci_spec::image::Digest,
) -> Result<Digest, StoreError> {
    Digest::parse(given.as_ref()).map_err(|source| StoreError::Digest {
        what,
        digest: *digest,
        source,
    })
}
