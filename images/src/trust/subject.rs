//! What a signature must be about: the image as it was asked for, its manifest, and the indexes that list it.

use std::cell::OnceCell;

use serde::Deserialize;

use crate::digest::Digest;
use crate::evidence::{Evidence, Item, MAX_INDEX};
use crate::reference::ImageName;
use crate::strict_json;

/// How many indexes may stand between a signature and the manifest.
const MAX_INDEX_DEPTH: usize = 4;

/// The image that is to run.
pub(super) struct Subject<'a> {
    repository: String,
    tag: Option<&'a str>,
    digest: Digest,
    manifest: &'a [u8],
    evidence: &'a Evidence,
    indexes: OnceCell<Vec<Digest>>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

impl<'a> Subject<'a> {
    /// `repository` is what signatures must name: the image's own, or where its scope says that it comes from.
    pub(super) fn new(
        name: &'a ImageName,
        repository: String,
        digest: Digest,
        manifest: &'a [u8],
        evidence: &'a Evidence,
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
            evidence,
            indexes: OnceCell::new(),
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

    /// Whether `digest` is the manifest's, or that of an index through which the manifest is reached: multi-platform
    /// images are signed by their index, whose digest covers those of its manifests.
    pub(super) fn has_digest(&self, digest: &Digest) -> bool {
        *digest == self.digest
            || self
                .indexes
                .get_or_init(|| self.listing_indexes())
                .contains(digest)
    }

    fn listing_indexes(&self) -> Vec<Digest> {
        let indexes: Vec<(Digest, Index)> = self.evidence.items().filter_map(parse).collect();
        let mut reached = vec![self.digest];
        for _ in 0..MAX_INDEX_DEPTH {
            for (digest, index) in &indexes {
                let lists = |wanted: &Digest| {
                    let wanted = wanted.to_string();
                    index
                        .manifests
                        .iter()
                        .any(|descriptor| descriptor.digest == wanted)
                };
                if !reached.contains(digest) && reached.iter().any(lists) {
                    reached.push(*digest);
                }
            }
        }
        reached
    }
}

fn parse(item: &Item) -> Option<(Digest, Index)> {
    match item {
        Item::Index(bytes) => Some((
            Digest::of(bytes),
            strict_json::from_slice(bytes, MAX_INDEX).ok()?,
        )),
        _ => None,
    }
}
