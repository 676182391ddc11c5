//! Which compression a layer's media type allows: exactly one. The bytes are looked at only to say what is wrong.

use super::UnpackError;
use crate::escape;

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

pub(super) fn compression(media_type: &str) -> Result<Compression, UnpackError> {
    match media_type {
        "application/vnd.oci.image.layer.v1.tar"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar"
        | "application/vnd.docker.image.rootfs.diff.tar" => Ok(Compression::None),
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => Ok(Compression::Gzip),
        "application/vnd.oci.image.layer.v1.tar+zstd"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Ok(Compression::Zstd),
        other => Err(UnpackError::MediaType(escape::text(other.as_bytes()))),
    }
}

/// Checks the first bytes of a blob.
pub(super) fn check(
    compression: Compression,
    media_type: &str,
    first: &[u8],
) -> Result<(), UnpackError> {
    let found = match first {
        [0x1f, 0x8b, ..] => (Compression::Gzip, "gzip"),
        // A frame, or a skippable frame before one.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            (Compression::Zstd, "zstd")
        }
        [b'B', b'Z', b'h', ..] => (Compression::None, "bzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => (Compression::None, "xz"),
        _ => (Compression::None, "no compression"),
    };
    // An archive may begin with a file called like a magic number, so plain tar is not second-guessed.
    if compression == Compression::None || compression == found.0 {
        return Ok(());
    }
    Err(UnpackError::Compression {
        media_type: media_type.to_owned(),
        found: found.1,
    })
}
