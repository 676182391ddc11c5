//! What crashes left in the inbox: everything there that nobody has locked, and partial downloads that have grown old; and
//! trees that were set aside, when no pod needs a tree of that name.
//!
//! ```text
//! inbox/<name>.seen    how long a collector knows that a partial download has not grown
//! ```
//!
//! That age is counted by the clock of the boot, as for pods: a wall clock that jumps removes nothing.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Downloads, Mode, age};
use crate::digest::Digest;
use crate::store::{Store, StoreError, of_aside, open};

/// What is removed as soon as nobody holds its lock.
const OURS: [&str; 3] = ["new-", "tree-", "gone-"];

/// What a collection needs to know about the inbox.
struct Sweep<'a> {
    store: &'a Store,
    mode: Mode,
    /// Trees, by diff id, that pods refer to.
    in_use: &'a HashSet<Digest>,
    downloads: Downloads,
    /// Blobs that are unpacked: their downloads are done.
    unpacked: HashSet<Digest>,
}

pub(super) fn sweep(
    store: &Store,
    in_use: &HashSet<Digest>,
    downloads: Downloads,
    mode: Mode,
) -> Result<Vec<PathBuf>, StoreError> {
    let sweep = Sweep {
        store,
        mode,
        in_use,
        downloads,
        unpacked: unpacked(store)?,
    };
    let inbox = store.inbox();
    let mut swept = Vec::new();
    let entries = fs::read_dir(&inbox).map_err(|e| StoreError::Read(inbox.clone(), e))?;
    for entry in entries {
        let path = entry
            .map_err(|e| StoreError::Read(inbox.clone(), e))?
            .path();
        if let Some(_held) = sweep.left(&path)? {
            sweep.remove(&path)?;
            swept.push(path);
        }
    }
    Ok(swept)
}

/// Something that a crash has left, locked until it is removed: its maker may have been about to lock it.
struct Left {
    _lock: Option<File>,
}

impl Sweep<'_> {
    fn left(&self, path: &Path) -> Result<Option<Left>, StoreError> {
        let Some(name) = path.file_name().and_then(OsStr::to_str) else {
            return Ok(None);
        };
        if let Some(extension @ (".etag" | ".seen")) = name.rfind('.').map(|at| &name[at..]) {
            // They say something about another file.
            let about = match extension {
                ".etag" => path.with_extension("part"),
                _ => path.with_extension(""),
            };
            let left = !about.exists() && path.exists();
            return Ok(left.then_some(Left { _lock: None }));
        }
        let Some(file) = lock(path)? else {
            return Ok(None);
        };
        let left = self.is_left(path, name, &file);
        Ok(left.then_some(Left { _lock: Some(file) }))
    }

    fn is_left(&self, path: &Path, name: &str, file: &File) -> bool {
        if OURS.iter().any(|begin| name.starts_with(begin)) {
            return true;
        }
        if let Some(tree) = of_aside(name) {
            return !self.in_use.contains(&tree);
        }
        let blob = name.strip_suffix(".part").and_then(Digest::from_hex);
        let is_wanted = |blob| self.downloads == Downloads::Young && !self.unpacked.contains(blob);
        if blob.as_ref().is_some_and(|blob| !is_wanted(blob)) {
            return true;
        }
        let length = file.metadata().map_or(0, |found| found.len());
        age::is_old(path, length, self.mode)
    }

    fn remove(&self, path: &Path) -> Result<(), StoreError> {
        if self.mode == Mode::DryRun {
            return Ok(());
        }
        let remove = |path: &Path| {
            self.store
                .remove_dir(path)
                .map_err(|e| StoreError::Remove(path.to_owned(), e))
        };
        remove(path)?;
        if path
            .extension()
            .is_some_and(|extension| extension == "part")
        {
            remove(&path.with_extension("etag"))?;
        }
        remove(&age::path(path))
    }
}

/// Locks something in the inbox. `None`: somebody is using it, or it is gone.
fn lock(path: &Path) -> Result<Option<File>, StoreError> {
    let file = match open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StoreError::Read(path.to_owned(), e)),
    };
    match file.try_lock() {
        Ok(()) => {
            // Its user may have removed it between the opening and the lock.
            let found = file
                .metadata()
                .map_err(|e| StoreError::Read(path.to_owned(), e))?;
            Ok((found.nlink() > 0).then_some(file))
        }
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(StoreError::Lock(path.to_owned(), e)),
    }
}

/// The blobs that the trees of the store were unpacked from.
fn unpacked(store: &Store) -> Result<HashSet<Digest>, StoreError> {
    let trees = super::objects(&store.trees())?;
    let metas = trees.iter().map(|(digest, _)| store.tree_meta(digest));
    Ok(metas.flatten().map(|meta| meta.blob).collect())
}
