//! Small files of the host, such as configuration: regular, bounded, never waited for.
//!
//! It is with [`crate::policy`], which stage0 and stage1 share, and not for the files of the contract: those are in directories
//! of our own.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The number of `/dev/null`, an empty file.
const NULL: u64 = 1 << 8 | 3;

/// Opens a regular file.
///
/// # Errors
/// When it cannot be opened, or is something else.
pub fn open(path: &Path) -> io::Result<File> {
    // NONBLOCK: the other end of a fifo is not waited for.
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let found = file.metadata()?;
    if found.is_file() || (found.file_type().is_char_device() && found.rdev() == NULL) {
        return Ok(file);
    }
    let why = "it is not a regular file";
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

/// Whether only these users, and nobody else, can have written a file.
///
/// # Errors
/// When it cannot be asked.
pub fn is_of(file: &File, owners: &[u32]) -> io::Result<bool> {
    let found = file.metadata()?;
    Ok(owners.contains(&found.uid()) && found.mode() & 0o022 == 0)
}

/// The bytes of a file that was opened here, at most `limit`.
///
/// # Errors
/// When it cannot be read, or is longer.
pub fn bytes(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let why = format!("it has more than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}
