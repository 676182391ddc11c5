//! How long objects have been unneeded, by evidence that a changed clock cannot forge.
//!
//! ```text
//! unneeded/<hex>    the boot, and the seconds since it, when a collection first saw that nothing needs the object
//! ```
//!
//! A later collection of the same boot knows at least the difference; after a reboot it is at least the time since the boot.
//! What is needed again loses its mark at the next collection.

use std::collections::HashSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;

use serde::{Deserialize, Serialize};

use super::Mode;
use crate::digest::Digest;
use crate::store::{Store, StoreError, write_temporary};

/// How long an object must have been unneeded, and what time it is.
#[derive(Clone, Debug)]
pub struct Grace {
    /// In seconds; 0 asks for no evidence.
    pub seconds: u64,
    /// Which boot this is.
    pub boot_id: String,
    /// Seconds since then.
    pub since_boot: u64,
    /// Which downloads that broke off are kept.
    pub downloads: Downloads,
}

/// Which downloads that broke off are kept to continue with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Downloads {
    /// Those of the last week.
    Young,
    /// None but those that go on.
    None,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    boot_id: String,
    since_boot: u64,
}

impl Grace {
    /// Whether the time of an unneeded object is over. At first sight it gets its mark, unless nothing is to be changed.
    pub(super) fn is_over(
        &self,
        store: &Store,
        digest: &Digest,
        mode: Mode,
    ) -> Result<bool, StoreError> {
        if self.seconds == 0 {
            return Ok(true);
        }
        let path = store.unneeded().join(digest.hex());
        let failed = |e| StoreError::Write(path.clone(), e);
        let seen: Option<Seen> = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).ok(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(StoreError::Read(path, e)),
        };
        match seen {
            Some(seen) if seen.boot_id == self.boot_id => {
                Ok(self.since_boot.saturating_sub(seen.since_boot) >= self.seconds)
            }
            Some(_) => Ok(self.since_boot >= self.seconds),
            None if mode == Mode::DryRun => Ok(false),
            None => {
                let seen = Seen {
                    boot_id: self.boot_id.clone(),
                    since_boot: self.since_boot,
                };
                let bytes = serde_json::to_vec(&seen).map_err(|e| failed(e.into()))?;
                let mut directory = DirBuilder::new();
                directory.recursive(true).mode(0o700);
                directory.create(store.unneeded()).map_err(failed)?;
                let (temporary, _lock) = write_temporary(&store.inbox(), &bytes).map_err(failed)?;
                fs::rename(temporary, &path).map_err(failed)?;
                Ok(false)
            }
        }
    }
}

/// Removes the marks of all objects but those that are still there and unneeded.
pub(super) fn forget_others(store: &Store, kept: &HashSet<Digest>) -> Result<(), StoreError> {
    let directory = store.unneeded();
    let entries = match fs::read_dir(&directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|e| StoreError::Read(directory.clone(), e))?,
    };
    for entry in entries {
        let entry = entry.map_err(|e| StoreError::Read(directory.clone(), e))?;
        let digest = entry.file_name().to_str().and_then(Digest::from_hex);
        if digest.is_some_and(|digest| kept.contains(&digest)) {
            continue;
        }
        match fs::remove_file(entry.path()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::Remove(entry.path(), e));
            }
            _ => {}
        }
    }
    Ok(())
}
