//! Removal of a tree whose names, modes and depth were chosen by a stranger.
//!
//! A layer or an app can make directories deeper than any limit on open files or on the length of a path, so what is too deep is moved
//! up and removed from there.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

const DIRECTORY: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::RDONLY);

/// Directories that are open inside each other, with two descriptors each.
const DEPTH: u32 = 16;

/// How often a directory is looked at again that was emptied and is not empty.
const ATTEMPTS: u32 = 50;

/// The pause before each of them: a worker whose coordinator was killed may live that much longer.
const PAUSE: Duration = Duration::from_millis(10);

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
///
/// # Errors
/// The first failure; what could be removed before it is gone.
pub fn remove_directory<N: rustix::path::Arg + Copy>(
    parent: BorrowedFd<'_>,
    name: N,
) -> Result<(), Errno> {
    let Some(top) = open(parent, name)? else {
        return Ok(());
    };
    let mut removal = Removal {
        top: top.as_fd(),
        names: 0,
        moved: false,
    };
    let mut attempts = 0;
    loop {
        removal.moved = false;
        removal.empty(top.as_fd(), 1)?;
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY) if removal.moved => {}
            Err(Errno::NOTEMPTY) if attempts < ATTEMPTS => {
                attempts += 1;
                std::thread::sleep(PAUSE);
            }
            Err(Errno::NOENT) => return Ok(()),
            other => return other,
        }
    }
}

/// Opens a directory to empty it. `None`: it is gone.
fn open<N: rustix::path::Arg + Copy>(
    parent: BorrowedFd<'_>,
    name: N,
) -> Result<Option<OwnedFd>, Errno> {
    match rustix::fs::openat(parent, name, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::ACCESS) => {
            // Not through a link: only a directory that cannot be read answers EACCES to NOFOLLOW and DIRECTORY.
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            rustix::fs::openat(parent, name, DIRECTORY, Mode::empty()).map(Some)
        }
        opened => opened.map(Some),
    }
}

struct Removal<'a> {
    /// Where too deep directories are moved to.
    top: BorrowedFd<'a>,
    /// Names there that were used.
    names: u64,
    /// There is something there that the current pass may have missed.
    moved: bool,
}

impl Removal<'_> {
    /// Removes what is in `directory`.
    fn empty(&mut self, directory: BorrowedFd<'_>, depth: u32) -> Result<(), Errno> {
        let mut writable = false;
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let child = entry.file_name();
            if matches!(child.to_bytes(), b"." | b"..") {
                continue;
            }
            let mut removed = self.entry(directory, child, entry.file_type(), depth);
            if removed == Err(Errno::ACCESS) && !writable {
                rustix::fs::fchmod(directory, Mode::RWXU)?;
                writable = true;
                removed = self.entry(directory, child, entry.file_type(), depth);
            }
            removed?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &std::ffi::CStr,
        kind: FileType,
        depth: u32,
    ) -> Result<(), Errno> {
        if kind != FileType::Directory {
            match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
                Err(Errno::ISDIR) => {}
                Err(Errno::NOENT) => return Ok(()),
                other => return other,
            }
        }
        let Some(child) = open(directory, name)? else {
            return Ok(());
        };
        if depth == DEPTH {
            return self.move_up(directory, name, child.as_fd());
        }
        self.empty(child.as_fd(), depth + 1)?;
        match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
            // Somebody else is quicker, or still writes; the whole tree is looked at again.
            Err(Errno::NOENT | Errno::NOTEMPTY) => Ok(()),
            other => other,
        }
    }

    /// Moves a directory to the top under a name that is free there.
    fn move_up(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &std::ffi::CStr,
        child: BorrowedFd<'_>,
    ) -> Result<(), Errno> {
        let mut writable = false;
        loop {
            let free = format!("deep-{}", self.names);
            self.names += 1;
            match rustix::fs::renameat(directory, name, self.top, free.as_str()) {
                // What is there is to be removed as well, so an empty directory may be replaced.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                // Its entry for the parent changes, so it must be writable itself.
                Err(Errno::ACCESS) if !writable => {
                    rustix::fs::fchmod(child, Mode::RWXU)?;
                    rustix::fs::fchmod(directory, Mode::RWXU)?;
                    writable = true;
                }
                Err(Errno::NOENT) => return Ok(()),
                moved => {
                    self.moved = true;
                    return moved;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes `depth` directories inside each other, each with a file, and the modes of a stranger.
    fn deep(root: &Path, depth: usize) {
        let mut directory = open(CWD, root).unwrap().unwrap();
        for _ in 0..depth {
            rustix::fs::mkdirat(&directory, "d", Mode::RWXU).unwrap();
            let flags = OFlags::CREATE | OFlags::WRONLY;
            rustix::fs::openat(&directory, "deep-0", flags, Mode::empty()).unwrap();
            let next = open(directory.as_fd(), "d").unwrap().unwrap();
            rustix::fs::fchmod(&directory, Mode::RUSR | Mode::XUSR).unwrap();
            directory = next;
        }
    }

    #[test]
    fn a_tree_deeper_than_any_limit_on_open_files_is_removed() {
        let ground = tempfile::tempdir().unwrap();
        let tree = ground.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        deep(&tree, 3000);
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn what_is_made_while_it_is_removed_is_removed_too() {
        let ground = tempfile::tempdir().unwrap();
        let tree = ground.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        for at in 0..200 {
            std::fs::create_dir(tree.join(at.to_string())).unwrap();
        }
        let writing = std::thread::spawn({
            let tree = tree.clone();
            move || {
                // As many as there are attempts at most, so that the machine's speed does not matter.
                for at in 0..ATTEMPTS {
                    if std::fs::write(tree.join(format!("late-{at}")), "x").is_err() {
                        return;
                    }
                }
            }
        });
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        writing.join().unwrap();
    }

    #[test]
    fn links_are_removed_and_what_they_lead_to_stays() {
        let ground = tempfile::tempdir().unwrap();
        let (tree, outside) = (ground.path().join("tree"), ground.path().join("outside"));
        std::fs::create_dir_all(tree.join("d")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("kept"), "").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("d/l")).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && outside.join("kept").exists());
        let link = ground.path().join("l");
        std::os::unix::fs::symlink(&outside, &link).unwrap();
        remove_tree(&link).unwrap();
        assert!(outside.join("kept").exists());
    }
}
