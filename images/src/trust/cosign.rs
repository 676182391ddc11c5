//! cosign's simple signing: a small document that names a repository and a digest, and a signature over its bytes.
//!
//! The document is read only after its signature was verified. What it names must be what is to run: the digest exactly, and
//! the repository as a policy of `containers` with `matchRepoDigestOrExact` or `matchRepository` would have it:
//!
//! | the signer wrote | asked for | holds when |
//! |---|---|---|
//! | `host/repository` (cosign) | anything | the repositories are equal |
//! | `host/repository:tag` (skopeo) | a tag | repositories and tags are equal |
//! | `host/repository:tag` | a digest | the repositories are equal |
//! | `…@digest` | anything | also, the digest is the image's |

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::finding::Failure;
use super::subject::Subject;
use crate::digest::Digest;
use crate::evidence::MAX_ITEM;
use crate::strict_json;

/// What the document says that it is.
const KIND: &str = "cosign container image signature";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    critical: Critical,
    #[serde(rename = "optional", default)]
    _optional: Option<IgnoredAny>,
}

/// All of it must be understood: a member that we do not know may limit what was signed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

/// Checks that a document, whose signature was verified, is about `subject`.
pub(super) fn check(document: &[u8], subject: &Subject<'_>) -> Result<(), Failure> {
    let payload: Payload = strict_json::from_slice(document, MAX_ITEM).map_err(Failure::Payload)?;
    let Critical {
        identity,
        image,
        kind,
    } = payload.critical;
    if kind != KIND {
        return Err(Failure::Kind(kind));
    }
    let signed = Digest::parse(&image.docker_manifest_digest).map_err(Failure::Digest)?;
    if !subject.has_digest(&signed) {
        return Err(Failure::WrongDigest(signed));
    }
    check_identity(&identity.docker_reference, subject)
}

/// Checks the name that a signer wrote against the image's.
pub(super) fn check_identity(signed: &str, subject: &Subject<'_>) -> Result<(), Failure> {
    if signed == subject.repository() {
        return Ok(());
    }
    let (name, digest) = match signed.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (signed, None),
    };
    let (repository, tag) = match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    };
    if repository != subject.repository() {
        return Err(Failure::WrongRepository {
            signed: repository.to_owned(),
            wanted: subject.repository().to_owned(),
        });
    }
    if let Some(digest) = digest {
        let digest = Digest::parse(digest).map_err(Failure::Digest)?;
        if !subject.has_digest(&digest) {
            return Err(Failure::WrongDigest(digest));
        }
    }
    match (tag, subject.tag()) {
        (Some(signed), Some(wanted)) if signed != wanted => Err(Failure::WrongTag {
            signed: signed.to_owned(),
            wanted: wanted.to_owned(),
        }),
        _ => Ok(()),
    }
}
