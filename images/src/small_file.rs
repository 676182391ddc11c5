//! Whole small files of configuration: regular, bounded, never waited for.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// The bytes of `path`, at most `limit`; none when there is no such file.
pub(crate) fn read(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
    // NONBLOCK: a fifo must not make us wait.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let is_device = |file: &File| Ok::<_, io::Error>(!file.metadata()?.is_file());
    if is_device(&file)? && !is_null(&file)? {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {limit} bytes"),
        ));
    }
    Ok(Some(bytes))
}

/// `/dev/null` is an empty file: what hides another, or says that there is nothing.
fn is_null(file: &File) -> io::Result<bool> {
    let stat = rustix::fs::fstat(file)?;
    Ok(stat.st_rdev == rustix::fs::makedev(1, 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_small_regular_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        assert_eq!(read(&path, 3).unwrap(), None);
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(read(&path, 3).unwrap().unwrap(), b"abc");
        assert!(read(&path, 2).is_err());
        assert!(read(directory.path(), 3).is_err());
        assert_eq!(read(Path::new("/dev/null"), 3).unwrap().unwrap(), b"");
        assert!(read(Path::new("/dev/zero"), 3).is_err());
    }
}
