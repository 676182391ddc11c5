//! Removing trees whose files belong to subordinate ids: only a user namespace that has these ids can.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use images::store::remove_tree;
use nix::fcntl::OFlag;
use pod::IdMapChoice;

use super::{Spawner, WorkerError};
use crate::id_map;

/// Removes `path` with everything in it, through a worker when the files may be of other ids than the caller's.
pub(crate) fn remove(path: &Path, debug: bool) -> io::Result<()> {
    let map = id_map::choose();
    if matches!(map, IdMapChoice::Subordinate { .. }) && needs_worker(path)? {
        match empty(path, &Spawner::new(map, debug)) {
            // Somebody else has removed it meanwhile, at whatever step of the worker.
            Err(_) if is_gone(path) => {}
            emptied => emptied.map_err(io::Error::other)?,
        }
    }
    remove_tree(path)
}

/// A directory with something in it. What is no directory, or not there, is nothing for a worker.
fn needs_worker(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}

fn empty(path: &Path, workers: &Spawner) -> Result<(), WorkerError> {
    let directory = File::options()
        .read(true)
        .custom_flags((OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits())
        .open(path)
        .map_err(WorkerError::Directory)?;
    let worker = workers.empty(directory.as_fd())?;
    let (outcome, _): (Result<(), String>, _) = worker
        .channel
        .receive()
        .map_err(|error| WorkerError::lost(&worker, error))?;
    outcome.map_err(WorkerError::Empty)
}
