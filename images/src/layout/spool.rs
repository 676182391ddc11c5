//! Archives that cannot be read here and there: from a pipe, or compressed as a whole. They are copied into a file first.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};

use flate2::bufread::MultiGzDecoder;

use super::LayoutError;

/// Largest archive.
const LIMIT: u64 = 64 << 30;
const BUFFER: usize = 256 << 10;

/// The archive itself when it is a plain file, else its uncompressed content in `scratch`.
pub(super) fn seekable(archive: File, scratch: Option<File>) -> Result<File, LayoutError> {
    let unreadable = |e| LayoutError::Read("the archive".to_owned(), e);
    let is_file = archive.metadata().map_err(unreadable)?.is_file();
    if is_file {
        (&archive).rewind().map_err(unreadable)?;
    }
    let plain = archive.try_clone().map_err(unreadable)?;
    let mut input = BufReader::with_capacity(BUFFER, archive);
    let first = input.fill_buf().map_err(unreadable)?;
    let compression = match first {
        [] => return Err(LayoutError::Empty),
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
        [b'B', b'Z', b'h', ..] => return Err(LayoutError::Compressed("bzip2")),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => return Err(LayoutError::Compressed("xz")),
        _ => None,
    };
    if is_file && compression.is_none() {
        return Ok(plain);
    }
    let scratch = scratch.ok_or(LayoutError::NotAFile("the archive".to_owned()))?;
    match compression {
        Some("gzip") => copy(MultiGzDecoder::new(input), &scratch)?,
        Some(_) => {
            let decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(unreadable)?;
            copy(decoder, &scratch)?;
        }
        None => copy(input, &scratch)?,
    }
    Ok(scratch)
}

fn copy(from: impl Read, mut into: &File) -> Result<(), LayoutError> {
    let mut from = from.take(LIMIT + 1);
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(LayoutError::Read("the archive".to_owned(), e)),
        };
        into.write_all(&buffer[..count])
            .map_err(LayoutError::Spool)?;
        total += count as u64;
    }
    match total > LIMIT {
        true => Err(LayoutError::TooLarge("the archive".to_owned(), LIMIT)),
        false => Ok(()),
    }
}
