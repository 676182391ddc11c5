//! The second half of the pipeline: members of the archive become files. Names are relative to descriptors of directories
//! that were resolved inside the tree; the last component is never followed.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::archive::{Kind, Member, Skip, TarReader};
use super::error::{failed, refuse, unusable_parent};
use super::metadata::{self, Metadata};
use super::parents::{Parents, is_whiteout, open_directory};
use super::path::EntryPath;
use super::{Amount, Budget, LayerReport, Limits, Ownership, UnpackError};
use crate::store::remove_directory;

/// Makes everything that is in the archive.
pub(crate) fn archive<R: Skip>(
    input: &mut R,
    into: BorrowedFd<'_>,
    ownership: Ownership,
    limits: &Limits,
    budget: Budget<'_>,
) -> Result<LayerReport, UnpackError> {
    let root = EntryPath::root();
    let mut tree = Tree {
        parents: Parents::new(into).map_err(|e| failed("open", &root, e))?,
        exact: modes_are_exact(into),
        directories: BTreeMap::new(),
        directory_bytes: 0,
        ownership,
        creator: (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        ),
        limits,
        budget,
        report: LayerReport {
            owners_squashed: ownership == Ownership::Squash,
            ..LayerReport::default()
        },
    };
    let mut archive = TarReader::new(input, limits);
    while let Some(member) = archive.next()? {
        tree.add(member, &mut archive)?;
    }
    tree.finish()
}

/// A tree that is being made.
pub(super) struct Tree<'a> {
    pub(super) parents: Parents,
    /// What is made gets exactly the mode asked for.
    pub(super) exact: bool,
    pub(super) ownership: Ownership,
    /// Whose the files are when nothing is said.
    pub(super) creator: (u32, u32),
    pub(super) limits: &'a Limits,
    pub(super) budget: Budget<'a>,
    pub(super) report: LayerReport,
    /// Directories get their metadata when nothing is made in them any more.
    directories: BTreeMap<Vec<u8>, Waiting>,
    directory_bytes: usize,
}

/// A directory that waits for its metadata.
struct Waiting {
    metadata: Metadata,
    /// The mode that it was made with, if it was made for this entry.
    made_with: Option<Mode>,
}

/// Where an entry is made: a directory resolved inside the tree, and a name in it.
pub(super) struct Place<'p> {
    pub(super) parent: BorrowedFd<'p>,
    pub(super) name: &'p [u8],
    /// The entry's whole path, for messages.
    pub(super) path: &'p EntryPath,
}

/// What is already where an entry is to be made.
#[derive(PartialEq, Eq)]
pub(super) enum Found {
    Whiteout,
    Directory,
    Other,
}

impl Tree<'_> {
    fn add<R: Skip>(
        &mut self,
        member: Member,
        archive: &mut TarReader<'_, R>,
    ) -> Result<(), UnpackError> {
        self.report.entries += 1;
        if self.report.entries > self.limits.entries {
            return Err(UnpackError::Limit {
                what: "entries",
                limit: self.limits.entries,
            });
        }
        self.budget.take(Amount {
            entries: 1,
            bytes: 0,
        })?;
        let path =
            EntryPath::parse(&member.name, self.limits).map_err(|why| refuse(&member.name, why))?;
        let (metadata, kind) = Metadata::new(member, &path, self.ownership, self.creator)?;
        if path.is_root() {
            return match kind {
                Kind::Directory => self.remember(&path, metadata, None),
                _ => Err(refuse(b"/", "the root is not a directory")),
            };
        }
        let (directory, name) = path.split();
        let whiteout = name.starts_with(super::whiteout::PREFIX);
        let parent = match self.parents.open(directory) {
            // A file or a link took the directory's place, which hides all that was in it. umoci writes such whiteouts.
            Err(Errno::NOTDIR) if whiteout => return Ok(()),
            opened => opened.map_err(|e| unusable_parent(&path, e))?,
        };
        let place = Place {
            parent: parent.as_fd(),
            name,
            path: &path,
        };
        if whiteout {
            return self.white_out(&place);
        }
        match kind {
            Kind::File(extents) => self.file(&place, metadata, &extents, archive),
            Kind::Directory => self.directory(&place, metadata),
            Kind::Symlink(target) => self.symlink(&place, metadata, &target),
            Kind::HardLink(target) => self.hard_link(&place, &target),
            Kind::Fifo => self.fifo(&place, metadata),
            Kind::Device { kind, major, minor } => {
                let device = metadata.device(kind, major, minor);
                self.report.note_device(&path, device);
                Ok(())
            }
        }
    }

    /// Calls `make`; when something is there already, removes it and calls it again.
    pub(super) fn make<T>(
        &mut self,
        what: &'static str,
        place: &Place<'_>,
        make: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, UnpackError> {
        let mut made = make();
        if matches!(made, Err(Errno::EXIST)) {
            self.replace(place)?;
            made = make();
        }
        made.map_err(|e| failed(what, place.path, e))
    }

    /// Removes what is there, a directory with all that is in it.
    pub(super) fn replace(&mut self, place: &Place<'_>) -> Result<(), UnpackError> {
        self.parents.forget();
        match rustix::fs::unlinkat(place.parent, place.name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                self.forget_directories(place.path.bytes());
                remove_directory(place.parent, place.name)
            }
            other => other,
        }
        .map_err(|e| failed("replace", place.path, e))
    }

    /// Drops what waits for a directory that is removed: through a link in its place it would be given to others.
    fn forget_directories(&mut self, path: &[u8]) {
        self.directories.remove(path);
        let (first, end) = ([path, b"/"].concat(), [path, b"0"].concat());
        let below: Vec<_> = self
            .directories
            .range(first..end)
            .map(|(path, _)| path.clone())
            .collect();
        for path in below {
            self.directories.remove(&path);
        }
    }

    /// Keeps a directory's metadata for [`Tree::finish`].
    pub(super) fn remember(
        &mut self,
        path: &EntryPath,
        metadata: Metadata,
        made_with: Option<Mode>,
    ) -> Result<(), UnpackError> {
        self.directory_bytes +=
            path.bytes().len() + metadata.xattr_bytes() + size_of::<(Vec<u8>, Waiting)>();
        if self.directory_bytes > self.limits.directories {
            return Err(UnpackError::Limit {
                what: "bytes of names of directories",
                limit: self.limits.directories as u64,
            });
        }
        let waiting = Waiting {
            metadata,
            made_with,
        };
        self.directories.insert(path.bytes().to_vec(), waiting);
        Ok(())
    }

    /// Gives directories their metadata, the deepest first: a mode may close what is below.
    fn finish(mut self) -> Result<LayerReport, UnpackError> {
        let directories = std::mem::take(&mut self.directories);
        let root_is_described = directories.contains_key(&b""[..]);
        for (path, waiting) in directories.into_iter().rev() {
            let path = EntryPath::parse(&path, self.limits).map_err(|why| refuse(&path, why))?;
            let (above, name) = path.split();
            let opened = match path.is_root() {
                true => open_directory(self.parents.root(), b"."),
                false => self
                    .parents
                    .find(above)
                    .and_then(|above| open_directory(above.as_fd(), name)),
            };
            let directory = match opened {
                // It was replaced by something else later in the archive.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                opened => opened.map_err(|e| failed("open directory", &path, e))?,
            };
            self.set_metadata(
                directory.as_fd(),
                &path,
                &waiting.metadata,
                waiting.made_with,
            )?;
        }
        if !root_is_described {
            // A root that the archive is silent about is the same in every store.
            let root = EntryPath::root();
            rustix::fs::futimens(self.parents.root(), &metadata::BEGINNING)
                .map_err(|e| failed("set the time of", &root, e))?;
        }
        self.report.implied_directories = self.parents.implied;
        self.report.opaques = self.parents.opaques;
        Ok(self.report)
    }
}

impl Place<'_> {
    /// What is there. Links are not followed.
    pub(super) fn found(&self) -> Result<Found, UnpackError> {
        let stat = rustix::fs::statat(self.parent, self.name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| failed("look at", self.path, e))?;
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Found::Directory,
            _ if is_whiteout(&stat) => Found::Whiteout,
            _ => Found::Other,
        })
    }
}

/// Whether the umask and the file system leave modes alone.
fn modes_are_exact(directory: BorrowedFd<'_>) -> bool {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let all = Mode::RWXU | Mode::RWXG | Mode::RWXO;
    rustix::fs::openat(directory, c".", flags, all)
        .and_then(rustix::fs::fstat)
        .is_ok_and(|stat| Mode::from_raw_mode(stat.st_mode) == all)
}
