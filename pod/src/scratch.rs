//! A directory of a data directory for what is not finished: its maker's for as long as the maker lives, and then `gc`'s.
//!
//! ```text
//! <data>/scratch-<pid>-<number>/   in use ⇔ somebody holds the directory's flock
//! ```
//!
//! Of an older skua, which nobody makes any more:
//!
//! ```text
//! <data>/skeleton.<pid>/, <data>/doctor-<pid>/   in use at most for a moment
//! <data>/ids/<number>                            in use ⇔ somebody holds the file's flock
//! ```

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{DataDir, remove_tree};

/// How their names begin.
const PREFIX: &str = "scratch-";

/// How those of an older skua began, before a process id. They had no lock.
const OLDER: [&str; 2] = ["skeleton.", "doctor-"];

/// When the maker of one of those is gone for certain.
const AGE: Duration = Duration::from_secs(60 * 60);

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
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let ours = name.starts_with(PREFIX) || is_older(&name) && is_old(&entry)?;
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

fn is_older(name: &str) -> bool {
    let pid = OLDER.iter().find_map(|prefix| name.strip_prefix(prefix));
    pid.is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit()))
}

fn is_old(entry: &fs::DirEntry) -> io::Result<bool> {
    let age = entry.metadata()?.modified()?.elapsed();
    Ok(age.is_ok_and(|age| age > AGE))
}

/// Removes the locks by which pods of an older skua had user ids, as soon as nobody holds one of them.
///
/// # Errors
/// They cannot be read or removed.
pub fn remove_older_locks(data: &DataDir) -> io::Result<()> {
    let directory = data.0.join("ids");
    let entries = match fs::read_dir(&directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        match lock(&path)? {
            Some(_lock) => fs::remove_file(&path)?,
            None => return Ok(()),
        }
    }
    fs::remove_dir(&directory)
}

/// Locks a directory, or a file, that is still at `path`. `None`: somebody has it, or has removed it.
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
