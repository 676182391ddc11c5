//! Manifests and indexes: which of the two some bytes are, told by everybody who has a say in it, or refused.

use oci_spec::image::{ImageIndex, ImageManifest};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::FetchError;
use super::source::Source;
use crate::escape;
use crate::strict_json;

/// A manifest or an index.
pub(super) enum Kind {
    Manifest(Box<ImageManifest>),
    Index(Box<ImageIndex>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Manifest,
    Index,
}

const TYPES: &[(&str, Class)] = &[
    (
        "application/vnd.oci.image.manifest.v1+json",
        Class::Manifest,
    ),
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        Class::Manifest,
    ),
    ("application/vnd.oci.image.index.v1+json", Class::Index),
    (
        "application/vnd.docker.distribution.manifest.list.v2+json",
        Class::Index,
    ),
];

/// What of a document tells its kind.
#[derive(Deserialize)]
struct Outline {
    #[serde(rename = "schemaVersion")]
    schema_version: u64,
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
}

/// Parses `bytes`, which whoever gave them calls `told` (a descriptor's media type, a `Content-Type`, or nothing).
pub(super) fn parse(
    source: &Source,
    what: &str,
    bytes: &[u8],
    told: &[Option<&str>],
) -> Result<Kind, FetchError> {
    let unusable = |reason| FetchError::Document {
        what: what.to_owned(),
        name: source.name.clone(),
        reason,
    };
    let outline: Outline = json(source, what, bytes)?;
    match classify(&outline, told).map_err(unusable)? {
        Class::Manifest => Ok(Kind::Manifest(Box::new(json(source, what, bytes)?))),
        Class::Index => Ok(Kind::Index(Box::new(json(source, what, bytes)?))),
    }
}

/// What some bytes are within `limits`, when nobody has said anything about them.
#[cfg(any(test, fuzzing))]
pub(crate) fn understand(
    bytes: &[u8],
    limits: &super::DocumentLimits,
) -> Option<(Option<ImageManifest>, Option<ImageIndex>)> {
    let outline: Outline = strict_json::within(bytes, limits.manifests()).ok()?;
    match classify(&outline, &[]).ok()? {
        Class::Manifest => Some((strict_json::within(bytes, limits.manifests()).ok(), None)),
        Class::Index => Some((None, strict_json::within(bytes, limits.manifests()).ok())),
    }
    .filter(|(manifest, index)| manifest.is_some() || index.is_some())
}

/// Parses a document of the form `T`.
pub(super) fn json<T: serde::de::DeserializeOwned>(
    source: &Source,
    what: &str,
    bytes: &[u8],
) -> Result<T, FetchError> {
    strict_json::within(bytes, source.limits.manifests()).map_err(|error| FetchError::Parse {
        what: what.to_owned(),
        name: source.name.clone(),
        source: error,
    })
}

/// One document read as a manifest by one tool and as an index by another is an attack (CVE-2021-41190), so the fields that
/// are there, its own media type and all that was told must agree.
fn classify(outline: &Outline, told: &[Option<&str>]) -> Result<Class, String> {
    if outline.schema_version != 2 {
        return Err(format!(
            "it is of schema version {}, only 2 is known",
            outline.schema_version
        ));
    }
    let is_manifest = outline.config.is_some() || outline.layers.is_some();
    let class = match (outline.manifests.is_some(), is_manifest) {
        (true, true) => return Err("it is both a manifest and an index".to_owned()),
        (false, false) => return Err("it is neither a manifest nor an index".to_owned()),
        (true, false) => Class::Index,
        (false, true) => Class::Manifest,
    };
    let own = outline.media_type.as_deref();
    for media_type in std::iter::once(own).chain(told.iter().copied()).flatten() {
        let bare = media_type.split(';').next().unwrap_or_default().trim();
        if bare == "application/json" || bare == "application/octet-stream" || bare == "text/plain"
        {
            continue;
        }
        match TYPES.iter().find(|(name, _)| *name == bare) {
            Some((_, said)) if *said == class => {}
            _ => {
                let shown = escape::text(media_type.as_bytes());
                return Err(format!(
                    "it is called '{shown}' but has the form of something else"
                ));
            }
        }
    }
    Ok(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(document: &str, told: &str) -> Result<Class, String> {
        let told = Some(told).filter(|told| !told.is_empty());
        classify(&serde_json::from_str(document).unwrap(), &[told])
    }

    #[test]
    fn everybody_must_agree_on_what_a_document_is() {
        const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
        const INDEX: &str = "application/vnd.oci.image.index.v1+json";
        let manifest = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        let lying =
            format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","config":{{}},"layers":[]}}"#);
        let both = r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#;
        for (document, told, expected) in [
            (manifest, "", Some(Class::Manifest)),
            (manifest, MANIFEST, Some(Class::Manifest)),
            (
                manifest,
                "application/vnd.oci.image.manifest.v1+json; charset=utf-8",
                Some(Class::Manifest),
            ),
            (manifest, "application/json", Some(Class::Manifest)),
            (index, INDEX, Some(Class::Index)),
            (manifest, INDEX, None),
            (index, MANIFEST, None),
            (
                manifest,
                "application/vnd.docker.distribution.manifest.v1+json",
                None,
            ),
            (&lying, "", None),
            (both, "", None),
            (r#"{"schemaVersion":2}"#, "", None),
            (r#"{"schemaVersion":1,"layers":[]}"#, "", None),
        ] {
            assert_eq!(class(document, told).ok(), expected, "{document} {told}");
        }
    }
}
