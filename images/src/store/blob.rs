//! `oci/blobs/sha256/<hex>`: manifests, configs, indexes; small, immutable, verified whenever they are read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags};
use sha2::{Digest as _, Sha256};

use super::{Store, StoreError, fresh};
use crate::digest::Digest;

impl Store {
    /// Where a blob is.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// Keeps `bytes`. What is there already stays, unless it is corrupt. The blob is leased.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        let path = self.blob_path(&digest);
        let put = || {
            while !self.keep_existing(&path, bytes)? && !self.place_blob(&path, bytes)? {}
            Ok(())
        };
        put().map_err(|e| StoreError::Write(path.clone(), e))?;
        Ok(digest)
    }

    /// Reads a blob of at most `limit` bytes and checks its digest.
    ///
    /// # Errors
    /// [`StoreError::NoBlob`], [`StoreError::TooLarge`], [`StoreError::Corrupt`] or [`StoreError::Read`].
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, StoreError> {
        match open(&self.blob_path(digest)) {
            Ok(mut file) => self.read_verified(&mut file, digest, limit),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(StoreError::NoBlob(*digest)),
            Err(e) => Err(StoreError::Read(self.blob_path(digest), e)),
        }
    }

    /// As [`Store::read_blob`], and leases the blob. `None`: it is not there.
    pub(super) fn lease_blob(
        &self,
        digest: &Digest,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.blob_path(digest);
        let mut file = match open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StoreError::Read(path, e)),
        };
        let bytes = self.read_verified(&mut file, digest, limit)?;
        let kept = self.lease(file).map_err(|e| StoreError::Lock(path, e))?;
        Ok(kept.then_some(bytes))
    }

    /// Makes `path` a file with `bytes`, on disk, in place of what is there. On failure nothing has changed.
    pub(super) fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let (temporary, _lock) = write_temporary(&self.inbox(), bytes)?;
        fs::rename(&temporary, path).inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
    }

    fn read_verified(
        &self,
        file: &mut File,
        digest: &Digest,
        limit: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let bytes = read_at_most(file, limit)
            .map_err(|e| StoreError::Read(self.blob_path(digest), e))?
            .ok_or(StoreError::TooLarge(*digest, limit))?;
        match Digest::of(&bytes) {
            found if found == *digest => Ok(bytes),
            found => Err(StoreError::Corrupt {
                wanted: *digest,
                found,
            }),
        }
    }

    /// Leases the blob at `path` when it holds `bytes`.
    fn keep_existing(&self, path: &Path, bytes: &[u8]) -> io::Result<bool> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_file() => {}
            Ok(_) => {
                self.remove_dir(path)?;
                return Ok(false);
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        }
        let mut file = match open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                fs::remove_file(path)?;
                return Ok(false);
            }
            Err(e) => return Err(e),
        };
        if read_at_most(&mut file, bytes.len() as u64)?.as_deref() != Some(bytes) {
            fs::remove_file(path)?;
            return Ok(false);
        }
        self.lease(file)
    }

    /// Writes a blob that is not there. `false`: another process was faster.
    fn place_blob(&self, path: &Path, bytes: &[u8]) -> io::Result<bool> {
        let (temporary, file) = write_temporary(&self.inbox(), bytes)?;
        match rustix::fs::renameat_with(CWD, &temporary, CWD, path, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => {
                fs::remove_file(&temporary)?;
                return Ok(false);
            }
            Err(rustix::io::Errno::INVAL) => fs::rename(&temporary, path)?,
            Err(e) => {
                let _ = fs::remove_file(&temporary);
                return Err(e.into());
            }
        }
        self.lease(file)
    }
}

/// A file in the inbox, locked, with `bytes` on disk.
pub(crate) fn write_temporary(inbox: &Path, bytes: &[u8]) -> io::Result<(PathBuf, File)> {
    loop {
        let path = fresh(inbox, "new")?;
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let mut file = match made {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made?,
        };
        file.lock_shared()?;
        // A collector may have come between the making and the lock.
        if file.metadata()?.nlink() == 0 {
            continue;
        }
        match file.write_all(bytes).and_then(|()| file.sync_all()) {
            Ok(()) => return Ok((path, file)),
            Err(e) => {
                // The first error counts; what is left is removed by gc.
                let _ = fs::remove_file(&path);
                return Err(e);
            }
        }
    }
}

impl Store {
    /// Leases the kept blob of a layer. `false`: it is not there.
    pub(crate) fn lease_layer_blob(&self, digest: &Digest) -> Result<bool, StoreError> {
        self.open_layer_blob(digest).map(|blob| blob.is_some())
    }

    /// The kept blob of a layer, leased; its bytes are not verified. `None`: it is not there.
    pub(crate) fn open_layer_blob(&self, digest: &Digest) -> Result<Option<File>, StoreError> {
        let path = self.blob_path(digest);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() => {}
            Ok(_) => {
                self.forget_layer_blob(digest)?;
                return Ok(None);
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StoreError::Read(path, e)),
        }
        let lease = || -> io::Result<_> {
            let file = open(&path)?;
            let leased = self.lease(file.try_clone()?)?;
            Ok(leased.then_some(file))
        };
        match lease() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            leased => leased.map_err(|e| StoreError::Read(path.clone(), e)),
        }
    }

    /// Removes the kept blob of a layer, which was found to be another one.
    pub(crate) fn forget_layer_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.blob_path(digest);
        match self.remove_dir(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::Remove(path, e)),
            _ => Ok(()),
        }
    }

    /// Keeps the `size` bytes of a layer's blob, leased. `false`: they are other bytes than its digest says.
    pub(crate) fn keep_layer_blob(
        &self,
        digest: &Digest,
        size: u64,
        bytes: impl Read,
    ) -> Result<bool, StoreError> {
        let path = self.blob_path(digest);
        let keep = || {
            let (temporary, mut file) = write_temporary(&self.inbox(), b"")?;
            let written = copy_hashed(bytes.take(size.saturating_add(1)), &mut file);
            let written = written.and_then(|found| file.sync_all().map(|()| found));
            match written {
                Ok(found) if found == (*digest, size) => {}
                other => {
                    fs::remove_file(&temporary)?;
                    return other.map(|_| false);
                }
            }
            fs::rename(&temporary, &path)?;
            self.lease(file)
        };
        keep().map_err(|e| StoreError::Write(path.clone(), e))
    }

    /// An empty file without a name, for what must be copied to be read; it is gone when it is closed.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn scratch(&self) -> Result<File, StoreError> {
        let inbox = self.inbox();
        let nameless = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlags::TMPFILE.bits() as i32)
            .mode(0o600)
            .open(&inbox);
        let made = match nameless {
            // Some network file systems cannot make one.
            Err(e) if e.kind() == io::ErrorKind::Unsupported => forgotten(&inbox),
            made => made,
        };
        made.map_err(|e| StoreError::Write(inbox, e))
    }
}

/// Opens a regular file of the store: never through a link, never waiting for a fifo.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)
}

/// A new file whose name is removed at once.
fn forgotten(inbox: &Path) -> io::Result<File> {
    let path = fresh(inbox, "new")?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    fs::remove_file(path)?;
    Ok(file)
}

/// Copies, and gives the digest and the number of the bytes.
fn copy_hashed(mut from: impl Read, into: &mut File) -> io::Result<(Digest, u64)> {
    let (mut hasher, mut total) = (Sha256::new(), 0);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok((Digest::finish(hasher), total)),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                into.write_all(&buffer[..count])?;
                total += count as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// The content of a regular file of at most `limit` bytes; `None` when it has more.
pub(crate) fn read_at_most(file: &mut File, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if metadata.size() > limit {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.size()).unwrap_or(0) + 1);
    file.take(limit + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}
