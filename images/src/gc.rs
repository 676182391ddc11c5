//! What may be removed from the store, and its removal.
//!
//! An object goes when no name and no pod needs it *and* nobody holds its lease. Objects that look unneeded are locked
//! exclusively first, then everything is looked at again, then they go; whoever came for one of them meanwhile waits at
//! the lock and finds that it is gone. So a fetch, a launch and a collection may run at the same time:
//!
//! - a launch leases its image before it reads it, and until its pod's manifest, which names the trees, is written;
//! - a fetch leases each document and tree it makes or finds, until the name is recorded.

pub(crate) mod age;
mod grace;
mod inbox;
mod marks;

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::store::{Store, StoreError, is_absent, open};
pub use grace::{Downloads, Grace};
use marks::Marks;

/// A failure to find out what may be removed, or to remove it.
#[derive(Debug, thiserror::Error)]
pub enum GcError<E: std::error::Error + 'static> {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An image that has a name is damaged, so what it needs is unknown.
    #[error("image {name} is damaged: remove it by 'skua image rm' or fetch it again")]
    Damaged {
        /// Its name.
        name: String,
        /// How.
        #[source]
        source: StoreError,
    },
    /// It is unknown what pods need.
    #[error("cannot tell which layers are in use, so nothing is removed")]
    Pods(#[source] E),
}

impl<E: std::error::Error + 'static> GcError<E> {
    /// Why it is unknown what pods need, if that is what failed.
    pub fn pods(&self) -> Option<&E> {
        match self {
            Self::Pods(error) => Some(error),
            Self::Store(_) | Self::Damaged { .. } => None,
        }
    }
}

/// Whether anything is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only look.
    DryRun,
    /// Remove.
    Remove,
}

/// What pods refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// Manifests: a prepared pod is judged by its image's manifest and signatures again when it is run.
    pub manifests: HashSet<Digest>,
    /// Trees, by diff id.
    pub trees: HashSet<Digest>,
}

/// What was removed, or would be.
#[derive(Debug, Default)]
pub struct Removed {
    /// Manifests, configs and indexes.
    pub blobs: Vec<Digest>,
    /// Trees, by diff id.
    pub trees: Vec<Digest>,
    /// What crashes left in the inbox.
    pub leftovers: Vec<PathBuf>,
    /// Bytes in files of the trees, and in blobs.
    pub bytes: u64,
    /// Objects that nothing needs but somebody is using.
    pub busy: usize,
    /// Objects that nothing needs but whose time is not over.
    pub waiting: usize,
    /// Names of which the record cannot be read: everything may be needed by their images, so that it stays.
    pub unreadable: Vec<StoreError>,
}

/// An object that looks unneeded.
struct Candidate {
    digest: Digest,
    path: PathBuf,
    /// Held until the object is gone. None in a dry run.
    lock: Option<File>,
}

/// Removes all that no name, no pod and no running command needs. `in_use` tells what pods refer to; it is
/// called when the objects to be removed are locked, and its failure keeps everything. What has been unneeded for less than
/// `grace` stays.
///
/// # Errors
/// [`GcError`]. What was removed before a failure stays removed; nothing is left half removed.
pub fn collect<E: std::error::Error + 'static>(
    store: &Store,
    in_use: impl Fn() -> Result<InUse, E>,
    grace: &Grace,
    mode: Mode,
) -> Result<Removed, GcError<E>> {
    let mut removed = Removed::default();
    let first = Marks::of_names(store)?;
    let mut busy = Vec::new();
    let mut lock =
        |found: Vec<(Digest, PathBuf)>, needed: &HashSet<Digest>, lease: fn(&Path) -> PathBuf| {
            let unneeded = found
                .into_iter()
                .filter(|(digest, _)| !needed.contains(digest));
            let mut candidates = Vec::new();
            for (digest, path) in unneeded {
                match lock(&path, &lease(&path), mode) {
                    Ok(Lock::Taken(lock)) => candidates.push(Candidate { digest, path, lock }),
                    Ok(Lock::Busy) => busy.push(digest),
                    Ok(Lock::Gone) => {}
                    Err(e) => return Err(StoreError::Lock(path, e)),
                }
            }
            Ok(candidates)
        };
    let blobs = lock(objects(&store.blobs())?, &first.blobs, Path::to_owned)?;
    let trees = lock(objects(&store.trees())?, &first.trees, |tree| {
        tree.join("meta.json")
    })?;
    removed.busy = busy.len();

    // Whatever was needed before the locks were taken is needed now, or its lease was among the busy ones.
    let mut needed = Marks::of_names(store)?;
    let pods = in_use().map_err(GcError::Pods)?;
    removed.unreadable = std::mem::take(&mut needed.unreadable);
    if !removed.unreadable.is_empty() {
        removed.leftovers = inbox::sweep(store, &pods.trees, grace.downloads, mode)?;
        return Ok(removed);
    }
    for digest in busy.into_iter().chain(pods.manifests) {
        needed.add_unnamed(store, digest);
    }
    needed.trees.extend(&pods.trees);

    let mut waiting = HashSet::new();
    let mut due = |candidates: Vec<Candidate>, needed: &HashSet<Digest>| {
        let unneeded = candidates
            .into_iter()
            .filter(|candidate| !needed.contains(&candidate.digest));
        due(unneeded, store, grace, mode, &mut waiting)
    };
    let (blobs, trees) = (due(blobs, &needed.blobs)?, due(trees, &needed.trees)?);
    removed.waiting = waiting.len();
    if mode == Mode::Remove {
        grace::forget_others(store, &waiting)?;
    }
    remove(store, blobs, trees, mode, &mut removed)?;
    removed.leftovers = inbox::sweep(store, &pods.trees, grace.downloads, mode)?;
    Ok(removed)
}

/// Those whose grace is over; the others go to `waiting`.
fn due(
    unneeded: impl Iterator<Item = Candidate>,
    store: &Store,
    grace: &Grace,
    mode: Mode,
    waiting: &mut HashSet<Digest>,
) -> Result<Vec<Candidate>, StoreError> {
    let mut due = Vec::new();
    for candidate in unneeded {
        match grace.is_over(store, &candidate.digest, mode)? {
            true => due.push(candidate),
            false => drop(waiting.insert(candidate.digest)),
        }
    }
    Ok(due)
}

/// Removes, or only counts.
fn remove(
    store: &Store,
    blobs: Vec<Candidate>,
    trees: Vec<Candidate>,
    mode: Mode,
    removed: &mut Removed,
) -> Result<(), StoreError> {
    for blob in blobs {
        removed.blobs.push(blob.digest);
        removed.bytes += fs::metadata(&blob.path).map_or(0, |blob| blob.len());
        if mode == Mode::Remove {
            remove_blob(store, &blob)?;
        }
    }
    for tree in trees {
        let report = store.tree_meta(&tree.digest).map(|meta| meta.report);
        removed.bytes += report.map_or(0, |report| report.file_bytes);
        removed.trees.push(tree.digest);
        if mode == Mode::Remove {
            remove_tree(store, tree)?;
        }
    }
    Ok(())
}

/// Takes a tree that is not what was unpacked out of the store, so that the next fetch makes it again. `false`: somebody is
/// using it. It is removed unless `in_use`, which is asked before and after it is out of sight, tells of a pod that needs it.
///
/// # Errors
/// [`GcError`].
pub fn discard_tree<E: std::error::Error + 'static>(
    store: &Store,
    diff_id: &Digest,
    in_use: impl Fn() -> Result<InUse, E>,
) -> Result<bool, GcError<E>> {
    let is_used = || {
        in_use()
            .map(|pods| pods.trees.contains(diff_id))
            .map_err(GcError::Pods)
    };
    let path = store.trees().join(diff_id.hex());
    let _lock = match lock(&path, &path.join("meta.json"), Mode::Remove) {
        Ok(Lock::Taken(lock)) => lock,
        Ok(Lock::Busy) => return Ok(false),
        Ok(Lock::Gone) => return Ok(true),
        Err(e) => return Err(StoreError::Lock(path, e).into()),
    };
    if is_used()? {
        return Ok(false);
    }
    let aside = store.set_aside(diff_id);
    if let Some(aside) = aside.map_err(|e| StoreError::Remove(path, e))?
        // A pod may have begun meanwhile; what it runs from is left to a later collection.
        && !is_used()?
    {
        let removed = store.remove_dir(&aside);
        removed.map_err(|e| StoreError::Remove(aside, e))?;
    }
    Ok(true)
}

/// All objects of a directory, by digest. What has another name is none of ours.
fn objects(directory: &Path) -> Result<Vec<(Digest, PathBuf)>, StoreError> {
    let unreadable = |e| StoreError::Read(directory.to_owned(), e);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if let Some(digest) = entry.file_name().to_str().and_then(Digest::from_hex) {
            found.push((digest, entry.path()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

enum Lock {
    Taken(Option<File>),
    Busy,
    Gone,
}

/// Locks the object at `path` by its `lease`, which may be the object itself.
fn lock(path: &Path, lease: &Path, mode: Mode) -> io::Result<Lock> {
    let file = match open(lease) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {
            return Ok(Lock::Gone);
        }
        // An object without a lease is damaged, and nobody is using it.
        Err(_) if !fs::symlink_metadata(lease).is_ok_and(|found| found.is_file()) => {
            return Ok(Lock::Taken(None));
        }
        Err(e) => return Err(e),
    };
    match file.try_lock() {
        Ok(()) if mode == Mode::DryRun => Ok(Lock::Taken(None)),
        Ok(()) => Ok(Lock::Taken(Some(file))),
        Err(TryLockError::WouldBlock) => Ok(Lock::Busy),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// Removes a document, and the signatures that were kept for it.
fn remove_blob(store: &Store, blob: &Candidate) -> Result<(), StoreError> {
    let evidence = store.evidence_dir(&blob.digest);
    store
        .remove_dir(&blob.path)
        .map_err(|e| StoreError::Remove(blob.path.clone(), e))?;
    match fs::remove_dir_all(&evidence) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::Remove(evidence, e)),
        _ => Ok(()),
    }
}

/// Takes a tree out of the store by one rename. Who waits for its lease then finds `meta.json` without a name.
fn remove_tree(store: &Store, tree: Candidate) -> Result<(), StoreError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |e| StoreError::Remove(path, e)
    };
    let gone = store.take_away(&tree.path).map_err(failed(&tree.path))?;
    match store.remove_dir(&gone.join("meta.json")) {
        Err(e) if !is_absent(&e) => return Err(failed(&gone)(e)),
        _ => {}
    }
    drop(tree.lock);
    store.remove_dir(&gone).map_err(failed(&gone))
}

#[cfg(test)]
mod tests;
