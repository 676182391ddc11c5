//! What a signature must be about: the image as it was asked for, its manifest, and the indexes that list it.

use crate::digest::Digest;
use crate::reference::ImageName;

/// The image that is to run.
pub(super) struct Subject<'a> {
    repository: String,
    tag: Option<&'a str>,
    digest: Digest,
    manifest: &'a [u8],
    indexes: &'a [Digest],
}

impl<'a> Subject<'a> {
    /// `repository` is what signatures must name: the image's own, or where its scope says that it comes from.
    pub(super) fn new(
        name: &'a ImageName,
        repository: String,
        digest: Digest,
        manifest: &'a [u8],
        indexes: &'a [Digest],
    ) -> Self {
        let tag = match name {
            ImageName::Registry(reference) if reference.digest.is_none() => {
                reference.tag.as_deref()
            }
            _ => None,
        };
        Self {
            repository,
            tag,
            digest,
            manifest,
            indexes,
        }
    }

    pub(super) fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, where it is the tag that selects the image.
    pub(super) fn tag(&self) -> Option<&str> {
        self.tag
    }

    pub(super) fn manifest(&self) -> &[u8] {
        self.manifest
    }

    /// Whether `digest` is the manifest's, or that of an index which lists it.
    pub(super) fn has_digest(&self, digest: &Digest) -> bool {
        *digest == self.digest || self.indexes.contains(digest)
    }
}
