//! Whether a tree still is what was unpacked.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Store, StoreError};
use crate::digest::Digest;

/// Seconds and nanoseconds of the last change of an inode: the kernel sets it, no system call can.
type ChangeTime = (i64, i64);

impl Store {
    /// Finds something in a tree that was changed, added or removed after it was unpacked, as the kernel's change times
    /// say. Contents are not read: whoever writes to the disk below the file system is not found out. In a store that
    /// was copied, everything has changed.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn changed_in_tree(&self, diff_id: &Digest) -> Result<Option<PathBuf>, StoreError> {
        let tree = self.tree_path(diff_id);
        let find = || {
            let record = fs::metadata(tree.join("meta.json"))?;
            find_changed(&tree.join("fs"), (record.ctime(), record.ctime_nsec()))
        };
        find().map_err(|e| StoreError::Read(tree.clone(), e))
    }
}

fn find_changed(path: &Path, written: ChangeTime) -> io::Result<Option<PathBuf>> {
    let metadata = fs::symlink_metadata(path)?;
    if (metadata.ctime(), metadata.ctime_nsec()) > written {
        return Ok(Some(path.to_owned()));
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            if let Some(changed) = find_changed(&entry?.path(), written)? {
                return Ok(Some(changed));
            }
        }
    }
    Ok(None)
}
