//! Missing layers become trees: several at a time, each downloaded, hashed, decompressed and unpacked at once.
//!
//! The trees are locked in the order of their diff ids before the first byte is asked for, so two fetches that share layers
//! cannot wait for each other; the second waits for the first, or takes over when it dies, but not for ever: a registry that is slow
//! on purpose would hold up other images of the same layer. All become part of the store
//! together, after one wait for the disk.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::budget::{self, Budget};
use super::layer::{Done, Layer, Unpacking};
use super::part::forget;
use super::resolve::{LayerSource, Resolved};
use super::source::Source;
use super::{Event, FetchError, Fetcher};
use crate::reference::ImageName;
use crate::store::{Begin, StoreError, TreeWriter};
use crate::unpack::Amount;

/// What came faster than this is sooner fetched again than written to disk, which the kernel begins to do after that time.
const QUICK: Duration = Duration::from_secs(20);

/// How long other fetches are waited for that unpack layers of the same image, or claim to.
const PATIENCE: Duration = Duration::from_secs(60);

/// More than that is no faster, and the source worker has only so many descriptors.
const MAX_THREADS: usize = 32;

/// Unpacks every layer of the image that the store has not.
pub(super) fn complete(
    fetcher: &Fetcher<'_>,
    source: &Source,
    name: &ImageName,
    resolved: &Resolved,
) -> Result<(), FetchError> {
    check_sizes(fetcher, source, &resolved.layers)?;
    let missing = lock(fetcher, &resolved.layers)?;
    let event = Event::Resolved(name, &resolved.manifest.digest, missing.len());
    fetcher.progress.on(event);
    for (layer, _) in &missing {
        fetcher.progress.on(Event::Layer(&layer.digest, layer.size));
    }
    let begun = Instant::now();
    let done = in_parallel(fetcher, source, missing).inspect_err(|error| {
        // What was downloaded of it is of no use to the next fetch either.
        if error.is_for_good() {
            forget_parts(fetcher, resolved);
        }
    })?;
    if begun.elapsed() < QUICK && !fetcher.keep_blobs {
        forget_parts(fetcher, resolved);
    }
    Ok(TreeWriter::commit_all(done)?)
}

/// Unpacks one layer into `tree`, whatever the store has.
pub(super) fn again(
    fetcher: &Fetcher<'_>,
    source: &Source,
    unpacking: Unpacking<'_>,
    tree: TreeWriter,
) -> Result<Done, FetchError> {
    let part = fetcher.part(&unpacking.layer.digest);
    let done = Layer { source, unpacking }.complete(tree);
    if done.as_ref().map_or_else(FetchError::is_for_good, |_| true) {
        forget(&part);
    }
    done
}

/// Removes bytes of layers that were kept to continue with.
pub(super) fn forget_parts(fetcher: &Fetcher<'_>, resolved: &Resolved) {
    for layer in &resolved.layers {
        forget(&fetcher.part(&layer.digest));
    }
}

/// Blobs that are larger than all that may come out of them are not even begun.
fn check_sizes(
    fetcher: &Fetcher<'_>,
    source: &Source,
    layers: &[LayerSource],
) -> Result<(), FetchError> {
    let add = |sum: u64, layer: &LayerSource| sum.saturating_add(layer.size);
    let sum = Amount {
        entries: 0,
        bytes: layers.iter().fold(0, add),
    };
    let checked = Budget::new(&fetcher.limits, 0).check(sum);
    checked.map_err(|too_much| FetchError::limit(&source.name, too_much))
}

/// The missing layers, largest first, with their trees locked.
fn lock<'a>(
    fetcher: &Fetcher<'_>,
    layers: &'a [LayerSource],
) -> Result<Vec<(&'a LayerSource, TreeWriter)>, StoreError> {
    let mut in_order: Vec<&LayerSource> = layers.iter().collect();
    in_order.sort_by_key(|layer| layer.diff_id);
    let mut missing = Vec::new();
    // For all of them together: what another image claims may never come.
    let until = Instant::now() + PATIENCE;
    for layer in in_order {
        let waiting = || fetcher.progress.on(Event::Waiting(&layer.digest));
        let begun = fetcher.store.begin_tree(&layer.diff_id, until, &waiting)?;
        let tree = match begun {
            Begin::Exists => continue,
            Begin::Write(tree) => tree,
            Begin::Late => {
                log::warn!(
                    "another fetch still unpacks layer {}; it is fetched once more",
                    layer.digest
                );
                fetcher.store.begin_copy(&layer.diff_id)?
            }
        };
        missing.push((layer, tree));
    }
    missing.sort_by_key(|(layer, _)| layer.size);
    Ok(missing)
}

type Work<'a> = (&'a LayerSource, TreeWriter);

/// Two threads for each processor: one that waits for the network leaves room for one that unpacks, and of as many large layers
/// as there are threads none is left to be unpacked alone. The first failure ends all transfers; what fails because of that is
/// not told.
fn in_parallel(
    fetcher: &Fetcher<'_>,
    source: &Source,
    missing: Vec<Work<'_>>,
) -> Result<Vec<Done>, FetchError> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = missing.len().min(2 * processors).min(MAX_THREADS);
    let budget = Budget::new(&fetcher.limits, threads);
    let queue = Mutex::new(missing);
    let done = Mutex::new(Ok(Vec::new()));
    let work = || {
        loop {
            let next = locked(&queue).pop();
            let Some((layer, tree)) = next else { return };
            let unpacking = Unpacking {
                fetcher,
                name: &source.name,
                layer,
                share: budget.share(),
            };
            let outcome = Layer { source, unpacking }.complete(tree);
            let mut done = locked(&done);
            match (outcome, done.as_mut()) {
                (Ok(tree), Ok(trees)) => trees.push(tree),
                (Err(error), Ok(_)) => {
                    *done = Err(error);
                    locked(&queue).clear();
                    source.stop();
                }
                (_, Err(_)) => {}
            }
        }
    };
    thread::scope(|scope| {
        for at in 0..threads {
            let started = thread::Builder::new().spawn_scoped(scope, work);
            // As many as the system allows; where that is none, this one does it.
            match (started, at) {
                (Ok(_), _) => {}
                (Err(_), 0) => return work(),
                (Err(_), _) => return,
            }
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    let used = done.iter().map(|(_, meta)| budget::used(&meta.report));
    let checked = budget.check(used.fold(Amount::default(), budget::plus));
    checked.map_err(|too_much| FetchError::limit(&source.name, too_much))?;
    Ok(done)
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
