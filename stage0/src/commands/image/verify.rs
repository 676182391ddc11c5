//! `skua image verify`: whether images still are what was fetched.

use std::process::ExitCode;

use images::digest::Digest;
use images::evidence::Evidence;
use images::gc::discard_tree;
use images::pack::{self, Change};
use images::reference::{ImageName, Reference};
use images::store::{Image, Store};

use crate::commands::fetch::{self, Wanted};
use crate::context::Context;
use crate::error::Error;
use crate::worker::Spawner;
use crate::{heal, id_map, in_use, output};

/// How thoroughly, and what then.
#[derive(Clone, Copy)]
pub(super) struct How {
    /// Compare with what is unpacked once more.
    pub(super) contents: bool,
    /// Unpack what was changed again.
    pub(super) repair: bool,
}

/// The documents are hashed again by reading the image; the layers are compared with the record of their unpacking, or with
/// themselves unpacked once more.
pub(super) fn run(images: &[String], how: How, context: &Context) -> Result<ExitCode, Error> {
    if how.repair {
        // A pod whose keeper was killed has nothing mounted, and would stand in the way as if it had.
        heal::pods(context)?;
    }
    for image in images {
        let name = ImageName::parse(image)?;
        let store = context.store()?;
        let Some(image) = find(&name, &store, how, context)? else {
            return Err(Error::NotInStore(name.to_string()));
        };
        let layers = image.diff_ids()?.len();
        let changed = match how.contents {
            true => by_contents(&image, &store, how, context)?,
            false => by_time(&image, &store, how, context)?,
        };
        let said = match changed.len() {
            0 => {
                let plural = if layers == 1 { "" } else { "s" };
                format!("{name}: {layers} layer{plural} unchanged\n")
            }
            count => {
                repair(image, &changed, store, context)?;
                format!("{name}: {count} of {layers} layers unpacked again\n")
            }
        };
        if !context.quiet {
            output::print(&said)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The image, completed when it is to be repaired: a repair that was killed has taken layers away, documents and signatures
/// may be damaged.
fn find(
    name: &ImageName,
    store: &Store,
    how: How,
    context: &Context,
) -> Result<Option<Image>, Error> {
    let found = store.image(name);
    let whole = matches!(&found, Ok(Some(image)) if is_proven(image, store));
    if whole || !how.repair {
        return Ok(found?);
    }
    // Which image a name stood for whose record cannot be read, only a fetch can tell.
    let Ok(Some(record)) = store.ref_record(name) else {
        return Ok(found?);
    };
    let from = pinned(name, record.index.unwrap_or(record.manifest));
    fetch_from(name, &from, store, context).map(Some)
}

/// Whether what was kept to prove where it comes from is whole.
fn is_proven(image: &Image, store: &Store) -> bool {
    let kept = Evidence::load_whole(&store.evidence_dir(&image.manifest_digest));
    matches!(kept, Ok((_, None)))
}

/// Layers in which something was changed, as the kernel's times say. Unless they will be repaired, the first is an error.
fn by_time(
    image: &Image,
    store: &Store,
    how: How,
    context: &Context,
) -> Result<Vec<Digest>, Error> {
    let workers = Spawner::new(id_map::choose(), context.debug);
    let failed = |e| Error::Verify(image.name.to_string(), Box::new(e));
    let mut changed = Vec::new();
    for layer in image.diff_ids()? {
        if let Some(change) = pack::changed(&workers, store, &layer).map_err(failed)? {
            if !how.repair {
                let image = image.name.to_string();
                return Err(match change {
                    Change::Of(path) => Error::LayerChanged { image, path },
                    Change::Unknown(path) => Error::LayerUnknown(image, path),
                });
            }
            changed.push(layer);
        }
    }
    Ok(changed)
}

/// Layers in which some file differs from the layer where it came from.
fn by_contents(
    image: &Image,
    store: &Store,
    how: How,
    context: &Context,
) -> Result<Vec<Digest>, Error> {
    let from = pinned_image(image);
    let found = fetch::with_fetcher(&from, &Wanted::default(), store, context, |fetcher| {
        fetcher.compare(&from, image)
    })?;
    if let Some(first) = found.first().filter(|_| !how.repair) {
        return Err(Error::ContentChanged {
            image: image.name.to_string(),
            layer: first.layer,
            difference: first.difference.clone(),
        });
    }
    Ok(found.into_iter().map(|changed| changed.layer).collect())
}

/// The name by which this very image, of which `digest` is the index or manifest, is found where it came from; a local image
/// has no other than its own.
fn pinned(name: &ImageName, digest: Digest) -> ImageName {
    match name {
        ImageName::Registry(reference) => ImageName::Registry(Reference {
            digest: Some(digest),
            ..reference.clone()
        }),
        local => local.clone(),
    }
}

fn pinned_image(image: &Image) -> ImageName {
    let digest = image.index_digest.unwrap_or(image.manifest_digest);
    pinned(&image.name, digest)
}

/// Takes the changed layers out of the store and fetches the very same image again.
fn repair(image: Image, changed: &[Digest], store: Store, context: &Context) -> Result<(), Error> {
    let name = image.name.clone();
    let from = pinned_image(&image);
    // The leases of this store are on the very trees that are to go.
    drop((image, store));
    let store = context.store()?;
    let in_use = || in_use::by_running_pods(&context.data);
    for layer in changed {
        let discarded = discard_tree(&store, layer, in_use);
        if !discarded.map_err(|e| Error::CollectImages(Box::new(e)))? {
            return Err(Error::LayerBusy(name.to_string(), *layer));
        }
    }
    fetch_from(&name, &from, &store, context).map(drop)
}

fn fetch_from(
    name: &ImageName,
    from: &ImageName,
    store: &Store,
    context: &Context,
) -> Result<Image, Error> {
    let wanted = Wanted {
        from: Some(from),
        ..Wanted::default()
    };
    fetch::image(name, &wanted, store, context)
}
