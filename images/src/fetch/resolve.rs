//! From a name to the documents of the image for this machine, each verified before it is parsed.

use std::collections::HashSet;

use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};

use super::document::{self, Kind};
use super::source::{Document, Reply, Source};
use super::{FetchError, platform};
use crate::digest::Digest;
use crate::escape;
use crate::reference::ImageName;
use crate::store::{self, Image, StoreError};

/// The most indexes inside each other.
const MAX_DEPTH: usize = 4;

/// Media types of configs of images that run; artifacts have others.
const CONFIG_TYPES: &[&str] = &[
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

/// Verified bytes.
pub(super) struct Verified {
    pub(super) digest: Digest,
    pub(super) bytes: Vec<u8>,
}

/// A layer to unpack.
pub(super) struct LayerSource {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) diff_id: Digest,
}

/// Everything about an image but its layers.
pub(super) struct Resolved {
    pub(super) manifest: Verified,
    /// The index that lists the manifest.
    pub(super) index: Option<Verified>,
    pub(super) config: Verified,
    /// Lowest first; each diff id once.
    pub(super) layers: Vec<LayerSource>,
    /// The registry's version of what the name stands for.
    pub(super) etag: Option<String>,
}

/// What the store has under a name.
pub(super) struct Before<'a> {
    /// What the registry called its version.
    pub(super) etag: Option<&'a str>,
    /// The index, or the manifest where there is none.
    pub(super) top: Digest,
}

/// What a name stands for.
pub(super) enum Now {
    /// The same; and what the registry calls that version.
    Unchanged(Option<String>),
    /// Something else, or nothing was known.
    Changed(Box<Resolved>),
}

impl Now {
    /// The documents, where nothing was known before.
    pub(super) fn resolved(self) -> Result<Box<Resolved>, FetchError> {
        match self {
            Self::Changed(resolved) => Ok(resolved),
            Self::Unchanged(_) => Err(FetchError::NotModified),
        }
    }
}

/// The documents behind `name`, unless they are those of `before`. Registries without versions are seen by the digest.
pub(super) fn resolve(
    source: &Source,
    name: &ImageName,
    before: Option<&Before<'_>>,
) -> Result<Now, FetchError> {
    let found = match find_manifest(source, name, before)? {
        Search::Found(found) => *found,
        Search::Unchanged(etag) => return Ok(Now::Unchanged(etag)),
    };
    let Found {
        manifest,
        parsed,
        index,
        etag,
    } = found;
    check_manifest(source, &parsed)?;
    let config = fetch_config(source, parsed.config())?;
    let layers = layers(source, &parsed, &config.bytes)?;
    Ok(Now::Changed(Box::new(Resolved {
        manifest,
        index,
        config,
        layers,
        etag,
    })))
}

enum Search {
    Found(Box<Found>),
    Unchanged(Option<String>),
}

struct Found {
    manifest: Verified,
    parsed: Box<ImageManifest>,
    index: Option<Verified>,
    etag: Option<String>,
}

/// Follows indexes to the manifest for this machine.
fn find_manifest(
    source: &Source,
    name: &ImageName,
    before: Option<&Before<'_>>,
) -> Result<Search, FetchError> {
    let (pinned, limit) = (name.pinned(), source.limits.manifest);
    let etag = before.and_then(|before| before.etag);
    let reply = match &pinned {
        Some(digest) => source.manifest_of("manifest", digest, limit)?,
        None => source.manifest("manifest", tag(name), etag, limit)?,
    };
    let first = match reply {
        Reply::Document(document) if before.is_some_and(|b| b.top == document.digest) => {
            return Ok(Search::Unchanged(document.etag));
        }
        Reply::Document(document) => document,
        Reply::NotModified if etag.is_some() => {
            return Ok(Search::Unchanged(etag.map(str::to_owned)));
        }
        Reply::NotModified => return Err(FetchError::NotModified),
        Reply::NotFound(said) => return Err(source.not_found("such image", said)),
    };
    let etag = first.etag.clone();
    let mut told = None;
    let mut index = None;
    let mut current = first;
    for _ in 0..=MAX_DEPTH {
        let types = [told.as_deref(), current.media_type.as_deref()];
        let parsed = match document::parse(source, "manifest", &current.bytes, &types)? {
            Kind::Manifest(parsed) => {
                check_pin(source, pinned, &current, index.as_ref())?;
                return Ok(Search::Found(Box::new(Found {
                    manifest: verified(current),
                    parsed,
                    index,
                    etag,
                })));
            }
            Kind::Index(parsed) => parsed,
        };
        let chosen = choose(source, &parsed)?;
        let next = descend(source, chosen)?;
        told = Some(chosen.media_type().to_string());
        index = Some(verified(std::mem::replace(&mut current, next)));
    }
    Err(unusable(
        source,
        "index",
        format!("it has more than {MAX_DEPTH} indexes inside each other"),
    ))
}

fn verified(document: Document) -> Verified {
    Verified {
        digest: document.digest,
        bytes: document.bytes,
    }
}

fn tag(name: &ImageName) -> Option<String> {
    match name {
        ImageName::Registry(reference) => reference.tag.clone(),
        ImageName::Layout { tag, .. } | ImageName::Archive { tag, .. } => tag.clone(),
    }
}

/// The store verifies at every run that a pinned index lists the manifest, so there may be only one index between them.
fn check_pin(
    source: &Source,
    pinned: Option<Digest>,
    manifest: &Document,
    index: Option<&Verified>,
) -> Result<(), FetchError> {
    match pinned {
        Some(pin) if pin != manifest.digest && index.is_none_or(|index| index.digest != pin) => {
            let reason = "an index inside an index cannot be pinned by the outer one".to_owned();
            Err(unusable(source, "index", reason))
        }
        _ => Ok(()),
    }
}

/// The entry for this machine.
fn choose<'a>(source: &Source, index: &'a ImageIndex) -> Result<&'a Descriptor, FetchError> {
    let entries = index.manifests();
    let fitting = entries.iter().find(|entry| {
        entry.platform().as_ref().is_some_and(|offered| {
            platform::fits(
                offered.os(),
                offered.architecture(),
                offered.variant().as_deref(),
            )
        })
    });
    // An index without a word about platforms is only a list; the config will tell.
    let only = || match entries.as_slice() {
        [one] if one.platform().is_none() => Some(one),
        _ => None,
    };
    fitting.or_else(only).ok_or_else(|| FetchError::Platform {
        name: source.name.clone(),
        wanted: format!("linux/{}", platform::architecture()),
        offered: offered(entries),
    })
}

fn offered(entries: &[Descriptor]) -> String {
    const SHOWN: usize = 16;
    let names: Vec<String> = entries
        .iter()
        .filter_map(|entry| entry.platform().as_ref())
        .take(SHOWN)
        .map(|platform| format!("{}/{}", platform.os(), platform.architecture()))
        .collect();
    match names.join(", ") {
        empty if empty.is_empty() => "none".to_owned(),
        list => escape::text(list.as_bytes()),
    }
}

fn descend(source: &Source, chosen: &Descriptor) -> Result<Document, FetchError> {
    let digest = digest_of(source, "index", chosen)?;
    let limit = chosen.size().min(source.limits.manifest);
    let document = match source.manifest_of("manifest", &digest, limit)? {
        Reply::Document(document) => document,
        Reply::NotFound(said) => return Err(source.not_found("manifest", said)),
        Reply::NotModified => return Err(FetchError::NotModified),
    };
    // The digest is right, so it is the index that lies.
    source.check_size("manifest", &document, chosen.size())?;
    Ok(document)
}

fn check_manifest(source: &Source, manifest: &ImageManifest) -> Result<(), FetchError> {
    let config_type = manifest.config().media_type().to_string();
    if !CONFIG_TYPES.contains(&config_type.as_str()) {
        let shown = escape::text(config_type.as_bytes());
        let reason = format!("it is no image that could run, its config is of type '{shown}'");
        return Err(unusable(source, "manifest", reason));
    }
    let limit = source.limits.layers;
    if manifest.layers().len() > limit {
        let count = manifest.layers().len();
        let reason = format!("it has {count} layers, more than the {limit} allowed");
        return Err(unusable(source, "manifest", reason));
    }
    Ok(())
}

fn fetch_config(source: &Source, config: &Descriptor) -> Result<Verified, FetchError> {
    let digest = digest_of(source, "manifest", config)?;
    let bytes = source.blob("config", digest, config.size(), source.limits.config)?;
    Ok(Verified { digest, bytes })
}

/// The layers of the manifest with the diff ids of the config. A layer that is there twice is unpacked once.
fn layers(
    source: &Source,
    manifest: &ImageManifest,
    config: &[u8],
) -> Result<Vec<LayerSource>, FetchError> {
    let config: ImageConfiguration = crate::strict_json::within(config, source.limits.configs())
        .map_err(|error| FetchError::Parse {
            what: "config".to_owned(),
            name: source.name.clone(),
            source: error,
        })?;
    if !platform::fits(config.os(), config.architecture(), None) {
        return Err(FetchError::Platform {
            name: source.name.clone(),
            wanted: format!("linux/{}", platform::architecture()),
            offered: escape::text(format!("{}/{}", config.os(), config.architecture()).as_bytes()),
        });
    }
    let diff_ids = config.rootfs().diff_ids();
    if diff_ids.len() != manifest.layers().len() {
        let reason = format!(
            "it has {} diff ids for the {} layers of the manifest",
            diff_ids.len(),
            manifest.layers().len()
        );
        return Err(unusable(source, "config", reason));
    }
    let mut seen = HashSet::new();
    let mut layers = Vec::new();
    for (descriptor, diff_id) in manifest.layers().iter().zip(diff_ids) {
        let diff_id = Digest::parse(diff_id)
            .map_err(|error| unusable(source, "config", error.to_string()))?;
        let layer = LayerSource {
            media_type: descriptor.media_type().to_string(),
            digest: digest_of(source, "manifest", descriptor)?,
            size: descriptor.size(),
            diff_id,
        };
        if seen.insert(diff_id) {
            layers.push(layer);
        }
    }
    Ok(layers)
}

/// The layers of an image of the store. One that is there twice is unpacked once.
pub(super) fn layers_of(image: &Image) -> Result<Vec<LayerSource>, StoreError> {
    let digest = &image.manifest_digest;
    let manifest: ImageManifest = store::document("manifest", digest, &image.manifest)?;
    let mut seen = HashSet::new();
    let mut layers = Vec::new();
    for (descriptor, diff_id) in manifest.layers().iter().zip(image.diff_ids()?) {
        if seen.insert(diff_id) {
            layers.push(LayerSource {
                media_type: descriptor.media_type().to_string(),
                digest: store::content_digest("manifest", digest, descriptor.digest())?,
                size: descriptor.size(),
                diff_id,
            });
        }
    }
    Ok(layers)
}

pub(super) fn digest_of(
    source: &Source,
    what: &str,
    descriptor: &Descriptor,
) -> Result<Digest, FetchError> {
    Digest::parse(descriptor.digest().as_ref())
        .map_err(|error| unusable(source, what, error.to_string()))
}

pub(super) fn unusable(source: &Source, what: &str, reason: String) -> FetchError {
    FetchError::Document {
        what: what.to_owned(),
        name: source.name.clone(),
        reason,
    }
}
