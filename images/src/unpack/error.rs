//! Why a layer was not unpacked. Names come from the layer, so they are escaped.

use std::io;

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;

use super::path::EntryPath;
use crate::digest::Digest;
use crate::escape;

/// Why a layer was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// No archive, or one in an unknown form.
    #[error("layers of media type '{0}' are not supported")]
    MediaType(String),
    /// The blob's first bytes are not those of the compression that its media type names.
    #[error(
        "the layer's media type '{media_type}' does not fit its bytes, which look like {found}"
    )]
    Compression {
        /// The media type.
        media_type: String,
        /// What the bytes look like.
        found: &'static str,
    },
    /// The blob cannot be read.
    #[error("cannot read the layer")]
    Read(#[source] io::Error),
    /// The blob is longer than it should be.
    #[error("the layer is longer than the {0} bytes that its manifest says")]
    TooLong(u64),
    /// The blob is shorter than it should be.
    #[error("the layer ends after {found} of the {expected} bytes that its manifest says")]
    TooShort {
        /// Bytes read.
        found: u64,
        /// Bytes expected.
        expected: u64,
    },
    /// The blob is not the one that the manifest names.
    #[error("the layer's digest is {found}, its manifest says {expected}")]
    Digest {
        /// Of the bytes read.
        found: Digest,
        /// Of the manifest.
        expected: Digest,
    },
    /// The archive is not the one that the config names.
    #[error("the uncompressed layer's digest is {found}, the image's config says {expected}")]
    DiffId {
        /// Of the uncompressed bytes.
        found: Digest,
        /// Of the config.
        expected: Digest,
    },
    /// The blob cannot be decompressed.
    #[error("cannot decompress the layer")]
    Decompress(#[source] io::Error),
    /// The layer is more than is allowed.
    #[error("the layer has more than {limit} {what}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// More room cannot be asked for.
    #[error("cannot ask for more room for the layer")]
    Budget(#[source] io::Error),
    /// More room is not given.
    #[error("there is no more room for the layer")]
    NoRoom,
    /// An entry's header cannot be understood, or not in one way only.
    #[error("entry {number} of the layer's archive: {why}")]
    Header {
        /// Counted from 1.
        number: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// The archive ends inside an entry.
    #[error("the layer's archive ends inside entry {0}")]
    Truncated(u64),
    /// An entry cannot be accepted.
    #[error("entry '{path}' of the layer: {why}")]
    Entry {
        /// Its path, escaped.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// An entry's hard link leads to nothing that could be linked.
    #[error("entry '{path}' of the layer: its hard link target '{target}' {why}")]
    LinkTarget {
        /// Its path, escaped.
        path: String,
        /// The target, escaped.
        target: String,
        /// What is wrong.
        why: &'static str,
    },
    /// An entry belongs to an id that the user namespace does not map.
    #[error(
        "entry '{path}' of the layer belongs to {uid}:{gid}, which is outside of the ids that are available here"
    )]
    Owner {
        /// Its path, escaped.
        path: String,
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
    /// A system call for an entry failed.
    #[error("cannot {what} '{path}' of the layer")]
    Make {
        /// What was being done.
        what: &'static str,
        /// The entry's path, escaped.
        path: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The second thread cannot be started.
    #[error("cannot start the decoder thread")]
    Thread(#[source] io::Error),
    /// The second thread has panicked.
    #[error("the decoder thread panicked")]
    Panic,
}

/// An entry that is refused for what it says.
pub(super) fn refuse(path: &[u8], why: &'static str) -> UnpackError {
    UnpackError::Entry {
        path: escape::text(path),
        why,
    }
}

/// A system call that failed.
pub(super) fn failed(what: &'static str, path: &EntryPath, cause: Errno) -> UnpackError {
    let path = if path.is_root() { b"/" } else { path.bytes() };
    UnpackError::Make {
        what,
        path: escape::text(path),
        source: cause.into(),
    }
}

/// Why the directory that an entry is in cannot be used.
pub(super) fn unusable_parent(path: &EntryPath, cause: Errno) -> UnpackError {
    match cause {
        Errno::NOTDIR => refuse(
            path.bytes(),
            "its parent is a file, or a link to nothing in this layer",
        ),
        Errno::LOOP => refuse(path.bytes(), "its parent is a link that leads to itself"),
        _ => failed("open the parent of", path, cause),
    }
}

/// Why something cannot be given to its owner. `EINVAL`: the id is not mapped.
pub(super) fn not_given(path: &EntryPath, uid: Uid, gid: Gid, cause: Errno) -> UnpackError {
    match cause {
        Errno::INVAL => UnpackError::Owner {
            path: escape::text(path.bytes()),
            uid: uid.as_raw(),
            gid: gid.as_raw(),
        },
        _ => failed("give to its owner", path, cause),
    }
}
