//! Files of a layout in a tar archive: where each begins and how long it is, found by reading the headers once.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use super::{Blob, LayoutError};
use crate::unpack::{EntryPath, Extent, Kind, Limits, Skip, TarReader, UnpackError};

/// Most links that are followed for one name.
const HOPS: usize = 8;
/// Most files and links of an archive.
const MOST: usize = 10_000;

/// The files of an archive.
pub(super) struct Members {
    file: Arc<File>,
    found: HashMap<Vec<u8>, (u64, u64)>,
    /// Symbolic and hard links, with the names that they stand for.
    links: HashMap<Vec<u8>, Vec<u8>>,
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

    /// As [`Members::open`], following links inside the archive: nothing outside is ever looked at.
    pub(super) fn follow(&self, name: &str) -> Option<Blob> {
        let mut name = EntryPath::parse(name.as_bytes(), &Limits::default())
            .ok()?
            .bytes()
            .to_vec();
        for _ in 0..HOPS {
            match self.links.get(&name) {
                Some(target) => name.clone_from(target),
                None => break,
            }
        }
        self.open(std::str::from_utf8(&name).ok()?)
    }
}

/// What the link `name` stands for, by names alone; nothing when that is outside of the archive.
fn target_of(name: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if target.starts_with(b"/") {
        return None;
    }
    let mut parts: Vec<&[u8]> = name.split(|byte| *byte == b'/').collect();
    parts.pop();
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
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
    let (limits, mut found, mut links) = (Limits::default(), HashMap::new(), HashMap::new());
    let mut archive = TarReader::new(&mut input, &limits);
    while let Some(member) = archive.next().map_err(unusable)? {
        let Ok(path) = EntryPath::parse(&member.name, &limits) else {
            continue;
        };
        let path = path.bytes().to_vec();
        let twice = match &member.kind {
            Kind::File(extents) => match extents.as_slice() {
                [Extent { length, .. }] => {
                    let place = (archive.position(), *length);
                    found.insert(path, place).is_some()
                }
                _ => continue,
            },
            Kind::Symlink(target) => match target_of(&path, target) {
                Some(target) => links.insert(path, target).is_some(),
                None => continue,
            },
            Kind::HardLink(target) => match EntryPath::parse(target, &limits) {
                Ok(target) => links.insert(path, target.bytes().to_vec()).is_some(),
                Err(_) => continue,
            },
            _ => continue,
        };
        if twice {
            return Err(LayoutError::Ambiguous("has two files of one name"));
        }
        if found.len() + links.len() > MOST {
            return Err(LayoutError::Ambiguous("has too many files"));
        }
    }
    if found.keys().any(|name| links.contains_key(name)) {
        return Err(LayoutError::Ambiguous("has two files of one name"));
    }
    Ok(Members {
        file: Arc::new(file),
        found,
        links,
    })
}

fn unusable(error: UnpackError) -> LayoutError {
    match error {
        UnpackError::Truncated(_) => LayoutError::Truncated,
        UnpackError::Header { number: 1, why } => LayoutError::NotTar(why),
        error => LayoutError::Archive(error),
    }
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
        // Somebody may write to it while it is read: then it can be longer than it was.
        if self.end.saturating_sub(self.at) < amount {
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
