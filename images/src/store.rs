//! The store: what was fetched, on disk. Objects are immutable and renamed into place, so readers need no lock and a
//! read-only store works.
//!
//! ```text
//! <data>/store/
//!   version                      one number; a newer one is refused
//!   oci/                         an OCI image layout: manifests, configs, indexes; layers where they are to be kept
//!   evidence/sha256/<manifest>/  signatures as fetched, byte for byte
//!   refs/<host>/<repository>/:<tag>         what a tag was resolved to
//!   refs/<host>/<repository>/@<digest>      what was chosen from a pinned digest
//!   refs/local/<digest of the name>         likewise for layouts and archives
//!   trees/sha256/<diff id>/      one unpacked layer: fs/ and meta.json; exists ⇔ complete
//!   unneeded/<hex>               since when nothing needs an object, for gc
//!   inbox/                       whatever is being written; unlocked ⇔ left by a crash
//!   inbox/aside-<diff id>-<n>/   a tree that was made anew: a pod may run from it still
//! ```
//!
//! A tag's file begins with `:` and a digest's with `@`, which no component of a repository does: `a:b` and `a/b:c` do
//! not collide.
//!
//! What a [`Store`] value has read or written to make an image stays on disk while that value lives: it holds a shared
//! `flock(2)` (a *lease*) on each manifest, config and tree, and [`crate::gc`] removes only what it can lock exclusively.

mod blob;
mod claim;
mod error;
mod evidence;
mod image;
mod names;
mod tree;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use blob::{open, read_at_most};
pub use error::StoreError;
pub use image::{CONFIG_LIMIT, Image, LayerTree, MANIFEST_LIMIT};
pub(crate) use image::{OPAQUE, content_digest, diff_ids, document};
pub(crate) use names::is_absent;
pub use names::{Names, RefRecord};
pub(crate) use pod::remove_directory;
pub use pod::remove_tree;
pub use tree::{Begin, Owners, TreeMeta, TreeWriter};

use crate::digest::Digest;
pub(crate) use blob::write_temporary;

/// Version of the store's layout.
const VERSION: u32 = 1;

/// Removes a directory of the store with everything in it. Trees whose owners are subordinate ids can be removed only
/// from a user namespace that has them, which is not this crate's business.
pub type Remover = dyn Fn(&Path) -> io::Result<()> + Send + Sync;

/// An open store. Clones share their leases.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    leases: Mutex<Vec<File>>,
    remove: Box<Remover>,
}

impl Store {
    /// Opens the store at the absolute path `root`, and makes it when there is none.
    ///
    /// # Errors
    /// [`StoreError::Newer`] when a newer skua made it; [`StoreError::Make`] or [`StoreError::Read`].
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        Self::with_remover(root, Box::new(remove_tree))
    }

    /// As [`Store::open`], with another way to remove trees.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn with_remover(root: &Path, remove: Box<Remover>) -> Result<Self, StoreError> {
        let version = root.join("version");
        let found = match fs::read_to_string(&version) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                make(root).map_err(|e| StoreError::Make(root.to_owned(), e))?;
                VERSION.to_string()
            }
            Err(e) => return Err(StoreError::Read(version, e)),
            Ok(found) => found,
        };
        match found.trim_end().parse::<u32>() {
            Ok(VERSION) => {}
            Ok(version) => {
                return Err(StoreError::Newer {
                    path: root.to_owned(),
                    version,
                });
            }
            Err(_) => return Err(StoreError::Version(version)),
        }
        Ok(Self {
            inner: Arc::new(Inner {
                root: root.to_owned(),
                leases: Mutex::default(),
                remove,
            }),
        })
    }

    /// The store's directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Where the signatures of a manifest are kept. It need not exist.
    #[must_use]
    pub fn evidence_dir(&self, manifest: &Digest) -> PathBuf {
        self.path("evidence/sha256").join(manifest.hex())
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.path("oci/blobs/sha256")
    }

    pub(crate) fn trees(&self) -> PathBuf {
        self.path("trees/sha256")
    }

    /// Where partial downloads are kept.
    #[must_use]
    pub fn inbox(&self) -> PathBuf {
        self.path("inbox")
    }

    pub(crate) fn unneeded(&self) -> PathBuf {
        self.path("unneeded")
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.inner.root.join(below)
    }

    /// Removes a directory that is no longer part of the store.
    pub(crate) fn remove_dir(&self, path: &Path) -> io::Result<()> {
        (self.inner.remove)(path)
    }

    /// Takes a shared lock on an object for as long as this store is open. `false`: it was removed meanwhile.
    fn lease(&self, object: File) -> io::Result<bool> {
        // A read-only store on a file system without locks loses nothing: nobody removes anything from it.
        match object.lock_shared() {
            Err(e)
                if e.kind() != io::ErrorKind::Unsupported
                    && e.raw_os_error() != Some(rustix::io::Errno::NOLCK.raw_os_error()) =>
            {
                return Err(e);
            }
            _ => {}
        }
        if object.metadata()?.nlink() == 0 {
            return Ok(false);
        }
        let mut leases = self
            .inner
            .leases
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        leases.push(object);
        Ok(true)
    }

    /// Takes a directory out of sight by one rename, for its removal.
    pub(crate) fn take_away(&self, path: &Path) -> io::Result<PathBuf> {
        let gone = fresh(&self.inbox(), "gone")?;
        fs::rename(path, &gone)?;
        Ok(gone)
    }

    /// Makes room for a tree by one rename. A pod that runs from what is there keeps it: a collection removes it when no pod
    /// needs a tree of that name. `None`: there is nothing.
    pub(crate) fn set_aside(&self, diff_id: &Digest) -> io::Result<Option<PathBuf>> {
        let aside = fresh(&self.inbox(), &format!("{ASIDE}{}", diff_id.hex()))?;
        match fs::rename(self.tree_path(diff_id), &aside) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            renamed => renamed?,
        }
        if !fs::symlink_metadata(&aside)?.is_dir() {
            // Nobody runs from a link or a file.
            self.remove_dir(&aside)?;
        }
        Ok(Some(aside))
    }
}

/// How the name of a tree begins that was set aside.
const ASIDE: &str = "aside-";

/// The diff id of a tree that was set aside, by its name.
pub(crate) fn of_aside(name: &str) -> Option<Digest> {
    let (hex, _) = name.strip_prefix(ASIDE)?.split_once('-')?;
    Digest::from_hex(hex)
}

/// A name in the inbox that nobody has used. Not of process ids: those come again, after a crash in the next boot, and at
/// once in another container.
fn fresh(inbox: &Path, what: &str) -> io::Result<PathBuf> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    let number = u64::from_ne_bytes(bytes);
    Ok(inbox.join(format!("{what}-{number:016x}")))
}

/// Makes an empty store. The version is written last, by rename: a store without one is made again.
fn make(root: &Path) -> io::Result<()> {
    for below in [
        "oci/blobs/sha256",
        "evidence/sha256",
        "refs",
        "trees/sha256",
        "inbox",
    ] {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root.join(below))?;
    }
    let place = |name: &str, content: &str| {
        let (temporary, _lock) = write_temporary(&root.join("inbox"), content.as_bytes())?;
        fs::rename(&temporary, root.join(name)).inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
    };
    place("oci/oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}")?;
    if !root.join("oci/index.json").exists() {
        place("oci/index.json", "{\"schemaVersion\":2,\"manifests\":[]}")?;
    }
    place("version", &format!("{VERSION}\n"))
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
