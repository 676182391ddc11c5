//! Paths of an image are hostile: a link in it may point anywhere, and an app of the pod may change it meanwhile.
//!
//! So every path is resolved once, by `openat2` inside the app's root, and then used by descriptor.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::op::Find;

/// What a missing target becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory.
    Directory,
    /// An empty file.
    File,
}

/// Opens what `path` names inside `root`, with `O_PATH`; makes it if `find` says so.
pub(crate) fn open(
    root: BorrowedFd<'_>,
    path: &str,
    find: Find,
    kind: Kind,
) -> nix::Result<OwnedFd> {
    let relative = relative(path);
    match (resolve(root, &relative, find), find) {
        (Err(Errno::ENOENT), Find::Plain | Find::Resolved) => {
            make(root, &relative, find, kind)?;
            resolve(root, &relative, find)
        }
        (result, _) => result,
    }
}

/// What a descriptor refers to.
pub(crate) fn kind_of(stat: &FileStat) -> Option<Kind> {
    match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFDIR => Some(Kind::Directory),
        SFlag::S_IFREG => Some(Kind::File),
        _ => None,
    }
}

/// Why a mount of this kind could not be attached: a directory fits on a directory only, anything else on anything else, and the
/// kernel says `EINVAL` of that as of much else.
pub(crate) fn misfit(kind: Kind, target: &OwnedFd, error: io::Error) -> io::Error {
    let Ok(found) = look(target.as_fd()) else {
        return error;
    };
    match (kind, kind_of(&found) == Some(Kind::Directory)) {
        (Kind::Directory, false) => Errno::ENOTDIR.into(),
        (Kind::File, true) => Errno::EISDIR.into(),
        _ => error,
    }
}

fn relative(path: &str) -> PathBuf {
    let parts = Path::new(path).components();
    parts
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect()
}

fn resolve(root: BorrowedFd<'_>, relative: &Path, find: Find) -> nix::Result<OwnedFd> {
    let mut flags = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    if find != Find::Resolved {
        flags |= ResolveFlag::RESOLVE_NO_SYMLINKS;
    }
    resolve_with(root, relative, flags)
}

/// The same where nothing is mounted over the root: what is there is of the pod's own layer.
fn resolve_in_layer(root: BorrowedFd<'_>, relative: &Path) -> nix::Result<OwnedFd> {
    let flags = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    resolve_with(root, relative, flags | ResolveFlag::RESOLVE_NO_XDEV)
}

fn resolve_with(root: BorrowedFd<'_>, relative: &Path, flags: ResolveFlag) -> nix::Result<OwnedFd> {
    let relative = if relative.as_os_str().is_empty() {
        Path::new(".")
    } else {
        relative
    };
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(flags);
    retry(|| openat2(root, relative, how))
}

/// Whenever anything on the machine is renamed or mounted meanwhile, the kernel cannot be sure of a `..` and says so.
fn retry<T>(mut open: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    for _ in 0..RETRIES {
        match open() {
            Err(Errno::EAGAIN) => {}
            other => return other,
        }
    }
    open()
}

/// Somebody who renames without end must not keep us for ever.
const RETRIES: usize = 10_000;

/// Makes the missing directories of `relative`, and its last component. A link that leads nowhere is replaced if it is the
/// last component: in the pod's own layer, the image keeps it. In a volume it may lead somewhere outside, and stays.
fn make(root: BorrowedFd<'_>, relative: &Path, find: Find, kind: Kind) -> nix::Result<()> {
    let (directory, name) = split(relative)?;
    let parent = match resolve(root, directory, find) {
        Err(Errno::ENOENT) => {
            make(root, directory, find, Kind::Directory)?;
            resolve(root, directory, find)?
        }
        other => other?,
    };
    match make_one(parent.as_fd(), name, kind) {
        Err(Errno::EEXIST) if find == Find::Resolved => {
            let parent = match resolve_in_layer(root, directory) {
                Err(Errno::EXDEV) => return Err(Errno::EEXIST),
                other => other?,
            };
            unlinkat(&parent, name, UnlinkatFlags::NoRemoveDir)?;
            make_one(parent.as_fd(), name, kind)
        }
        other => other,
    }
}

fn make_one(parent: BorrowedFd<'_>, name: &OsStr, kind: Kind) -> nix::Result<()> {
    match kind {
        Kind::Directory => mkdirat(parent, name, Mode::from_bits_truncate(0o755)),
        Kind::File => {
            let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            openat(
                parent,
                name,
                flags | OFlag::O_WRONLY,
                Mode::from_bits_truncate(0o644),
            )
            .map(drop)
        }
    }
}

fn split(relative: &Path) -> nix::Result<(&Path, &OsStr)> {
    match (relative.parent(), relative.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(Errno::ENOENT),
    }
}

/// The device number of the file system that a descriptor is on, and what it is.
pub(crate) fn look(file: BorrowedFd<'_>) -> nix::Result<FileStat> {
    fstat(file)
}
