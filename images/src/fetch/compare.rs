//! Layers of the store against the layers as they were fetched: each is unpacked once more, from its blob where that was kept,
//! else from where it came from, and compared file by file.

use super::budget::Budget;
use super::keep::{self, Kept};
use super::layer::{Done, Unpacking};
use super::resolve::{self, LayerSource};
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
    /// Compares every layer of `image` with the kept one or the one that `from` has, and gives those that differ.
    ///
    /// # Errors
    /// [`FetchError`] when a layer cannot be had from there; [`FetchError::OtherImage`] when `from` is another image.
    pub fn compare(&self, from: &ImageName, image: &Image) -> Result<Vec<Changed>, FetchError> {
        let name = from.to_string();
        let mut source = None;
        let mut changed = Vec::new();
        for layer in &resolve::layers_of(image)? {
            if let Some(broken) = self.broken_record(layer) {
                changed.push(broken);
                continue;
            }
            let event = Event::Layer(&layer.digest, layer.size);
            self.progress.on(event);
            // Each is removed before the next one is made.
            let budget = Budget::new(&self.limits, 1);
            let unpacking = Unpacking {
                fetcher: self,
                name: &name,
                layer,
                share: budget.share(),
            };
            let again = self.store.begin_copy(&layer.diff_id)?;
            let again = match keep::unpack(&unpacking, again)? {
                Kept::Unpacked(again, report) => unpacking.done(again, report),
                Kept::Not(again) => {
                    let source = match source.take() {
                        Some(open) => source.insert(open),
                        None => source.insert(self.same(from, image)?),
                    };
                    layers::again(self, source, unpacking, again)?
                }
            };
            changed.extend(self.difference(layer, again)?);
        }
        Ok(changed)
    }

    /// Where the very same image is.
    fn same(&self, from: &ImageName, image: &Image) -> Result<Source, FetchError> {
        let source = Source::open(self, from)?;
        let resolved = resolve::resolve(&source, from, None)?.resolved()?;
        if resolved.manifest.digest == image.manifest_digest {
            return Ok(source);
        }
        Err(FetchError::OtherImage {
            name: from.to_string(),
            wanted: image.manifest_digest,
            found: resolved.manifest.digest,
        })
    }

    /// A layer without a record that can be read is changed, whatever its files are: nothing can be done with it.
    fn broken_record(&self, layer: &LayerSource) -> Option<Changed> {
        self.store.tree_meta(&layer.diff_id).err()?;
        let record = self.store.tree_path(&layer.diff_id).join("meta.json");
        Some(Changed {
            layer: layer.diff_id,
            difference: Difference::of_record(&record),
        })
    }

    fn difference(&self, layer: &LayerSource, again: Done) -> Result<Option<Changed>, FetchError> {
        let failed = |error| FetchError::Compare(layer.diff_id, error);
        let (again, meta) = again;
        let tree = Packing::start(self.workers, self.store, &[layer.diff_id], What::Layer);
        let again = Packing::of(self.workers, vec![(again.dir(), meta)], What::Layer);
        let difference = compare(tree.map_err(failed)?, again.map_err(failed)?).map_err(failed)?;
        Ok(difference.map(|difference| Changed {
            layer: layer.diff_id,
            difference,
        }))
    }
}
