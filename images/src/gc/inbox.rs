//! What crashes left in the inbox: everything there that nobody has locked, and partial downloads that have grown old.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::Mode;
use crate::store::{Store, StoreError};

/// How long a partial download is kept, to be resumed.
const KEPT: Duration = Duration::from_hours(24 * 7);

pub(super) fn sweep(store: &Store, mode: Mode) -> Result<Vec<PathBuf>, StoreError> {
    let inbox = store.inbox();
    let mut swept = Vec::new();
    let entries = fs::read_dir(&inbox).map_err(|e| StoreError::Read(inbox.clone(), e))?;
    for entry in entries {
        let path = entry
            .map_err(|e| StoreError::Read(inbox.clone(), e))?
            .path();
        let Some(name) = path.file_name().and_then(OsStr::to_str) else {
            continue;
        };
        let lock = match File::open(&path) {
            Ok(lock) => lock,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(StoreError::Read(path, e)),
        };
        let free = match lock.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(e)) => return Err(StoreError::Lock(path, e)),
        };
        let ours = ["new-", "make-", "tree-", "gone-"];
        let left = ours.iter().any(|begin| name.starts_with(begin)) || is_old(&lock);
        if !free || !left {
            continue;
        }
        if mode == Mode::Remove {
            store
                .remove_dir(&path)
                .map_err(|e| StoreError::Remove(path.clone(), e))?;
        }
        swept.push(path);
    }
    Ok(swept)
}

/// Whether a file was last written long ago. A clock that jumps costs a download, not an image.
fn is_old(file: &File) -> bool {
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    let age = modified.map(|time| SystemTime::now().duration_since(time).unwrap_or_default());
    age.is_ok_and(|age| age > KEPT)
}
