//! The coordinator's side of packing.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags};

use super::{PackAnswer, PackJob, PackReport, PackTree, What};
use crate::digest::Digest;
use crate::escape;
use crate::fetch::workers::{Lost, SpawnError, Worker, Workers};
use crate::store::{Store, StoreError, TreeMeta};
use crate::unpack::Device;

/// How much may wait in the pipe.
const PIPE_SIZE: usize = 1 << 20;

/// Why trees cannot be packed, or an archive of them cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A worker could not be started.
    #[error("cannot start the {0} worker")]
    Spawn(&'static str, #[source] SpawnError),
    /// A worker does not follow the protocol or has died.
    #[error(transparent)]
    Worker(#[from] Box<Lost>),
    /// No pipe.
    #[error("cannot make a pipe")]
    Pipe(#[source] io::Error),
    /// What a worker wrote is no archive.
    #[error("cannot read the archive of the pack worker")]
    Archive(#[source] crate::unpack::UnpackError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whoever was to read the archive did not.
    #[error("nobody reads the archive")]
    Unread,
    /// What a worker says.
    #[error("{0}")]
    Told(String),
}

impl PackError {
    pub(super) fn told(said: &str) -> Self {
        Self::Told(escape::message(said.as_bytes()))
    }

    /// What the user can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Worker(lost) => lost.hint(),
            _ => None,
        }
    }
}

const PACK: &str = "pack";

/// A pack worker at work. Reading gives its archive.
pub struct Packing {
    worker: Worker,
    archive: PipeReader,
}

impl Packing {
    /// Starts a worker on the trees `diff_ids`, the lowest first; they must be leased.
    ///
    /// # Errors
    /// [`PackError`].
    pub fn start(
        workers: &dyn Workers,
        store: &Store,
        diff_ids: &[Digest],
        what: What,
    ) -> Result<Self, PackError> {
        let mut trees = Vec::with_capacity(diff_ids.len());
        for diff_id in diff_ids.iter().rev() {
            trees.push((open(store, diff_id)?, store.tree_meta(diff_id)?));
        }
        let trees = trees.iter().map(|(root, meta)| (root, meta.clone()));
        Self::of(workers, trees.collect(), what)
    }

    /// As [`Packing::start`], on open trees, the topmost first.
    pub(crate) fn of(
        workers: &dyn Workers,
        trees: Vec<(&OwnedFd, TreeMeta)>,
        what: What,
    ) -> Result<Self, PackError> {
        let (archive, out) = io::pipe().map_err(PackError::Pipe)?;
        // A smaller pipe is slower and nothing else.
        let _ = rustix::pipe::fcntl_setpipe_size(&out, PIPE_SIZE);
        let Some((first, _)) = trees.first() else {
            return Err(PackError::Told("the image has no layers".to_owned()));
        };
        let spawned = workers.pack(first.as_fd());
        let worker = spawned.map_err(|error| PackError::Spawn(PACK, error))?;
        let lost = |error| Box::new(worker.lost(PACK, error));
        let count = trees.len();
        let job = PackJob { what, trees: count };
        worker.channel.send(&job, &[out.as_fd()]).map_err(lost)?;
        drop(out);
        for (root, meta) in &trees {
            let devices = restorable(&meta.report.devices);
            let tree = PackTree { devices };
            worker.channel.send(&tree, &[root.as_fd()]).map_err(lost)?;
        }
        Ok(Self { worker, archive })
    }

    /// The archive as it comes, for another process to read.
    #[must_use]
    pub fn archive(&self) -> &PipeReader {
        &self.archive
    }

    /// Waits for the end. Read the archive first.
    ///
    /// # Errors
    /// What went wrong in the worker.
    pub fn finish(self) -> Result<PackReport, PackError> {
        drop(self.archive);
        let received = self.worker.channel.receive::<PackAnswer>();
        let (answer, _) = received.map_err(|error| Box::new(self.worker.lost(PACK, error)))?;
        answer.map_err(|failure| match failure.unread {
            true => PackError::Unread,
            false => PackError::told(&failure.message),
        })
    }
}

/// Why a tree may not be what was unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The first file or directory that was changed.
    Of(PathBuf),
    /// The tree is a copy, or of a skua that did not note when it was finished: its times say nothing.
    Unknown(PathBuf),
}

/// Finds something in a tree that was changed, added or removed after it was unpacked, as the kernel's times say. Contents are
/// not read: whoever writes to the disk below the file system is not found out. In a store that was copied, everything may have
/// changed.
///
/// # Errors
/// [`PackError`].
pub fn changed(
    workers: &dyn Workers,
    store: &Store,
    diff_id: &Digest,
) -> Result<Option<Change>, PackError> {
    if store.tree_meta(diff_id).is_err() {
        let record = store.tree_path(diff_id).join("meta.json");
        return Ok(Some(Change::Of(record)));
    }
    let Some(since) = store.tree_written(diff_id)? else {
        return Ok(Some(Change::Unknown(store.tree_fs(diff_id))));
    };
    let since = Some(since);
    let packing = Packing::start(workers, store, &[*diff_id], What::Measure { since })?;
    let changed = packing.finish()?.changed;
    Ok(changed.map(|path| Change::Of(store.tree_fs(diff_id).join(path))))
}

impl Read for Packing {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.archive.read(into)
    }
}

fn open(store: &Store, diff_id: &Digest) -> Result<OwnedFd, StoreError> {
    let path = store.tree_fs(diff_id);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, &path, flags, Mode::empty())
        .map_err(|e| StoreError::Read(path, e.into()))
}

/// Devices whose recorded name is their name. Others had to be escaped.
pub(crate) fn restorable(devices: &[Device]) -> Vec<Device> {
    let plain = |device: &&Device| !device.path.contains(['\\', '…']) && !device.path.is_empty();
    devices.iter().filter(plain).cloned().collect()
}
