//! How each kind of entry is made.

use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Advice, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::apply::{Found, Place, Tree};
use super::archive::{Extent, Skip, TarReader};
use super::error::{failed, refuse};
use super::metadata::Metadata;
use super::path::EntryPath;
use super::{Amount, UnpackError, xattr};
use crate::escape;

/// A file of so many bytes is worth a system call that begins to write it to disk.
const LARGE: u64 = 1 << 20;

/// How much of a large file waits in memory before its writing begins.
const WRITE_BEHIND: u64 = 16 << 20;

impl Tree<'_> {
    pub(super) fn file<R: Skip>(
        &mut self,
        place: &Place<'_>,
        metadata: Metadata,
        extents: &[Extent],
        archive: &mut TarReader<'_, R>,
    ) -> Result<(), UnpackError> {
        let size = extents
            .last()
            .map_or(0, |last| last.offset.saturating_add(last.length));
        self.report.files += 1;
        self.report.file_bytes = self.report.file_bytes.saturating_add(size);
        if self.report.file_bytes > self.limits.bytes {
            return Err(UnpackError::Limit {
                what: "bytes in files",
                limit: self.limits.bytes,
            });
        }
        self.budget.take(Amount {
            entries: 0,
            bytes: size,
        })?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = || rustix::fs::openat(place.parent, place.name, flags, metadata.mode);
        let file = self.make("create", place, make)?;
        for extent in extents {
            let mut offset = extent.offset;
            let mut begun = offset;
            archive.data(extent.length, |piece| {
                write_all(file.as_fd(), piece, &mut offset)
                    .map_err(|e| failed("write", place.path, e))?;
                if offset - begun >= WRITE_BEHIND {
                    begin_writing(file.as_fd(), begun, offset);
                    begun = offset;
                }
                Ok(())
            })?;
            if extent.length >= LARGE {
                begin_writing(file.as_fd(), begun, offset);
            }
        }
        if extents.len() > 1 {
            rustix::fs::ftruncate(&file, size).map_err(|e| failed("extend", place.path, e))?;
        }
        self.set_metadata(file.as_fd(), place.path, &metadata, Some(metadata.mode))
    }

    /// A directory that is there already keeps what is in it.
    pub(super) fn directory(
        &mut self,
        place: &Place<'_>,
        metadata: Metadata,
    ) -> Result<(), UnpackError> {
        let mode = first_mode(metadata.mode);
        let make = || rustix::fs::mkdirat(place.parent, place.name, mode);
        let found = match make() {
            Err(Errno::EXIST) => Some(place.found()?),
            made => made
                .map(|()| None)
                .map_err(|e| failed("make directory", place.path, e))?,
        };
        match found {
            Some(Found::Directory) => return self.remember(place.path, metadata, None),
            Some(_) => self.make("make directory", place, make)?,
            None => {}
        }
        if found == Some(Found::Whiteout) {
            self.make_opaque(place, place.name)?;
        }
        self.remember(place.path, metadata, Some(mode))
    }

    pub(super) fn symlink(
        &mut self,
        place: &Place<'_>,
        metadata: Metadata,
        target: &[u8],
    ) -> Result<(), UnpackError> {
        if target.is_empty() || target.contains(&0) {
            return Err(refuse(
                place.path.bytes(),
                "its target is empty or has a NUL",
            ));
        }
        let make = || rustix::fs::symlinkat(target, place.parent, place.name);
        self.make("create link", place, make)?;
        xattr::drop_all(&metadata.xattrs, &mut self.report);
        metadata.set_unopened(place)
    }

    pub(super) fn fifo(
        &mut self,
        place: &Place<'_>,
        metadata: Metadata,
    ) -> Result<(), UnpackError> {
        let (parent, name, mode) = (place.parent, place.name, metadata.mode);
        let make = || rustix::fs::mknodat(parent, name, FileType::Fifo, mode, 0);
        self.make("create fifo", place, make)?;
        xattr::drop_all(&metadata.xattrs, &mut self.report);
        metadata.set_unopened(place)?;
        // Only this thread writes here, so the name is still the fifo's.
        rustix::fs::chmodat(parent, name, mode, AtFlags::empty())
            .map_err(|e| failed("set the mode of", place.path, e))
    }

    /// Links to a file, link or fifo of this layer. Metadata is that of the target.
    pub(super) fn hard_link(
        &mut self,
        place: &Place<'_>,
        target: &[u8],
    ) -> Result<(), UnpackError> {
        const ABSENT: &str =
            "is not in this layer: hard links to files of lower layers are not supported";
        let refused = |why| UnpackError::LinkTarget {
            path: escape::text(place.path.bytes()),
            target: escape::text(target),
            why,
        };
        let target = EntryPath::parse(target, self.limits).map_err(refused)?;
        if target.is_root() || target == *place.path {
            return Err(refused("is not another file"));
        }
        let (directory, name) = target.split();
        let directory = match self.parents.find(directory) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(refused(ABSENT)),
            found => found.map_err(|e| failed("find the target of", place.path, e))?,
        };
        let stat = match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Err(refused(ABSENT)),
            stat => stat.map_err(|e| failed("find the target of", place.path, e))?,
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile | FileType::Symlink | FileType::Fifo => {}
            // A whiteout: what it hides is in a lower layer.
            FileType::CharacterDevice => return Err(refused(ABSENT)),
            _ => return Err(refused("is a directory")),
        }
        let same =
            |there: rustix::fs::Stat| (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino);
        let make = || {
            match rustix::fs::linkat(&directory, name, place.parent, place.name, AtFlags::empty()) {
                // The same link a second time: removing it first could remove the target.
                Err(Errno::EXIST)
                    if rustix::fs::statat(place.parent, place.name, AtFlags::SYMLINK_NOFOLLOW)
                        .is_ok_and(same) =>
                {
                    Ok(())
                }
                other => other,
            }
        };
        self.make("create hard link", place, make)
    }
}

/// The mode to make a directory with: its own when it lets us fill it and is not inherited by what is made in it.
fn first_mode(mode: Mode) -> Mode {
    match mode.contains(Mode::RWXU) && !mode.intersects(Mode::SUID | Mode::SGID) {
        true => mode,
        false => Mode::RWXU,
    }
}

/// Has the disk work while the layer goes on, so that less is left for the one wait at the end of a fetch. The advice starts
/// the writing; it drops only what is on disk already, which these bytes are not yet.
fn begin_writing(file: BorrowedFd<'_>, from: u64, to: u64) {
    if let Some(length) = NonZeroU64::new(to - from) {
        // Without it the end takes longer and nothing else.
        let _ = rustix::fs::fadvise(file, from, Some(length), Advice::DontNeed);
    }
}

fn write_all(file: BorrowedFd<'_>, mut piece: &[u8], offset: &mut u64) -> Result<(), Errno> {
    while !piece.is_empty() {
        match rustix::io::pwrite(file, piece, *offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => {
                piece = &piece[written..];
                *offset += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
