//! Reading configuration that decides about trust: never from a file that somebody else could have written.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, Stat};

use super::TrustError;

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
            Err(rustix::io::Errno::NOENT) => return Ok(None),
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
        read_at(directory, Path::new(name), path, limit, None)
    }
}

/// Reads the file at an absolute path.
pub(super) fn read(path: &Path, limit: u64) -> Result<Found, TrustError> {
    read_at(CWD, path, path, limit, None)
}

/// Reads the file at `path`, which may also belong to user `invoker`.
pub(super) fn read_of(path: &Path, limit: u64, invoker: Option<u32>) -> Result<Found, TrustError> {
    read_at(CWD, path, path, limit, invoker)
}

fn read_at(
    directory: impl AsFd,
    name: &Path,
    path: &Path,
    limit: u64,
    invoker: Option<u32>,
) -> Result<Found, TrustError> {
    let failed = |e: io::Error| TrustError::Read(path.to_owned(), e);
    // NONBLOCK: a fifo must not make us wait.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let fd =
        rustix::fs::openat(directory, name, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
    let stat = rustix::fs::fstat(&fd).map_err(|e| failed(e.into()))?;
    if is_dev_null(&stat) {
        return Ok(Found::Mask);
    }
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(TrustError::NotAFile(path.to_owned()));
    }
    only_ours(&stat, path, invoker)?;
    // One byte more than the file has, so that its end is seen without reading again.
    let size = usize::try_from(stat.st_size.clamp(0, limit.cast_signed())).unwrap_or(0);
    let mut bytes = Vec::with_capacity(size + 1);
    File::from(fd)
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(TrustError::TooLarge(path.to_owned(), limit));
    }
    if bytes.is_empty() {
        return Ok(Found::Mask);
    }
    String::from_utf8(bytes)
        .map(Found::Text)
        .map_err(|_| TrustError::NotText(path.to_owned()))
}

fn is_dev_null(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == rustix::fs::makedev(1, 3)
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
