//! Reading configuration that decides about trust: never from a file that somebody else could have written.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{CWD, Dir, Mode, OFlags, Stat};

use super::TrustError;
use crate::small_file::{self, By, SmallFile};

/// What is found under the name of a policy or key file.
pub(super) enum Found {
    /// Text.
    Text(String),
    /// Nothing in it, or a link to `/dev/null`: it hides the files of that name in lower layers.
    Mask,
}

/// A directory of policy files, and the names in it that count.
pub(super) struct Directory {
    directory: Dir,
    pub(super) names: Vec<OsString>,
}

impl Directory {
    /// Opens `path`; `None` when there is none.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, TrustError> {
        let failed = |e: rustix::io::Errno| TrustError::Directory(path.to_owned(), e.into());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::NOENT) if !small_file::leads_nowhere(path) => return Ok(None),
            Err(e) => return Err(failed(e)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(failed)?;
        only_ours(&stat, path, None)?;
        let mut directory = Dir::new(fd).map_err(failed)?;
        let mut names = Vec::new();
        while let Some(entry) = directory.read() {
            let name = OsStr::from_bytes(entry.map_err(failed)?.file_name().to_bytes()).to_owned();
            if name.as_bytes().ends_with(b".toml") && !name.as_bytes().starts_with(b".") {
                names.push(name);
            }
        }
        Ok(Some(Self { directory, names }))
    }

    /// Reads a file of this directory; `path` is its whole name, for messages.
    pub(super) fn read(&self, name: &OsStr, path: &Path, limit: u64) -> Result<Found, TrustError> {
        let directory = self.directory.fd();
        let directory = directory.map_err(|e| TrustError::Directory(path.to_owned(), e.into()))?;
        let opened = SmallFile::open(directory, Path::new(name), By::Place);
        found(opened, path, limit, None)
    }
}

/// Reads the file at an absolute path.
pub(super) fn read(path: &Path, limit: u64) -> Result<Found, TrustError> {
    read_of(path, limit, By::Place, None)
}

/// Reads the file at `path`, which may also belong to user `invoker`.
pub(super) fn read_of(
    path: &Path,
    limit: u64,
    by: By,
    invoker: Option<u32>,
) -> Result<Found, TrustError> {
    found(SmallFile::open(CWD, path, by), path, limit, invoker)
}

fn found(
    opened: io::Result<SmallFile>,
    path: &Path,
    limit: u64,
    invoker: Option<u32>,
) -> Result<Found, TrustError> {
    let failed = |e: io::Error| TrustError::Read(path.to_owned(), e);
    let file = opened.map_err(failed)?;
    if file.is_null() {
        return Ok(Found::Mask);
    }
    only_ours(file.stat(), path, invoker)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let bytes = file.bytes(limit).map_err(failed)?;
    if bytes.is_empty() {
        return Ok(Found::Mask);
    }
    String::from_utf8(bytes)
        .map(Found::Text)
        .map_err(|_| TrustError::NotText(path.to_owned()))
}

/// Owned by root or the caller, and writable by nobody else.
fn only_ours(stat: &Stat, path: &Path, invoker: Option<u32>) -> Result<(), TrustError> {
    let caller = rustix::process::geteuid().as_raw();
    if ![Some(0), Some(caller), invoker].contains(&Some(stat.st_uid)) {
        return Err(TrustError::ForeignOwner(path.to_owned(), stat.st_uid));
    }
    if stat.st_mode & 0o022 != 0 {
        return Err(TrustError::Writable(path.to_owned(), stat.st_mode & 0o7777));
    }
    Ok(())
}
