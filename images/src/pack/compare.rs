//! Whether two trees are the same, file by file, by what would be packed of them.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::{PackError, Packing};
use crate::digest::Digest;
use crate::escape;
use crate::unpack::{Kind, Limits, Member, Piped, TarReader, UnpackError};

/// How a file differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    path: String,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Only in the tree, or only in the layer.
    Presence,
    Kind,
    Metadata,
    Content,
    /// Both.
    All,
    /// Not of a file of the layer, but of what is known of it.
    Record,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match self.what {
            What::Presence => write!(f, "'{path}' was added or removed, or what is before it"),
            What::Kind => write!(f, "'{path}' has another type or target"),
            What::Metadata => {
                write!(
                    f,
                    "'{path}' has another mode, owner, time or extended attribute"
                )
            }
            What::Content => write!(f, "'{path}' has another content"),
            What::All => write!(
                f,
                "'{path}' has another content, and another mode, owner, time or extended attribute"
            ),
            What::Record => write!(f, "its record {path} cannot be read"),
        }
    }
}

impl Difference {
    /// The record of a tree cannot be read, so that it cannot be packed either.
    pub(crate) fn of_record(path: &Path) -> Self {
        Self {
            path: escape::text(path.as_os_str().as_encoded_bytes()),
            what: What::Record,
        }
    }
}

/// An entry, as far as it matters.
struct Entry {
    name: Vec<u8>,
    kind: String,
    metadata: String,
    content: Digest,
}

/// The first difference between two packings, if there is one.
///
/// # Errors
/// [`PackError`] when one cannot be packed.
pub(crate) fn compare(tree: Packing, layer: Packing) -> Result<Option<Difference>, PackError> {
    let mut known = Vec::new();
    entries(tree, |entry| known.push(entry))?;
    let mut known = known.into_iter();
    let mut found = None;
    entries(layer, |entry| {
        if found.is_none() {
            found = differs(known.next(), &entry);
        }
    })?;
    Ok(found.or_else(|| known.next().map(|more| more.with(What::Presence))))
}

fn differs(known: Option<Entry>, other: &Entry) -> Option<Difference> {
    let Some(known) = known.filter(|known| known.name == other.name) else {
        return Some(other.with(What::Presence));
    };
    let same = (
        known.metadata == other.metadata,
        known.content == other.content,
    );
    let what = match same {
        _ if known.kind != other.kind => What::Kind,
        (false, true) => What::Metadata,
        (true, false) => What::Content,
        (false, false) => What::All,
        (true, true) => return None,
    };
    Some(known.with(what))
}

impl Entry {
    fn with(&self, what: What) -> Difference {
        Difference {
            path: escape::text(&self.name),
            what,
        }
    }
}

fn entries(mut packing: Packing, mut take: impl FnMut(Entry)) -> Result<(), PackError> {
    let mut input = Piped::new(&mut packing);
    let limits = Limits {
        entries: u64::MAX,
        ..Limits::default()
    };
    let mut archive = TarReader::new(&mut input, &limits);
    let read = loop {
        match archive.next() {
            Ok(Some(member)) => match entry(member, &mut archive) {
                Ok(entry) => take(entry),
                Err(error) => break Err(error),
            },
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    // What the worker says explains why its archive ends too early.
    let rest = io::copy(&mut input, &mut io::sink());
    drop(input);
    packing.finish()?;
    rest.map_err(PackError::Pipe)?;
    read.map_err(PackError::Archive)
}

fn entry<R: Read + BufRead + crate::unpack::Skip>(
    member: Member,
    archive: &mut TarReader<'_, R>,
) -> Result<Entry, UnpackError> {
    let mut hasher = Sha256::new();
    let length = match &member.kind {
        Kind::File(extents) => extents.iter().map(|extent| extent.length).sum(),
        _ => 0,
    };
    archive.data(length, |piece| {
        hasher.update(piece);
        Ok(())
    })?;
    let (mode, uid, gid) = (member.mode, member.uid, member.gid);
    // A directory's time changes with what is in it, and of one that no layer describes it is not recorded.
    let mtime = match member.kind {
        Kind::Directory => (0, 0),
        _ => member.mtime,
    };
    let xattrs = member.xattrs;
    let kind = match &member.kind {
        // Its length is part of its content.
        Kind::File(_) => "file".to_owned(),
        other => format!("{other:?}"),
    };
    Ok(Entry {
        name: member.name,
        kind,
        metadata: format!("{mode} {uid} {gid} {mtime:?} {xattrs:?}"),
        content: Digest::finish(hasher),
    })
}
