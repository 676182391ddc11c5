//! Files of a layout in a tar archive: where each begins and how long it is, found by reading the headers once.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use super::{Blob, LayoutError};
use crate::unpack::{EntryPath, Extent, Kind, Limits, Skip, TarReader};

/// Most files of an archive.
const MOST: usize = 10_000;

/// The files of an archive.
pub(super) struct Members {
    file: Arc<File>,
    found: HashMap<Vec<u8>, (u64, u64)>,
}

impl Members {
    pub(super) fn open(&self, name: &str) -> Option<Blob> {
        let (at, size) = self.found.get(name.as_bytes())?;
        Some(Blob {
            file: Arc::clone(&self.file),
            at: *at,
            end: at + size,
        })
    }
}

/// Reads the headers of an archive.
pub(super) fn members(archive: File) -> Result<Members, LayoutError> {
    let unreadable = |e| LayoutError::Read("the archive".to_owned(), e);
    let metadata = archive.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(LayoutError::NotAFile("the archive".to_owned()));
    }
    let file = archive.try_clone().map_err(unreadable)?;
    let mut input = Position {
        input: BufReader::new(archive),
        at: 0,
        end: metadata.size(),
    };
    input.input.rewind().map_err(unreadable)?;
    let (limits, mut found) = (Limits::default(), HashMap::new());
    let mut archive = TarReader::new(&mut input, &limits);
    while let Some(member) = archive.next().map_err(LayoutError::Archive)? {
        let Kind::File(extents) = &member.kind else {
            continue;
        };
        let (Ok(path), [Extent { length, .. }]) =
            (EntryPath::parse(&member.name, &limits), extents.as_slice())
        else {
            continue;
        };
        let place = (archive.position(), *length);
        if found.insert(path.bytes().to_vec(), place).is_some() {
            return Err(LayoutError::Ambiguous("has two files of one name"));
        }
        if found.len() > MOST {
            return Err(LayoutError::Ambiguous("has too many files"));
        }
    }
    Ok(Members {
        file: Arc::new(file),
        found,
    })
}

/// A file that is read here and there, and knows where it is.
struct Position {
    input: BufReader<File>,
    at: u64,
    end: u64,
}

impl Read for Position {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(into)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl BufRead for Position {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.input.consume(amount);
        self.at += amount as u64;
    }
}

impl Skip for Position {
    fn skip(&mut self, amount: u64) -> io::Result<bool> {
        if self.end - self.at < amount {
            return Ok(false);
        }
        let by = i64::try_from(amount).map_err(io::Error::other)?;
        self.input.seek_relative(by)?;
        self.at += amount;
        Ok(true)
    }

    fn position(&self) -> u64 {
        self.at
    }
}
