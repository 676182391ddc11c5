//! Signatures attached to an image as OCI referrers: Sigstore bundles, and cosign's simple signing.
//!
//! Where the registry has no list of referrers there is an index under tag `sha256-<hex>` instead. Only the first page of a list
//! is read.

use std::collections::HashMap;

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};

use super::resolve::{Resolved, digest_of};
use super::source::{Reply, Source};
use super::{FetchError, document, signatures};
use crate::digest::Digest;
use crate::evidence::{Evidence, Item, MAX_ITEM, MAX_ITEMS};
use crate::trust::{BUNDLE_TYPE, SIGN_PREDICATE};

const LIST: &str = "list of referrers";
const REFERRER: &str = "referrer";
const COSIGN_TYPE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
const PREDICATE: &str = "dev.sigstore.bundle.predicateType";
/// What cosign calls bundles in an index under a tag: the media type of their config, which says nothing.
const UNTOLD_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// Adds what is attached to the manifest and to the index that lists it.
pub(super) fn gather(
    source: &Source,
    resolved: &Resolved,
    evidence: &mut Evidence,
) -> Result<(), FetchError> {
    let index = resolved.index.as_ref().map(|index| &index.digest);
    for subject in std::iter::once(&resolved.manifest.digest).chain(index) {
        let Some(list) = list(source, subject)? else {
            continue;
        };
        let said = |wanted| {
            let listed = list.manifests().iter();
            listed.filter(move |descriptor| says(descriptor) == wanted)
        };
        // Those that say so first: others may be many.
        let signed = said(Says::Signature).chain(said(Says::Nothing));
        for descriptor in signed.take(MAX_ITEMS) {
            for item in attached(source, subject, descriptor)? {
                evidence.add(item)?;
            }
        }
    }
    Ok(())
}

fn list(source: &Source, subject: &Digest) -> Result<Option<ImageIndex>, FetchError> {
    let reply = match source.referrers(LIST, *subject, source.limits.manifest)? {
        Reply::NotFound(_) => {
            let tag = format!("sha256-{}", subject.hex());
            source.manifest(LIST, Some(tag), None, source.limits.manifest)?
        }
        found => found,
    };
    match reply {
        Reply::Document(list) => document::json(source, LIST, &list.bytes).map(Some),
        Reply::NotFound(_) => Ok(None),
        Reply::NotModified => Err(FetchError::NotModified),
    }
}

/// What a referrer says that it is. Provenance and the like are attached in the same way as signatures, and are none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    Signature,
    Nothing,
    SomethingElse,
}

fn says(descriptor: &Descriptor) -> Says {
    let kind = descriptor.artifact_type().as_ref().map(ToString::to_string);
    match kind.as_deref() {
        Some(COSIGN_TYPE) => Says::Signature,
        Some(BUNDLE_TYPE) => of_bundle(descriptor.annotations()),
        Some(UNTOLD_TYPE) => Says::Nothing,
        _ => Says::SomethingElse,
    }
}

/// What a bundle says by the annotations of its descriptor or manifest.
fn of_bundle(annotations: &Option<HashMap<String, String>>) -> Says {
    match annotations.as_ref().and_then(|all| all.get(PREDICATE)) {
        Some(predicate) if predicate != SIGN_PREDICATE => Says::SomethingElse,
        _ => Says::Signature,
    }
}

fn attached(
    source: &Source,
    subject: &Digest,
    descriptor: &Descriptor,
) -> Result<Vec<Item>, FetchError> {
    let digest = digest_of(source, REFERRER, descriptor)?;
    let found = match source.manifest_of(REFERRER, &digest, source.limits.manifest)? {
        Reply::Document(document) => document,
        Reply::NotFound(_) | Reply::NotModified => return Ok(Vec::new()),
    };
    let manifest: ImageManifest = document::json(source, REFERRER, &found.bytes)?;
    let refers = manifest
        .subject()
        .as_ref()
        .is_some_and(|descriptor| descriptor.digest().to_string() == subject.to_string());
    if !refers || of_bundle(manifest.annotations()) == Says::SomethingElse {
        return Ok(Vec::new());
    }
    let mut items = signatures::in_manifest(source, &manifest)?;
    for layer in manifest.layers() {
        let is_bundle = layer.media_type().to_string() == BUNDLE_TYPE;
        // A bundle that is longer than any signature is something else.
        if is_bundle && layer.size() <= MAX_ITEM as u64 && items.len() < MAX_ITEMS {
            let digest = digest_of(source, REFERRER, layer)?;
            items.push(Item::Bundle(source.blob(
                "bundle",
                digest,
                layer.size(),
                MAX_ITEM as u64,
            )?));
        }
    }
    Ok(items)
}
