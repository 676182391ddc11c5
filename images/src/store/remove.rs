//! Removal of a tree whose names, modes and depth were chosen by a stranger.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

const DIRECTORY: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Removes `path` and everything below it, following no link. Directories that their owner may not write are made
/// writable first, so an ordinary user can remove what was unpacked with that user's id. A missing path is removed.
///
/// # Errors
/// The first failure; what could be removed before it is gone.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match rustix::fs::unlinkat(CWD, path, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(e.into()),
    }
    Ok(remove_directory(CWD, path)?)
}

/// Removes a directory's entry `name` in `parent`, which is itself a directory.
pub(crate) fn remove_directory<N: rustix::path::Arg + Copy>(
    parent: BorrowedFd<'_>,
    name: N,
) -> Result<(), Errno> {
    let directory =
        match rustix::fs::openat(parent, name, DIRECTORY | OFlags::RDONLY, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ACCESS) => {
                // Not through a link: only a directory that cannot be read answers EACCES to NOFOLLOW and DIRECTORY.
                rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
                rustix::fs::openat(parent, name, DIRECTORY | OFlags::RDONLY, Mode::empty())?
            }
            opened => opened?,
        };
    let mut writable = false;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let child = entry.file_name();
        if matches!(child.to_bytes(), b"." | b"..") {
            continue;
        }
        let mut removed = remove_entry(directory.as_fd(), child, entry.file_type());
        if removed == Err(Errno::ACCESS) && !writable {
            rustix::fs::fchmod(&directory, Mode::RWXU)?;
            writable = true;
            removed = remove_entry(directory.as_fd(), child, entry.file_type());
        }
        removed?;
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn remove_entry(
    directory: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    kind: FileType,
) -> Result<(), Errno> {
    if kind != FileType::Directory {
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            Err(Errno::NOENT) => return Ok(()),
            other => return other,
        }
    }
    remove_directory(directory, name)
}
