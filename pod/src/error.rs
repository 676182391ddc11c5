//! What can go wrong with a file of the contract.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A failure to load, save, lock or move a file or directory of a pod.
#[derive(Debug)]
pub enum Error {
    /// The file cannot be read.
    Read(PathBuf, io::Error),
    /// The file cannot be written or renamed into place.
    Write(PathBuf, io::Error),
    /// The file or directory cannot be brought to the disk.
    Sync(PathBuf, io::Error),
    /// The file is longer than [`crate::MAX_FILE`] bytes.
    TooLarge(PathBuf),
    /// The file is not what its type says.
    Parse(PathBuf, serde_json::Error),
    /// The file was written by a newer skua.
    Newer(PathBuf, u32),
    /// The directory cannot be listed or opened.
    Directory(PathBuf, io::Error),
    /// A directory of pods is a symbolic link.
    Link(PathBuf),
    /// The directory cannot be made.
    Make(PathBuf, io::Error),
    /// The lock of the pod cannot be taken.
    Lock(PathBuf, io::Error),
    /// The pod cannot be moved to another state.
    Move(PathBuf, PathBuf, io::Error),
    /// A name does not have the form that its kind requires.
    Name {
        /// What the name is of: pod, app, volume, network.
        kind: &'static str,
        /// The name as given, escaped for printing.
        given: String,
        /// The form that it should have.
        form: &'static str,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, _) => write!(f, "cannot read {}", path.display()),
            Self::Write(path, _) => write!(f, "cannot write {}", path.display()),
            Self::Sync(path, _) => write!(f, "cannot bring {} to the disk", path.display()),
            Self::TooLarge(path) => write!(
                f,
                "{} is longer than {} bytes",
                path.display(),
                crate::MAX_FILE
            ),
            Self::Parse(path, _) => write!(f, "cannot parse {}", path.display()),
            Self::Newer(path, version) => write!(
                f,
                "{} has version {version} of the pod contract, this program knows {}: use the skua that made the pod",
                path.display(),
                crate::CONTRACT_VERSION
            ),
            Self::Directory(path, _) => write!(f, "cannot open directory {}", path.display()),
            Self::Link(path) => write!(
                f,
                "{} is a symbolic link, and pods would not find their data directory through it",
                path.display()
            ),
            Self::Make(path, _) => write!(f, "cannot make directory {}", path.display()),
            Self::Lock(path, _) => write!(f, "cannot lock {}", path.display()),
            Self::Move(from, to, _) => {
                write!(f, "cannot move {} to {}", from.display(), to.display())
            }
            Self::Name { kind, given, form } => write!(f, "{kind} name '{given}' is not {form}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(_, e)
            | Self::Write(_, e)
            | Self::Sync(_, e)
            | Self::Directory(_, e)
            | Self::Make(_, e)
            | Self::Lock(_, e)
            | Self::Move(_, _, e) => Some(e),
            Self::Parse(_, e) => Some(e),
            Self::TooLarge(_) | Self::Newer(..) | Self::Link(_) | Self::Name { .. } => None,
        }
    }
}

impl Error {
    /// Whether the file is not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Read(_, e) if e.kind() == io::ErrorKind::NotFound)
    }

    /// Whether what the file holds is not what its type says, and no newer skua's either: a later look finds the same.
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        matches!(self, Self::Parse(..) | Self::TooLarge(_))
    }

    /// Whether the file is no document at all: empty, cut off or overwritten, as a power failure leaves what was not synced. No
    /// skua wrote that.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        matches!(self, Self::Parse(_, e) if e.is_eof() || e.is_syntax())
    }

    /// Whether something could not be written because the disk, or the caller's share of it, is full.
    #[must_use]
    pub fn is_full_disk(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, Self::Write(_, e) if full.contains(&e.kind()))
    }
}
