//! `trees/sha256/<diff id>/`: one unpacked layer. It is written in the inbox under a lock and renamed when it is on disk.
//!
//! ```text
//! fs/          the layer
//! meta.json    TreeMeta; its flock is the tree's lease
//! written      when meta.json was written, by the kernel's clock of changes: in a copy of the tree it is another time
//! disk         bytes that it takes, once somebody asked
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{CWD, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::blob::{open, read_at_most, write_temporary};
use super::claim::{Claim, lock_directory};
use super::names::is_absent;
use super::{Store, StoreError, fresh};
use crate::digest::Digest;

/// Largest `meta.json`.
const META_LIMIT: u64 = 4 << 20;

/// Larger than any `written`.
const WRITTEN_LIMIT: u64 = 100;

/// What is known about an unpacked layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeMeta {
    /// Digest of the uncompressed layer.
    pub diff_id: Digest,
    /// Digest of the blob it was unpacked from.
    pub blob: Digest,
    /// Size of that blob.
    pub blob_size: u64,
    /// Whose the files are on disk.
    pub owners: Owners,
    /// What was unpacked.
    pub report: crate::unpack::LayerReport,
}

/// Whose the files of a tree are on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Owners {
    /// The layer's id `n` is `base + n` on disk.
    Range {
        /// The id on disk of the layer's id 0.
        base: u32,
    },
    /// As the caller's subordinate ids map them.
    Subordinate,
    /// Everything is the caller's; the layer's own ids are lost.
    Squashed,
}

/// The answer to [`Store::begin_tree`].
pub enum Begin {
    /// The tree is there, complete, and leased.
    Exists,
    /// The caller has to write it.
    Write(TreeWriter),
    /// Another process has been writing it for too long.
    Late,
}

/// A tree that is being written, locked against all others. Dropped, it is removed.
pub struct TreeWriter {
    store: Store,
    diff_id: Digest,
    work: PathBuf,
    fs: OwnedFd,
    committed: bool,
    _lock: File,
}

impl Store {
    pub(crate) fn tree_path(&self, diff_id: &Digest) -> PathBuf {
        self.trees().join(diff_id.hex())
    }

    /// The root directory of a layer's tree.
    #[must_use]
    pub fn tree_fs(&self, diff_id: &Digest) -> PathBuf {
        self.tree_path(diff_id).join("fs")
    }

    /// Whether the tree of `diff_id` is there, complete. It is not leased.
    #[must_use]
    pub fn has_tree(&self, diff_id: &Digest) -> bool {
        let found = self.tree_meta(diff_id);
        let root = fs::symlink_metadata(self.tree_path(diff_id).join("fs"));
        found.is_ok_and(|meta| meta.diff_id == *diff_id) && root.is_ok_and(|root| root.is_dir())
    }

    /// `meta.json` of a tree.
    ///
    /// # Errors
    /// [`StoreError::Read`] or [`StoreError::Record`].
    pub fn tree_meta(&self, diff_id: &Digest) -> Result<TreeMeta, StoreError> {
        let path = self.tree_path(diff_id).join("meta.json");
        let bytes = open(&path)
            .and_then(|mut file| read_at_most(&mut file, META_LIMIT))
            .map_err(|e| StoreError::Read(path.clone(), e))?
            .unwrap_or_default();
        serde_json::from_slice(&bytes).map_err(|e| StoreError::Record(path, e))
    }

    /// When a tree was finished: the kernel sets this time, no system call can. `None`: this is not the tree that was finished
    /// then, but a copy of it, whose times are all later; or it is of a skua that did not note it.
    pub(crate) fn tree_written(&self, diff_id: &Digest) -> Result<Option<(i64, i64)>, StoreError> {
        let tree = self.tree_path(diff_id);
        let path = tree.join("meta.json");
        let record = fs::metadata(&path).map_err(|e| StoreError::Read(path, e))?;
        let mut noted = Vec::new();
        // Longer than any note, so no more is read of what is none.
        let read = open(&tree.join("written"))
            .and_then(|note| note.take(WRITTEN_LIMIT).read_to_end(&mut noted));
        let same = read.is_ok() && noted == written(&record).as_bytes();
        Ok(same.then(|| (record.ctime(), record.ctime_nsec())))
    }

    /// Bytes that a layer's tree takes on the disk. They are measured once, by `measure`; a read-only store cannot remember.
    pub fn tree_disk_bytes(
        &self,
        diff_id: &Digest,
        measure: impl FnOnce() -> Option<u64>,
    ) -> Option<u64> {
        let path = self.tree_path(diff_id).join("disk");
        let known = fs::read_to_string(&path).ok();
        if let Some(bytes) = known.and_then(|text| text.trim_end().parse().ok()) {
            return Some(bytes);
        }
        let bytes = measure()?;
        if let Ok((temporary, _lock)) =
            write_temporary(&self.inbox(), format!("{bytes}\n").as_bytes())
            && fs::rename(&temporary, &path).is_err()
        {
            // The tree went meanwhile.
            let _ = fs::remove_file(temporary);
        }
        Some(bytes)
    }

    /// Finds the tree of `diff_id`, or lets the caller write it. While another process writes it, this waits until `until`, after
    /// a call of `waiting`; when that process dies, this takes over; when it takes longer, the caller writes a tree of its own.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn begin_tree(
        &self,
        diff_id: &Digest,
        until: Instant,
        waiting: &dyn Fn(),
    ) -> Result<Begin, StoreError> {
        let work = self.inbox().join(format!("tree-{}", diff_id.hex()));
        let begin = || loop {
            if self.lease_tree(diff_id)? {
                return Ok(Begin::Exists);
            }
            let lock = match lock_directory(&work, until, waiting)? {
                Claim::Ours(lock) => lock,
                Claim::Moved => continue,
                Claim::Late => return Ok(Begin::Late),
            };
            if self.has_tree(diff_id) {
                self.remove_dir(&work)?;
                continue;
            }
            return Ok(Begin::Write(self.writer(diff_id, work.clone(), lock)?));
        };
        begin().map_err(|e: io::Error| StoreError::Write(work.clone(), e))
    }

    /// A tree that is written beside the one in the store, or beside one that another process is writing.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub(crate) fn begin_copy(&self, diff_id: &Digest) -> Result<TreeWriter, StoreError> {
        let begin = || loop {
            let work = fresh(&self.inbox(), &format!("tree-{}", diff_id.hex()))?;
            if let Claim::Ours(lock) = lock_directory(&work, Instant::now(), &|| ())? {
                return self.writer(diff_id, work, lock);
            }
        };
        begin().map_err(|e: io::Error| StoreError::Write(self.inbox(), e))
    }

    fn writer(&self, diff_id: &Digest, work: PathBuf, lock: File) -> io::Result<TreeWriter> {
        Ok(TreeWriter {
            store: self.clone(),
            diff_id: *diff_id,
            fs: self.empty(&work)?,
            work,
            committed: false,
            _lock: lock,
        })
    }

    fn lease_tree(&self, diff_id: &Digest) -> io::Result<bool> {
        match open(&self.tree_path(diff_id).join("meta.json")) {
            Ok(meta) => Ok(self.lease(meta)? && self.has_tree(diff_id)),
            Err(e) if is_absent(&e) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Removes what a dead process left in `work` and makes an empty `fs/`.
    fn empty(&self, work: &Path) -> io::Result<OwnedFd> {
        for entry in fs::read_dir(work)? {
            self.remove_dir(&entry?.path())?;
        }
        let path = work.join("fs");
        fs::DirBuilder::new().mode(0o755).create(&path)?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fs = rustix::fs::openat(CWD, &path, flags, Mode::empty())?;
        // A setgid bit or a default ACL of a directory above would change the modes of all that is made here.
        match rustix::fs::fremovexattr(&fs, "system.posix_acl_default") {
            Ok(()) | Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => {}
            Err(e) => return Err(e.into()),
        }
        rustix::fs::fchmod(&fs, Mode::from_raw_mode(0o755))?;
        Ok(fs)
    }
}

impl TreeWriter {
    /// The tree's root, empty at first.
    #[must_use]
    pub fn dir(&self) -> &OwnedFd {
        &self.fs
    }

    /// Throws away what has been written and begins again, still locked.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn restart(mut self) -> Result<Self, StoreError> {
        let fs = self.store.empty(&self.work);
        self.fs = fs.map_err(|e| StoreError::Write(self.work.clone(), e))?;
        Ok(self)
    }

    /// Gives the empty root to `uid` and `gid`: to the id that is 0 in the user namespace which will write it.
    ///
    /// # Errors
    /// [`StoreError::Owner`].
    pub fn set_owner(&self, uid: u32, gid: u32) -> Result<(), StoreError> {
        let refused = |e: rustix::io::Errno| StoreError::Owner(self.work.join("fs"), uid, e.into());
        let (uid, gid) = (
            rustix::fs::Uid::from_raw(uid),
            rustix::fs::Gid::from_raw(gid),
        );
        rustix::fs::fchown(&self.fs, Some(uid), Some(gid)).map_err(refused)
    }

    /// Waits until the tree is on disk and makes it part of the store, leased.
    ///
    /// # Errors
    /// [`StoreError::Write`]; the tree is then removed.
    pub fn commit(self, meta: &TreeMeta) -> Result<(), StoreError> {
        Self::commit_all(vec![(self, meta.clone())])
    }

    /// As [`TreeWriter::commit`] for several trees of one store, with one wait for the disk.
    ///
    /// # Errors
    /// [`StoreError::Write`]; trees that were not committed are removed.
    pub fn commit_all(trees: Vec<(Self, TreeMeta)>) -> Result<(), StoreError> {
        let mut leases = Vec::with_capacity(trees.len());
        for (tree, meta) in &trees {
            let path = tree.work.join("meta.json");
            leases.push(write_meta(&path, meta).map_err(|e| StoreError::Write(path, e))?);
        }
        if let Some((tree, _)) = trees.first() {
            rustix::fs::syncfs(tree.fs.as_fd())
                .map_err(|e| StoreError::Write(tree.work.clone(), e.into()))?;
        }
        for ((tree, _), lease) in trees.into_iter().zip(leases) {
            tree.place(lease)?;
        }
        Ok(())
    }

    fn remove_empty(&self) -> io::Result<()> {
        fs::remove_dir(self.work.join("fs"))?;
        fs::remove_dir(&self.work)
    }

    /// Renames it into the store, unless another process was faster.
    fn place(mut self, lease: File) -> Result<(), StoreError> {
        let path = self.store.tree_path(&self.diff_id);
        let failed = |e| StoreError::Write(path.clone(), e);
        loop {
            if self.store.lease_tree(&self.diff_id).map_err(failed)? {
                return Ok(());
            }
            match fs::rename(&self.work, &path) {
                Ok(()) => break,
                Err(e) if is_in_the_way(&e) => {}
                Err(e) => return Err(failed(e)),
            }
            // No crash of ours leaves anything there that is no tree, but a damaged disk may.
            if self
                .store
                .set_aside(&self.diff_id)
                .map_err(failed)?
                .is_some()
            {
                log::warn!(
                    "the tree of layer {} was damaged and is made again",
                    self.diff_id
                );
            }
        }
        self.committed = true;
        self.store.lease(lease).map_err(failed)?;
        Ok(())
    }
}

fn is_in_the_way(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
    matches!(
        error.kind(),
        AlreadyExists | DirectoryNotEmpty | NotADirectory
    )
}

impl Drop for TreeWriter {
    fn drop(&mut self) {
        // What nothing was written to needs no worker, which perhaps cannot be started.
        if self.committed || self.remove_empty().is_ok() {
            return;
        }
        if let Err(e) = self.store.remove_dir(&self.work) {
            log::warn!("cannot remove {}: {e}; gc will", self.work.display());
        }
    }
}

/// Writes `meta.json` with its lease held, before anybody can see it, and when that was.
fn write_meta(path: &Path, meta: &TreeMeta) -> io::Result<File> {
    let bytes = serde_json::to_vec(meta)?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.lock_shared()?;
    file.write_all(&bytes)?;
    let note = path.with_file_name("written");
    fs::write(note, written(&file.metadata()?))?;
    Ok(file)
}

/// What identifies a `meta.json` among all copies of it. Not by device and inode: those are others after a reboot, or on the next
/// machine that mounts the store.
fn written(record: &fs::Metadata) -> String {
    format!("{}.{:09}\n", record.ctime(), record.ctime_nsec())
}
