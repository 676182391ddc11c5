//! Which objects are needed.

use std::collections::HashSet;

use oci_spec::image::{ImageConfiguration, ImageManifest};

use super::GcError;
use crate::digest::Digest;
use crate::store::{CONFIG_LIMIT, MANIFEST_LIMIT, RefRecord, Store, StoreError};
use crate::store::{content_digest, diff_ids, document};

/// Objects that are needed.
#[derive(Default)]
pub(super) struct Marks {
    pub(super) blobs: HashSet<Digest>,
    pub(super) trees: HashSet<Digest>,
    /// Records of names that cannot be read: everything may be needed by their images.
    pub(super) unreadable: Vec<StoreError>,
}

impl Marks {
    /// What the images that have a name need.
    pub(super) fn of_names<E: std::error::Error + 'static>(
        store: &Store,
    ) -> Result<Self, GcError<E>> {
        let names = store.names();
        let mut marks = Self {
            unreadable: names.unreadable,
            ..Self::default()
        };
        for record in names.records {
            let RefRecord {
                name,
                manifest,
                index,
                ..
            } = record;
            marks.blobs.extend(index);
            match marks.add(store, manifest) {
                // It was never complete: what there is of it is kept until it is fetched again or removed by name.
                Ok(()) | Err(StoreError::NoBlob(_)) => {}
                Err(source) => return Err(GcError::Damaged { name, source }),
            }
        }
        Ok(marks)
    }

    /// What an object that somebody is using needs: if it is a manifest, its config and its trees. What cannot be read
    /// needs nothing but itself.
    pub(super) fn add_unnamed(&mut self, store: &Store, digest: Digest) {
        self.trees.insert(digest);
        if let Err(e) = self.add(store, digest) {
            log::debug!("{digest} is in use and not a manifest: {e}");
        }
    }

    fn add(&mut self, store: &Store, manifest: Digest) -> Result<(), StoreError> {
        self.blobs.insert(manifest);
        let bytes = store.read_blob(&manifest, MANIFEST_LIMIT)?;
        let parsed: ImageManifest = document("manifest", &manifest, &bytes)?;
        let config = content_digest("manifest", &manifest, parsed.config().digest())?;
        self.blobs.insert(config);
        // Layers that were kept as they were fetched.
        for layer in parsed.layers() {
            self.blobs
                .insert(content_digest("manifest", &manifest, layer.digest())?);
        }
        let bytes = store.read_blob(&config, CONFIG_LIMIT)?;
        let parsed: ImageConfiguration = document("config", &config, &bytes)?;
        self.trees.extend(diff_ids(&config, &parsed)?);
        Ok(())
    }
}
