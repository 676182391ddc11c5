//! Signatures beside an image: cosign's simple signing, under tag `sha256-<hex>.sig` of the same repository.
//!
//! Those attached as referrers are in `referrers.rs`.

use oci_spec::image::{Descriptor, ImageManifest};

use super::resolve::{Resolved, digest_of, unusable};
use super::source::{Reply, Source};
use super::{FetchError, document};
use crate::digest::Digest;
use crate::evidence::{Evidence, Item, MAX_ITEM, MAX_ITEMS};

const WHAT: &str = "signature manifest";
const PAYLOAD_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// Adds what the source has about the manifest and about the index that lists it.
pub(super) fn gather(
    source: &Source,
    resolved: &Resolved,
    evidence: &mut Evidence,
) -> Result<(), FetchError> {
    let index = resolved.index.as_ref().map(|index| &index.digest);
    for subject in std::iter::once(&resolved.manifest.digest).chain(index) {
        for item in signatures_of(source, subject)? {
            evidence.add(item)?;
        }
    }
    Ok(())
}

fn signatures_of(source: &Source, subject: &Digest) -> Result<Vec<Item>, FetchError> {
    let tag = format!("sha256-{}.sig", subject.hex());
    let document = match source.manifest(WHAT, Some(tag), None, source.limits.manifest)? {
        Reply::Document(document) => document,
        Reply::NotFound(_) => return Ok(Vec::new()),
        Reply::NotModified => return Err(FetchError::NotModified),
    };
    in_manifest(source, &document::json(source, WHAT, &document.bytes)?)
}

/// The signatures in a manifest of cosign's: its layers are what was signed.
pub(super) fn in_manifest(
    source: &Source,
    manifest: &ImageManifest,
) -> Result<Vec<Item>, FetchError> {
    let signed: Vec<&Descriptor> = manifest
        .layers()
        .iter()
        .filter(|layer| layer.media_type().to_string() == PAYLOAD_TYPE)
        .collect();
    if signed.len() > MAX_ITEMS {
        let reason = format!(
            "it has {} signatures, more than the {MAX_ITEMS} allowed",
            signed.len()
        );
        return Err(unusable(source, WHAT, reason));
    }
    let mut items = Vec::new();
    for layer in signed {
        let annotations = layer.annotations().as_ref();
        let Some(signature) = annotations.and_then(|all| all.get(SIGNATURE)) else {
            continue;
        };
        let digest = digest_of(source, WHAT, layer)?;
        let payload = source.blob("signature", digest, layer.size(), MAX_ITEM as u64)?;
        items.push(Item::Cosign {
            payload,
            signature: signature.clone().into_bytes(),
        });
    }
    Ok(items)
}
