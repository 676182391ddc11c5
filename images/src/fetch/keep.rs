//! Layer blobs as they were fetched, kept beside the trees when the user wants them: to export the image as it was, and to
//! unpack its layers again without asking anybody.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use super::layer::{Failure, Unpacking};
use super::places::Served;
use super::protocol::{Answer, Get};
use super::resolve::{LayerSource, Resolved};
use super::source::Source;
use super::{FetchError, Fetcher};
use crate::store::{Store, TreeWriter};
use crate::unpack::LayerReport;

/// What came of a layer whose blob may have been kept.
pub(super) enum Kept {
    Unpacked(TreeWriter, LayerReport),
    /// It was not, or is damaged.
    Not(TreeWriter),
}

/// Unpacks a layer from its kept blob. One that is not what its digest says is removed.
pub(super) fn unpack(unpacking: &Unpacking<'_>, tree: TreeWriter) -> Result<Kept, FetchError> {
    let (store, digest) = (unpacking.fetcher.store, &unpacking.layer.digest);
    let Some(blob) = store.open_layer_blob(digest)? else {
        return Ok(Kept::Not(tree));
    };
    let unpacker = unpacking.start(&tree, blob.as_fd())?;
    match unpacking.end(&unpacker) {
        Ok(report) => Ok(Kept::Unpacked(tree, report)),
        Err(Failure::Other(error)) => Err(error),
        Err(Failure::Corrupt(error)) => {
            log::warn!(
                "the kept blob of layer {digest} is damaged and not used: {}",
                error.wrong_bytes()
            );
            store.forget_layer_blob(digest)?;
            let tree = tree.restart()?;
            unpacking.share.return_all();
            Ok(Kept::Not(tree))
        }
    }
}

/// Keeps the blob of every layer. One whose bytes were kept to continue with is not asked for again.
pub(super) fn all(
    fetcher: &Fetcher<'_>,
    source: &Source,
    resolved: &Resolved,
) -> Result<(), FetchError> {
    for layer in &resolved.layers {
        if fetcher.store.lease_layer_blob(&layer.digest)? {
            continue;
        }
        if let Ok(part) = File::open(fetcher.part(&layer.digest))
            && keep(fetcher.store, layer, part)?
        {
            continue;
        }
        ask(fetcher.store, source, layer)?;
    }
    Ok(())
}

/// `false`: they are not the layer's bytes.
fn keep(store: &Store, layer: &LayerSource, bytes: impl Read) -> Result<bool, FetchError> {
    Ok(store.keep_layer_blob(&layer.digest, layer.size, bytes)?)
}

/// Asks one place after the other.
fn ask(store: &Store, source: &Source, layer: &LayerSource) -> Result<(), FetchError> {
    let what = format!("layer {}", layer.digest);
    loop {
        let mut served = source.ask();
        if ask_once(store, source, layer, &what, &mut served)? {
            return Ok(());
        }
        let wrong = FetchError::Kept {
            digest: layer.digest,
            name: source.name.clone(),
        };
        source.blame(&what, wrong, &served)?;
    }
}

fn ask_once(
    store: &Store,
    source: &Source,
    layer: &LayerSource,
    what: &str,
    served: &mut Served,
) -> Result<bool, FetchError> {
    let (read, write) = io::pipe().map_err(FetchError::Pipe)?;
    let get = Get::Blob {
        digest: layer.digest,
        size: layer.size,
        etag: None,
    };
    let answers = source.start(what, &get, served, write.as_fd(), None)?;
    drop(write);
    let kept = keep(store, layer, read)?;
    loop {
        match answers.next().map_err(|error| source.lost(what, error))? {
            Answer::Started { .. } | Answer::Progress(_) => {}
            Answer::PassedOver(said) => source.passed_over(&said),
            Answer::From(place) => served.from(place),
            // Whoever had more than the layer's bytes was not read to the end.
            Answer::Done { .. } | Answer::ReceiverGone => return Ok(kept),
            Answer::NotFound(said) | Answer::Failed(said) => {
                return Err(source.failed(what, &said));
            }
            Answer::NotModified => return Err(FetchError::NotModified),
        }
    }
}
