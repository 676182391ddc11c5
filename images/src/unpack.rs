//! A layer's bytes become a tree, in one pass.
//!
//! One thread hashes the blob, decompresses it and hashes the result; the caller's thread parses the archive and makes
//! files. Between them are a few buffers, so memory does not grow with the layer. Bytes are used as they come, before
//! the digests are known: whoever calls [`layer`] must throw the tree away when it fails.
//!
//! Attacks and answers:
//!
//! - A name that leaves the tree: `..` is refused; the parent directory is opened with `openat2(RESOLVE_IN_ROOT |
//!   RESOLVE_NO_MAGICLINKS)`, so links inside the layer resolve inside the layer; the last component is never followed.
//! - Something that is there already (link, file, directory) is unlinked, never written through. Metadata is set on the
//!   descriptor just made.
//! - Two readers that see different archives: sizes, names and numbers that tar readers are known to understand
//!   differently are refused.
//! - Bombs: [`Limits`] on everything that is counted, and a [`Budget`] where several layers have one limit; buffers do not
//!   depend on what the archive claims.
//! - Devices are reported, not made. Attributes are kept by an allow-list. File capabilities are written from inside
//!   a user namespace only, so the kernel binds them to that namespace.
//!
//! A layer is unpacked without the layers below it, for use as a lower directory of overlayfs mounted with `userxattr`
//! (Linux 5.11): a whiteout becomes the character device 0:0, which needs no privilege since Linux 5.8, an opaque
//! directory gets the attribute `user.overlay.opaque`. Consequences, the same as in other stores that keep one tree for
//! each layer: a hard link to a file of a lower layer cannot be made and is refused; a directory that the archive uses
//! without describing it is made as 0755 of user 0 and so appears in the image.

mod apply;
mod archive;
mod budget;
mod error;
mod header;
mod kinds;
mod limits;
mod media_type;
mod metadata;
mod parents;
mod path;
mod pax;
mod piped;
mod report;
mod stream;
mod whiteout;
mod xattr;

use std::io::Read;
use std::os::fd::BorrowedFd;

#[cfg(any(test, fuzzing))]
pub(crate) use apply::archive as apply_archive;
pub(crate) use archive::{Extent, Kind, Member, Skip, TarReader};
pub use budget::{Amount, Budget};
pub use error::UnpackError;
pub use limits::Limits;
pub(crate) use path::EntryPath;
pub(crate) use piped::Piped;
pub use report::{Device, LayerReport};
pub(crate) use xattr::keeps as keeps_xattr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// What a layer must turn out to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Media type of the descriptor.
    pub media_type: String,
    /// Size of the blob.
    pub size: u64,
    /// Digest of the blob.
    pub digest: Digest,
    /// Digest of the uncompressed blob.
    pub diff_id: Digest,
}

/// What to do with the owners that a layer names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Give each file to its owner.
    Keep,
    /// Leave everything to the caller.
    Squash,
}

/// Reads one layer from `blob` and makes its tree in the empty directory `into`.
///
/// It is meant to run in a process of its own: user 0 of a user namespace that maps the ids of the layer, umask 0, with
/// `CAP_CHOWN`, `CAP_DAC_OVERRIDE`, `CAP_FOWNER`, `CAP_FSETID` and `CAP_SETFCAP` in that namespace (none of them for
/// [`Ownership::Squash`] when no directory of the layer is unreadable), and with nothing else to see. It starts one thread.
///
/// # Errors
/// [`UnpackError`]. The tree must then be thrown away. That the blob is not the one expected is reported first, because
/// every other error may be its consequence.
pub fn layer(
    blob: impl Read + Send,
    expect: &Expect,
    into: BorrowedFd<'_>,
    ownership: Ownership,
    limits: &Limits,
    budget: Budget<'_>,
) -> Result<LayerReport, UnpackError> {
    let compression = media_type::compression(&expect.media_type)?;
    std::thread::scope(|scope| {
        let (sender, mut receiver) = stream::exchange();
        let decoder = std::thread::Builder::new()
            .name("decoder".to_owned())
            .spawn_scoped(scope, || {
                stream::decode(blob, compression, expect, limits, sender)
            })
            .map_err(UnpackError::Thread)?;
        let applied = apply::archive(&mut receiver, into, ownership, limits, budget);
        if applied.is_ok() {
            receiver.drain();
        }
        drop(receiver);
        let decoded = decoder.join().unwrap_or(Err(UnpackError::Panic));
        let archive_bytes = decoded?;
        let mut report = applied?;
        report.archive_bytes = archive_bytes;
        Ok(report)
    })
}

/// Reads an archive of our own making and makes its files in the empty directory `into`. As [`layer`], but nothing is
/// hashed or decompressed.
///
/// # Errors
/// [`UnpackError`]. What was made must then be thrown away.
pub(crate) fn plain<R: Skip>(
    archive: &mut R,
    into: BorrowedFd<'_>,
    ownership: Ownership,
    limits: &Limits,
) -> Result<LayerReport, UnpackError> {
    let budget = Budget::unbounded();
    apply::archive(archive, into, ownership, limits, budget)
}

#[cfg(test)]
mod tests;
