//! Files of a layout directory. Its root was chosen by the caller; nothing below it is trusted.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Blob, LayoutError};

/// Opens a regular file. Links are refused, also for the directories above it; a fifo is not waited for.
pub(super) fn open(directory: &OwnedFd, name: &str) -> Result<Option<Blob>, LayoutError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let opened = rustix::fs::openat2(directory, name, flags, Mode::empty(), resolve);
    let file = match opened {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(LayoutError::NotAFile(name.to_owned())),
        Err(e) => return Err(LayoutError::Read(name.to_owned(), e.into())),
    };
    let metadata = file
        .metadata()
        .map_err(|e| LayoutError::Read(name.to_owned(), e))?;
    if !metadata.is_file() {
        return Err(LayoutError::NotAFile(name.to_owned()));
    }
    Ok(Some(Blob {
        file: Arc::new(file),
        at: 0,
        end: metadata.size(),
    }))
}
