//! From a view of trees to an archive: entries sorted by name, a directory before what is in it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use tar::EntryType;

use super::tree::xattrs;
use super::view::{Directory, Found, Listing, Node, View, join};
use super::writer::Xattrs;
use super::{Archive, Metadata, PackReport};
use crate::escape;
use crate::unpack::Device;

/// Hides all that lower layers have in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What begins the name of an entry that hides a name.
const WHITEOUT: &[u8] = b".wh.";
/// Bits that give a program the rights of its owner or group.
const SETUID: u32 = 0o6000;
/// Most links that are followed on the way to one path.
const MAX_LINKS: usize = 40;

/// Why an archive cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum WalkError {
    /// A file or directory of the image.
    #[error("cannot read {0} of the image")]
    Read(String, #[source] io::Error),
    /// The archive.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    /// There is no such file in the image.
    #[error("the image has no '{0}'")]
    NoPath(String),
    /// Links lead round.
    #[error("'{0}' leads through more than {MAX_LINKS} links")]
    Links(String),
}

/// How an archive is made.
#[derive(Clone, Copy)]
pub(super) struct Options {
    /// Write what hides something of lower layers, and the root itself.
    pub(super) as_layer: bool,
    /// Leave out bits that give a program the rights of its owner.
    pub(super) without_setuid: bool,
}

/// A walk that is under way.
pub(super) struct Walk<'a, W> {
    view: &'a View,
    archive: Archive<W>,
    options: Options,
    /// The first name of files that have several, by tree, device and inode.
    links: HashMap<(usize, u64, u64), Vec<u8>>,
    report: PackReport,
}

fn read_error(path: &[u8]) -> impl Fn(Errno) -> WalkError {
    let path = path.to_vec();
    move |e| WalkError::Read(format!("/{}", escape::text(&path)), e.into())
}

impl<'a, W: Write> Walk<'a, W> {
    pub(super) fn new(view: &'a View, out: W, options: Options) -> Self {
        Self {
            view,
            archive: Archive::new(out),
            options,
            links: HashMap::new(),
            report: PackReport::default(),
        }
    }

    /// Writes everything.
    pub(super) fn all(mut self) -> Result<PackReport, WalkError> {
        self.directory(&self.view.root(), b"")?;
        self.finish()
    }

    /// Writes what is in the directory `path`, or the one file `path`. Links on the way are followed inside the image.
    pub(super) fn one(mut self, path: &str) -> Result<PackReport, WalkError> {
        match resolve(self.view, path)? {
            Resolved::Directory(directory) => self.directory(&directory, b"")?,
            Resolved::File(listing, name, found) => {
                let file = join(b"", &name);
                self.entry(&listing, &name, &found, &file, &file)?;
            }
        }
        self.finish()
    }

    fn finish(self) -> Result<PackReport, WalkError> {
        self.archive.finish().map_err(WalkError::Write)?;
        Ok(self.report)
    }

    /// A directory and all below it; `name` is what it is called in the archive, empty for the root.
    fn directory(&mut self, directory: &Directory, name: &[u8]) -> Result<(), WalkError> {
        let listing = self
            .view
            .list(directory)
            .map_err(read_error(&directory.path))?;
        if let Some(top) = directory
            .trees
            .first()
            .and_then(|top| listing.opened.get(top))
            && (!name.is_empty() || self.options.as_layer)
        {
            let stat = rustix::fs::fstat(top).map_err(read_error(&directory.path))?;
            let xattrs = xattrs(top).map_err(read_error(&directory.path))?;
            let metadata = self.metadata(&stat, xattrs);
            let shown = if name.is_empty() { b"." } else { name };
            self.put(
                &[shown, b"/"].concat(),
                EntryType::Directory,
                b"",
                &metadata,
            )?;
        }
        if listing.opaque && self.options.as_layer {
            self.mark(&join(name, OPAQUE))?;
        }
        for (own, found) in &listing.entries {
            let path = join(&directory.path, own);
            self.entry(&listing, own, found, &join(name, own), &path)?;
        }
        Ok(())
    }

    /// One name of a directory; `name` is what it is called in the archive, `path` in the image.
    fn entry(
        &mut self,
        listing: &Listing,
        own: &[u8],
        found: &Found,
        name: &[u8],
        path: &[u8],
    ) -> Result<(), WalkError> {
        match &found.node {
            Node::Directory(directory) => self.directory(directory, name),
            Node::Device(device) => self.device(device, name),
            Node::Whiteout if !self.options.as_layer => Ok(()),
            Node::Whiteout => {
                let (above, _) = name.split_at(name.len() - own.len());
                self.mark(&[above, WHITEOUT, own].concat())
            }
            Node::File(stat) => {
                let parent = &listing.opened[&found.tree];
                self.file(parent.as_fd(), own, stat, found.tree, name)
                    .map_err(|error| match error {
                        Failure::Read(e) => read_error(path)(e),
                        Failure::Write(e) => WalkError::Write(e),
                    })
            }
        }
    }

    fn file(
        &mut self,
        parent: std::os::fd::BorrowedFd<'_>,
        own: &[u8],
        stat: &Stat,
        tree: usize,
        name: &[u8],
    ) -> Result<(), Failure> {
        self.report.entries += 1;
        if stat.st_nlink > 1 {
            let key = (tree, stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&key) {
                let metadata = self.metadata(stat, Vec::new());
                self.archive
                    .entry(name, EntryType::Link, first, &metadata)?;
                return Ok(());
            }
            self.links.insert(key, name.to_vec());
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(parent, own, Vec::new())?;
                let metadata = self.metadata(stat, Vec::new());
                let target = target.to_bytes();
                self.archive
                    .entry(name, EntryType::Symlink, target, &metadata)?;
            }
            FileType::Fifo => {
                let metadata = self.metadata(stat, Vec::new());
                self.archive.entry(name, EntryType::Fifo, b"", &metadata)?;
            }
            _ => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = rustix::fs::openat(parent, own, flags, Mode::empty())?;
                let metadata = self.metadata(stat, xattrs(&file)?);
                let size = stat.st_size.unsigned_abs();
                self.archive.file(name, &metadata, size, File::from(file))?;
            }
        }
        Ok(())
    }

    fn device(&mut self, device: &Device, name: &[u8]) -> Result<(), WalkError> {
        let kind = match device.kind {
            'b' => EntryType::Block,
            _ => EntryType::Char,
        };
        let metadata = Metadata {
            mode: device.mode & 0o7777,
            uid: device.uid,
            gid: device.gid,
            mtime: (device.mtime, 0),
            device: Some((device.major, device.minor)),
            ..Metadata::default()
        };
        self.put(name, kind, b"", &metadata)
    }

    /// An entry that is nothing but its name.
    fn mark(&mut self, name: &[u8]) -> Result<(), WalkError> {
        self.put(name, EntryType::Regular, b"", &Metadata::default())
    }

    fn put(
        &mut self,
        name: &[u8],
        kind: EntryType,
        link: &[u8],
        metadata: &Metadata,
    ) -> Result<(), WalkError> {
        self.report.entries += 1;
        let written = self.archive.entry(name, kind, link, metadata);
        written.map_err(WalkError::Write)
    }

    fn metadata(&self, stat: &Stat, xattrs: Xattrs) -> Metadata {
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let dropped = match self.options.without_setuid && !is_directory {
            true => SETUID,
            false => 0,
        };
        Metadata {
            mode: stat.st_mode & 0o7777 & !dropped,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: (stat.st_mtime, stat.st_mtime_nsec.try_into().unwrap_or(0)),
            xattrs,
            device: None,
        }
    }
}

/// Whose fault it is that a file is not in the archive.
enum Failure {
    Read(Errno),
    Write(io::Error),
}

impl From<Errno> for Failure {
    fn from(error: Errno) -> Self {
        Self::Read(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// What a path of the image leads to.
enum Resolved {
    Directory(Directory),
    /// A name in a directory, and what it is.
    File(Listing, Vec<u8>, Found),
}

fn resolve(view: &View, path: &str) -> Result<Resolved, WalkError> {
    let absent = || WalkError::NoPath(escape::text(path.as_bytes()));
    let mut above = vec![view.root()];
    let mut left: Vec<Vec<u8>> = components(path.as_bytes());
    let mut links = 0;
    while let Some(name) = left.pop() {
        let Some(here) = above.last() else {
            return Err(absent());
        };
        if name == b".." {
            if above.len() > 1 {
                above.pop();
            }
            continue;
        }
        let mut listing = view.list(here).map_err(read_error(&here.path))?;
        let found = listing.entries.remove(&name).ok_or_else(absent)?;
        match &found.node {
            Node::Whiteout => return Err(absent()),
            Node::Directory(directory) => above.push(directory.clone()),
            Node::File(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(WalkError::Links(escape::text(path.as_bytes())));
                }
                let parent = &listing.opened[&found.tree];
                let target = rustix::fs::readlinkat(parent, name.as_slice(), Vec::new());
                let target = target.map_err(read_error(&here.path))?.into_bytes();
                if target.starts_with(b"/") {
                    above.truncate(1);
                }
                left.extend(components(&target));
            }
            Node::File(_) | Node::Device(_) if left.is_empty() => {
                return Ok(Resolved::File(listing, name, found));
            }
            Node::File(_) | Node::Device(_) => return Err(absent()),
        }
    }
    above.pop().map(Resolved::Directory).ok_or_else(absent)
}

/// The parts of a path, the first one at the end.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/').rev();
    parts
        .filter(|part| !matches!(*part, b"" | b"."))
        .map(<[u8]>::to_vec)
        .collect()
}

/// Entries of the trees, the bytes that they take on the disk, and the first one that was changed after `since`. A file with
/// several names counts once.
pub(super) fn measure(view: &View, since: Option<(i64, i64)>) -> Result<PackReport, WalkError> {
    let mut report = PackReport::default();
    let mut first: Option<Vec<u8>> = None;
    let mut look = |stat: &Stat, path: Vec<u8>| {
        let time = (stat.st_ctime, stat.st_ctime_nsec.try_into().unwrap_or(0));
        let late = since.is_some_and(|since| time > since);
        if late && first.as_ref().is_none_or(|first| path < *first) {
            first = Some(path);
        }
    };
    let mut seen = HashSet::new();
    let mut waiting = vec![view.root()];
    while let Some(directory) = waiting.pop() {
        let listing = view.list(&directory).map_err(read_error(&directory.path))?;
        for opened in listing.opened.values() {
            let stat = rustix::fs::fstat(opened).map_err(read_error(&directory.path))?;
            report.disk_bytes += stat.st_blocks.unsigned_abs() * 512;
            look(&stat, directory.path.clone());
        }
        for (name, found) in listing.entries {
            report.entries += 1;
            match found.node {
                Node::Directory(directory) => waiting.push(directory),
                Node::File(stat) => {
                    look(&stat, join(&directory.path, &name));
                    if stat.st_nlink == 1 || seen.insert(stat.st_ino) {
                        report.disk_bytes += stat.st_blocks.unsigned_abs() * 512;
                    }
                }
                Node::Device(_) | Node::Whiteout => {}
            }
        }
    }
    report.changed = first.map(|path| escape::text(&path));
    Ok(report)
}
