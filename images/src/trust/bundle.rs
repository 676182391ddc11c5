//! Sigstore bundles of version 0.3, signed with a key: what `cosign` attaches to images as an OCI referrer.
//!
//! Inside is a DSSE envelope with an in-toto statement about digests, or a signature over the manifest itself. Only a statement
//! whose predicate is cosign's "I sign this" counts: provenance, a bill of materials or the report of a scanner, signed by the
//! same key, approve of nothing. A statement need not name the repository; when it does, it must be the image's.
//!
//! Certificates and transparency logs are not looked at: whom we trust, the policy says by key.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::cosign::check_identity;
use super::finding::{Failure, plain};
use super::key::{Fingerprint, PublicKey};
use super::subject::Subject;
use crate::digest::Digest;
use crate::evidence::MAX_ITEM;
use crate::strict_json;

/// The media type of a bundle.
pub const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

const STATEMENT_PAYLOAD: &str = "application/vnd.in-toto+json";
/// Both have the same fields.
const STATEMENTS: [&str; 2] = [
    "https://in-toto.io/Statement/v1",
    "https://in-toto.io/Statement/v0.1",
];
/// The predicate of a statement that signs an image.
pub const SIGN_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Option<Envelope>,
    message_signature: Option<MessageSignature>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeSignature {
    sig: String,
    #[serde(rename = "keyid", default)]
    _keyid: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct MessageSignature {
    #[serde(rename = "messageDigest", default)]
    _message_digest: Option<IgnoredAny>,
    signature: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<StatementSubject>,
    predicate_type: String,
    #[serde(rename = "predicate", default)]
    _predicate: IgnoredAny,
}

#[derive(Deserialize)]
struct StatementSubject {
    #[serde(default)]
    name: String,
    digest: SubjectDigest,
}

#[derive(Deserialize)]
struct SubjectDigest {
    sha256: Option<String>,
}

/// The key that made the bundle, if it is about `subject`.
pub(super) fn verify(
    file: &[u8],
    keys: &[PublicKey],
    subject: &Subject<'_>,
) -> Result<Fingerprint, Failure> {
    let bundle: Bundle = strict_json::from_slice(file, MAX_ITEM).map_err(Failure::Bundle)?;
    if bundle.media_type != BUNDLE_TYPE {
        return Err(Failure::Kind(bundle.media_type));
    }
    if bundle.verification_material.public_key.is_none() {
        return Err(Failure::Keyless);
    }
    match (bundle.dsse_envelope, bundle.message_signature) {
        (Some(envelope), None) => by_envelope(&envelope, keys, subject),
        (None, Some(message)) => {
            let signature = decode(&message.signature)?;
            let key = plain(keys, subject.manifest(), &signature);
            key.map(PublicKey::fingerprint).ok_or(Failure::UnknownKey)
        }
        _ => Err(Failure::Malformed),
    }
}

fn by_envelope(
    envelope: &Envelope,
    keys: &[PublicKey],
    subject: &Subject<'_>,
) -> Result<Fingerprint, Failure> {
    let [signature] = envelope.signatures.as_slice() else {
        return Err(Failure::Malformed);
    };
    let (signature, payload) = (decode(&signature.sig)?, decode(&envelope.payload)?);
    let signed = authenticated(&envelope.payload_type, &payload);
    let key = plain(keys, &signed, &signature).ok_or(Failure::UnknownKey)?;
    if envelope.payload_type != STATEMENT_PAYLOAD {
        return Err(Failure::Kind(envelope.payload_type.clone()));
    }
    check(&payload, subject)?;
    Ok(key.fingerprint())
}

/// DSSE's encoding of what is signed, in which type and payload cannot run into each other.
fn authenticated(kind: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// Checks that a statement, whose signature was verified, approves of `subject`.
pub(super) fn check(statement: &[u8], subject: &Subject<'_>) -> Result<(), Failure> {
    let statement: Statement =
        strict_json::from_slice(statement, MAX_ITEM).map_err(Failure::Payload)?;
    if !STATEMENTS.contains(&statement.kind.as_str()) {
        return Err(Failure::Kind(statement.kind));
    }
    if statement.predicate_type != SIGN_PREDICATE {
        return Err(Failure::Kind(statement.predicate_type));
    }
    let mut other = None;
    for candidate in &statement.subject {
        let hex = candidate.digest.sha256.as_deref().unwrap_or_default();
        let digest = Digest::parse(&format!("sha256:{hex}")).map_err(Failure::Digest)?;
        if !subject.has_digest(&digest) {
            other = Some(digest);
        } else if candidate.name.is_empty() {
            return Ok(());
        } else {
            return check_identity(&candidate.name, subject);
        }
    }
    Err(other.map_or(Failure::Malformed, Failure::WrongDigest))
}

fn decode(base64: &str) -> Result<Vec<u8>, Failure> {
    BASE64_STANDARD
        .decode(base64)
        .map_err(|_| Failure::Malformed)
}
