//! A directory of a data directory for what is not finished: its maker's for as long as the maker lives, and then `gc`'s.
//!
//! ```text
//! <data>/scratch-<pid>-<number>/   in use ⇔ somebody holds the directory's flock
//! ```

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::{DataDir, remove_tree};

/// How their names begin.
const PREFIX: &str = "scratch-";

/// A directory that is removed when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes one, which only its owner can enter. The data directory must be there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(data: &DataDir) -> io::Result<Self> {
        for number in 0_u64.. {
            let name = format!("{PREFIX}{}-{number}", std::process::id());
            let path = data.0.join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made?,
            }
            // Until it is locked, `gc` takes it for one without a maker; then there is another number.
            if let Some(lock) = lock(&path)? {
                return Ok(Self { path, _lock: lock });
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Those of a data directory whose makers are gone. They come locked.
    ///
    /// # Errors
    /// The data directory cannot be read.
    pub fn left(data: &DataDir) -> io::Result<Vec<Self>> {
        let entries = match fs::read_dir(&data.0) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut left = Vec::new();
        for entry in entries {
            let entry = entry?;
            let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
            if !ours || !entry.file_type()?.is_dir() {
                continue;
            }
            let path = entry.path();
            if let Some(lock) = lock(&path)? {
                left.push(Self { path, _lock: lock });
            }
        }
        Ok(left)
    }

    /// Removes it with everything in it.
    ///
    /// # Errors
    /// The first failure; what could be removed before it is gone.
    pub fn remove(&self) -> io::Result<()> {
        remove_tree(&self.path)
    }
}

/// What is not removed now is left to `gc`.
impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = self.remove();
    }
}

/// Locks a directory that is still at `path`. `None`: somebody has it, or has removed it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let gone = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
    let file = match File::open(path) {
        Err(e) if gone(&e) => return Ok(None),
        opened => opened?,
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Ok(None),
        Err(fs::TryLockError::Error(e)) => return Err(e),
    }
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(found) if (found.dev(), found.ino()) == (ours.dev(), ours.ino()) => Ok(Some(file)),
        Err(e) if !gone(&e) => Err(e),
        _ => Ok(None),
    }
}
