//! Partial downloads: what a killed fetch leaves for the next one to continue with.
//!
//! ```text
//! inbox/<hex>.part   the first bytes of a blob; its flock: somebody is writing it
//! inbox/<hex>.etag   what the registry called that version
//! ```

use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::Fetcher;

const LONGEST_ETAG: u64 = 256;

/// A partial download, open and locked.
pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// Bytes that it has from before.
    pub(super) length: u64,
    /// The version that they belong to, then the one that the registry names.
    pub(super) etag: Option<String>,
}

impl Part {
    /// Opens and locks it; none when another process is writing it, which is then on its own.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits() as i32)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let length = file.metadata()?.len();
        let etag = read_etag(&Fetcher::part_etag(path)).filter(|_| length > 0);
        Ok(Some(Self {
            path: path.to_owned(),
            file,
            length,
            etag,
        }))
    }

    /// Remembers the version; without it the digest alone tells whether the parts fit together.
    pub(super) fn note(&mut self, etag: Option<String>) {
        let path = Fetcher::part_etag(&self.path);
        let _ = match &etag {
            Some(text) => std::fs::write(path, text),
            None => std::fs::remove_file(path),
        };
        self.etag = etag;
    }
}

fn read_etag(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(LONGEST_ETAG).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Removes kept bytes. What cannot be removed is aged out by gc.
pub(super) fn forget(part: &Path) {
    let _ = std::fs::remove_file(part);
    let _ = std::fs::remove_file(Fetcher::part_etag(part));
    // A collection may have seen it before it was ours.
    let _ = std::fs::remove_file(crate::gc::age::path(part));
}
