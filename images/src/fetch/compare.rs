//! Layers of the store against the layers where they came from: each is unpacked once more, and compared file by file.

use super::resolve::{self, Resolved};
use super::source::Source;
use super::{Event, FetchError, Fetcher, layers};
use crate::digest::Digest;
use crate::pack::{Difference, Packing, What, compare};
use crate::reference::ImageName;
use crate::store::Image;

/// A layer that is not what was unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its diff id.
    pub layer: Digest,
    /// The first difference.
    pub difference: Difference,
}

impl Fetcher<'_> {
    /// Compares every layer of `image` with the one that `from` has, and gives those that differ.
    ///
    /// # Errors
    /// [`FetchError`] when the image cannot be had from there; [`FetchError::OtherImage`] when it is another one.
    pub fn compare(&self, from: &ImageName, image: &Image) -> Result<Vec<Changed>, FetchError> {
        let source = Source::open(self, from)?;
        let resolved = resolve::resolve(&source, from, None)?.resolved()?;
        if resolved.manifest.digest != image.manifest_digest {
            return Err(FetchError::OtherImage {
                name: from.to_string(),
                wanted: image.manifest_digest,
                found: resolved.manifest.digest,
            });
        }
        self.changed(&source, &resolved)
    }

    fn changed(&self, source: &Source, resolved: &Resolved) -> Result<Vec<Changed>, FetchError> {
        let mut changed = Vec::new();
        for layer in &resolved.layers {
            let event = Event::Layer(&layer.digest, layer.size);
            self.progress.on(event);
            let again = self.store.begin_copy(&layer.diff_id)?;
            let (again, meta) = layers::again(self, source, layer, again)?;
            let failed = |error| FetchError::Compare(layer.diff_id, error);
            let tree = Packing::start(self.workers, self.store, &[layer.diff_id], What::Layer);
            let layer_again = Packing::of(self.workers, vec![(again.dir(), meta)], What::Layer)
                .map_err(failed)?;
            if let Some(difference) = compare(tree.map_err(failed)?, layer_again).map_err(failed)? {
                changed.push(Changed {
                    layer: layer.diff_id,
                    difference,
                });
            }
        }
        Ok(changed)
    }
}
