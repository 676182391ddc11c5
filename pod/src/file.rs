//! Loading and saving one file of the contract: bounded, strict, and replaced only by rename.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{CONTRACT_VERSION, Error};

/// The most bytes that a file of the contract may have.
pub const MAX_FILE: u64 = 4 << 20;

/// The one field that every file has, read before the others so that a newer file is refused with a sentence.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Loads `path`. Unknown fields are errors, by the types; so is a version newer than [`CONTRACT_VERSION`].
///
/// # Errors
/// [`Error::Read`], [`Error::TooLarge`], [`Error::Parse`] or [`Error::Newer`].
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let file = File::open(path).map_err(|e| Error::Read(path.to_owned(), e))?;
    load_from(file, path)
}

/// Loads what a reader gives, for a stage that opens files below a descriptor; `path` only names it in errors.
///
/// # Errors
/// As [`load`].
pub fn load_from<T: DeserializeOwned>(source: impl Read, path: &Path) -> Result<T, Error> {
    let mut bytes = Vec::with_capacity(4096);
    source
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::Read(path.to_owned(), e))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Error::TooLarge(path.to_owned()));
    }
    // The version first: a newer file is refused also when its fields happen to be ours.
    match serde_json::from_slice::<Versioned>(&bytes) {
        Ok(found) if found.version > CONTRACT_VERSION => {
            Err(Error::Newer(path.to_owned(), found.version))
        }
        _ => serde_json::from_slice(&bytes).map_err(|e| Error::Parse(path.to_owned(), e)),
    }
}

/// Saves `value` as `path`: written to a temporary name beside it, then renamed. The directory must exist.
///
/// There is no fsync: after a power failure a running pod is dead anyway, and a torn file is refused by [`load`]. What must
/// outlive one is given to [`sync`].
///
/// # Errors
/// [`Error::Write`]; the temporary file is removed.
pub fn save<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = Path::new(&temporary);
    let written = write(temporary, value).and_then(|()| fs::rename(temporary, path));
    written.map_err(|e| {
        let _ = fs::remove_file(temporary);
        Error::Write(path.to_owned(), e)
    })
}

/// Waits until a file or directory, and its name in the directory above, are on the disk.
///
/// # Errors
/// [`Error::Sync`].
pub fn sync(path: &Path) -> Result<(), Error> {
    let above = path.parent().unwrap_or(Path::new("/"));
    [path, above].into_iter().try_for_each(|path| {
        let synced = File::open(path).and_then(|file| file.sync_all());
        synced.map_err(|e| Error::Sync(path.to_owned(), e))
    })
}

fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let bytes = to_bytes(value)?;
    File::create(path)?.write_all(&bytes)
}

/// The bytes that [`save`] writes, for a stage that writes files below a descriptor.
///
/// # Errors
/// When `value` has no JSON form, or one that [`load`] would refuse for its length.
pub fn to_bytes<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!(
            "it would have {} bytes, and a file of a pod has at most {MAX_FILE}",
            bytes.len()
        )));
    }
    Ok(bytes)
}
