//! Whole small files of the host: configuration, keys, signatures. Bounded, never a device, and never waited for unless they are
//! pipes that the caller has handed to us.
//!
//! The stages read theirs by `pod::small_file`: this crate knows nothing of pods, and that one nothing of images.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use thiserror::Error;

/// How a file came to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Its place, or configuration: it must be a regular file.
    Place,
    /// The same, and it says what is executed: root or the caller has it, and nobody else can have written it.
    Trusted,
    /// A path of the command line: it may be a pipe too, such as `/dev/stdin` or `<(…)` of a shell.
    CommandLine,
}

/// An open file that is small, as far as it was asked for.
pub(crate) struct SmallFile {
    file: File,
    stat: Stat,
}

/// The bytes of `path`, at most `limit`; none when there is no such file. `/dev/null` is an empty file: what hides another, or
/// says that there is nothing.
///
/// # Errors
/// When it cannot be read, is no such file, or is longer.
pub fn read(path: &Path, limit: usize, by: By) -> io::Result<Option<Vec<u8>>> {
    let file = SmallFile::find(path, by)?;
    file.map(|file| file.bytes(limit)).transpose()
}

/// Whether `path`, which cannot be found, is a link all the same: somebody wants something to be there.
pub(crate) fn leads_nowhere(path: &Path) -> bool {
    rustix::fs::readlink(path, Vec::new()).is_ok()
}

/// Only root and the caller can have written into this directory, which says what is executed.
///
/// # Errors
/// [`Foreign`], or that it cannot be asked.
pub fn check_directory(path: &Path) -> io::Result<()> {
    Ok(Foreign::check(&rustix::fs::stat(path)?)?)
}

/// A file, or a directory, that says what is executed, and that another user has or can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Foreign {
    /// Another user has it.
    #[error("it belongs to user {0}, neither root nor the caller")]
    Owner(u32),
    /// Others can write it.
    #[error("its mode {0:04o} lets others write it")]
    Writable(u32),
}

impl Foreign {
    /// Fails when not only root and the caller can have written what `stat` is of.
    ///
    /// # Errors
    /// Why not.
    pub fn check(stat: &Stat) -> Result<(), Self> {
        let caller = rustix::process::geteuid().as_raw();
        match stat.st_mode & 0o7777 {
            _ if ![0, caller].contains(&stat.st_uid) => Err(Self::Owner(stat.st_uid)),
            mode if mode & 0o022 != 0 => Err(Self::Writable(mode)),
            _ => Ok(()),
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::Owner(_) => "look what is in it, then copy it, or chown it to root or yourself",
            Self::Writable(_) => "look what is in it, then chmod go-w",
        }
    }
}

impl From<Foreign> for io::Error {
    fn from(foreign: Foreign) -> Self {
        Self::new(io::ErrorKind::InvalidInput, foreign)
    }
}

/// As [`read`], of a file that must be there.
///
/// # Errors
/// As [`read`].
pub fn required(path: &Path, limit: usize, by: By) -> io::Result<Vec<u8>> {
    SmallFile::open(CWD, path, by)?.bytes(limit)
}

impl SmallFile {
    /// Opens `path`; `None` when there is no such file.
    pub(crate) fn find(path: &Path, by: By) -> io::Result<Option<Self>> {
        match Self::open(CWD, path, by) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match leads_nowhere(path) {
                true => Err(refused("it is a link to what is not there")),
                false => Ok(None),
            },
            Err(error) => Err(error),
        }
    }

    /// Opens `name` in `directory`.
    pub(crate) fn open(directory: impl AsFd, name: &Path, by: By) -> io::Result<Self> {
        // NONBLOCK: the other end of a fifo is not waited for.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::openat(directory, name, flags, Mode::empty())?);
        let stat = rustix::fs::fstat(&file)?;
        let opened = Self { file, stat };
        match (FileType::from_raw_mode(opened.stat.st_mode), by) {
            (FileType::RegularFile, By::Trusted) => Foreign::check(&opened.stat)?,
            (FileType::RegularFile, _) => {}
            _ if opened.is_null() => {}
            // What is written into it is waited for: its flags are those of this opening alone.
            (FileType::Fifo, By::CommandLine) => {
                rustix::fs::fcntl_setfl(&opened.file, OFlags::empty())?;
            }
            (_, By::CommandLine) => return Err(refused("it is neither a regular file nor a pipe")),
            (_, By::Place | By::Trusted) => return Err(refused("it is not a regular file")),
        }
        Ok(opened)
    }

    /// Why not only root and the caller can have written it.
    pub(crate) fn foreign(&self) -> Option<Foreign> {
        Foreign::check(&self.stat).err().filter(|_| !self.is_null())
    }

    /// What the kernel says about it.
    pub(crate) fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Whether it is `/dev/null`.
    pub(crate) fn is_null(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::CharacterDevice
            && self.stat.st_rdev == rustix::fs::makedev(1, 3)
    }

    /// Its bytes, at most `limit`.
    pub(crate) fn bytes(self, limit: usize) -> io::Result<Vec<u8>> {
        // One byte more than it has, so that its end is seen without reading again.
        let size = usize::try_from(self.stat.st_size).unwrap_or(0).min(limit);
        let mut bytes = Vec::with_capacity(size + 1);
        self.file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            let why = format!("it has more than {limit} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        Ok(bytes)
    }
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_small_regular_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        let read = |path: &Path, limit| read(path, limit, By::Place);
        assert_eq!(read(&path, 3).unwrap(), None);
        assert!(required(&path, 3, By::Place).is_err());
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(read(&path, 3).unwrap().unwrap(), b"abc");
        assert!(read(&path, 2).is_err());
        assert!(read(directory.path(), 3).is_err());
        assert_eq!(read(Path::new("/dev/null"), 3).unwrap().unwrap(), b"");
        assert!(read(Path::new("/dev/zero"), 3).is_err());
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("y", &link).unwrap();
        assert!(read(&link, 3).is_err());
    }

    #[test]
    fn a_pipe_is_read_to_its_end_when_it_was_named_on_the_command_line() {
        let (reader, mut writer) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        assert!(read(Path::new(&path), 9, By::Place).is_err());
        let writing = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            io::Write::write_all(&mut writer, b"abc").unwrap();
        });
        let bytes = required(Path::new(&path), 9, By::CommandLine).unwrap();
        writing.join().unwrap();
        assert_eq!(bytes, b"abc");
        assert!(required(Path::new("/dev/zero"), 9, By::CommandLine).is_err());
    }
}
