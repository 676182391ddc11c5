//! Who writes what in the inbox: a directory belongs to whoever holds its lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

/// How often it is tried whether another process has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Whether a directory of the inbox is ours.
pub(super) enum Claim {
    Ours(File),
    /// Who held it before has moved or removed it.
    Moved,
    /// Somebody holds it still.
    Late,
}

/// Makes and locks a directory of the inbox; calls `waiting` before it waits, once, and waits no longer than `until`.
pub(super) fn lock_directory(path: &Path, until: Instant, waiting: &dyn Fn()) -> io::Result<Claim> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path);
    let lock = match opened {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Claim::Moved),
        lock => lock?,
    };
    let mut told = false;
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(e)) => return Err(e),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => return Ok(Claim::Late),
            Err(TryLockError::WouldBlock) => {}
        }
        if !std::mem::replace(&mut told, true) {
            waiting();
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    let ours = lock.metadata()?;
    let same = match fs::symlink_metadata(path) {
        Ok(found) => (found.dev(), found.ino()) == (ours.dev(), ours.ino()),
        Err(_) => false,
    };
    Ok(if same {
        Claim::Ours(lock)
    } else {
        Claim::Moved
    })
}
