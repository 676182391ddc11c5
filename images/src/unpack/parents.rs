//! Descriptors of the directories that entries are made in.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, XattrFlags};
use rustix::io::Errno;

use super::path::split;
use crate::store::OPAQUE;

/// Archives go through a tree depth first, so few directories are in use at a time.
const CACHED: usize = 12;

/// The root of the tree and the directories used last.
pub(super) struct Parents {
    root: Rc<OwnedFd>,
    /// Least recently used first.
    cache: Vec<(Vec<u8>, Rc<OwnedFd>)>,
    /// Directories made because entries needed them.
    pub(super) implied: u64,
    /// Directories made opaque.
    pub(super) opaques: u64,
}

impl Parents {
    /// `root` itself is opened again, so that it may be any kind of descriptor.
    pub(super) fn new(root: BorrowedFd<'_>) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(root, c".", flags, Mode::empty())?;
        Ok(Self {
            root: Rc::new(root),
            cache: Vec::with_capacity(CACHED),
            implied: 0,
            opaques: 0,
        })
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens the directory `path`; it and those above are made when they are missing. Links are followed inside the tree.
    pub(super) fn open(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, Errno> {
        if path.is_empty() {
            return Ok(Rc::clone(&self.root));
        }
        if let Some(at) = self.cache.iter().rposition(|(cached, _)| cached == path) {
            let found = self.cache.remove(at);
            let directory = Rc::clone(&found.1);
            self.cache.push(found);
            return Ok(directory);
        }
        let directory = match self.find(path) {
            Err(Errno::NOENT | Errno::NOTDIR) => self.make(path)?,
            found => found?,
        };
        let directory = Rc::new(directory);
        if self.cache.len() == CACHED {
            self.cache.remove(0);
        }
        self.cache.push((path.to_vec(), Rc::clone(&directory)));
        Ok(directory)
    }

    /// Opens the directory `path` if it is there.
    pub(super) fn find(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let path = if path.is_empty() { b"." } else { path };
        loop {
            match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve) {
                // Something was renamed or mounted on this machine meanwhile.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// Forgets all descriptors: a directory or a link was removed.
    pub(super) fn forget(&mut self) {
        self.cache.clear();
    }

    /// Makes the last component of `path` a directory that hides the one of lower layers.
    pub(super) fn make_opaque(&mut self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
        let directory = open_directory(parent, name)?;
        rustix::fs::fsetxattr(&directory, OPAQUE, b"y", XattrFlags::empty())?;
        self.opaques += 1;
        Ok(())
    }

    /// Makes `path` and the directories above it that are missing.
    fn make(&mut self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let mut ends: Vec<usize> = (0..path.len()).filter(|at| path[*at] == b'/').collect();
        ends.push(path.len());
        for end in ends {
            match self.find(&path[..end]) {
                Ok(_) => continue,
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(e) => return Err(e),
            }
            let (above, name) = split(&path[..end]);
            let above = self.find(above)?;
            let hidden = remove_whiteout(above.as_fd(), name)?;
            match rustix::fs::mkdirat(&above, name, Mode::from_raw_mode(0o755)) {
                // A file, or a link to nothing.
                Err(Errno::EXIST) => return Err(Errno::NOTDIR),
                made => made?,
            }
            self.implied += 1;
            if hidden {
                self.make_opaque(above.as_fd(), name)?;
            }
        }
        self.find(path)
    }
}

/// Opens a directory itself, for its metadata.
pub(super) fn open_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Whether `stat` is of a whiteout: the only device that is ever made here.
pub(super) fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
}

/// Removes a whiteout of this layer, if `name` is one.
fn remove_whiteout(parent: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if is_whiteout(&stat) => {
            rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
            Ok(true)
        }
        Ok(_) | Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e),
    }
}
