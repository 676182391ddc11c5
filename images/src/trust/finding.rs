//! What became of one piece of evidence under one scope: "found one" is not "verified one".

use thiserror::Error;

use super::bundle;
use super::cosign;
use super::key::{Fingerprint, PublicKey};
use super::minisign;
use super::ssh;
use super::subject::Subject;
use crate::digest::{Digest, DigestError};
use crate::escape;
use crate::evidence::{self, Item};
use crate::strict_json::JsonError;

/// One piece of evidence, judged.
#[derive(Debug)]
pub struct Finding {
    /// Kind and beginning of the digest.
    pub item: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What a piece of evidence proves.
#[derive(Debug)]
pub enum Outcome {
    /// That the holder of this key signed the image under its name.
    Verified {
        /// The key.
        key: Fingerprint,
        /// What the signer added, signed too, escaped for printing.
        comment: Option<String>,
    },
    /// Nothing.
    Failed(Failure),
}

/// Why a piece of evidence proves nothing.
#[derive(Debug, Error)]
pub enum Failure {
    /// No key of the scope verifies it.
    #[error("made with a key that is not the scope's, or over something else")]
    UnknownKey,
    /// A minisign signature by a key that the scope does not have.
    #[error("made with minisign key {0}, which is not the scope's")]
    UnknownMinisignKey(String),
    /// A minisign signature that claims to be by a key of the scope.
    #[error("not a signature over this manifest by minisign key {0}")]
    BadMinisign(String),
    /// An OpenSSH signature by a key that the scope does not have.
    #[error("made with OpenSSH key {0}, which is not the scope's")]
    UnknownSshKey(String),
    /// An OpenSSH signature that claims to be by a key of the scope.
    #[error("not a signature over this manifest by OpenSSH key {0}")]
    BadSsh(String),
    /// An OpenSSH signature for another purpose.
    #[error("made for namespace '{}', neither 'skua' nor 'file'", escape::text(.0))]
    Namespace(Vec<u8>),
    /// A bundle that cannot be read.
    #[error("unusable bundle: {}", joined(.0))]
    Bundle(JsonError),
    /// A bundle signed with a certificate.
    #[error("signed with a certificate instead of a key")]
    Keyless,
    /// It cannot be parsed.
    #[error("malformed")]
    Malformed,
    /// Its signed document cannot be read.
    #[error("unusable payload: {}", joined(.0))]
    Payload(JsonError),
    /// Its signed document is of another kind.
    #[error("no image signature but '{}'", escape::text(.0.as_bytes()))]
    Kind(String),
    /// It names something that is no digest.
    #[error("{0}")]
    Digest(DigestError),
    /// It signs another image.
    #[error("signs another image, {0}")]
    WrongDigest(Digest),
    /// It signs for another repository.
    #[error("signed for repository {}, not {wanted}", escape::text(.signed.as_bytes()))]
    WrongRepository {
        /// What the signer named.
        signed: String,
        /// What it should have named.
        wanted: String,
    },
    /// It signs for another tag.
    #[error("signed for tag {}, not {wanted}", escape::text(.signed.as_bytes()))]
    WrongTag {
        /// What the signer named.
        signed: String,
        /// What was asked for.
        wanted: String,
    },
}

fn joined(error: &JsonError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Judges one item with the keys of a scope.
pub(super) fn judge(item: &Item, keys: &[PublicKey], subject: &Subject<'_>) -> Outcome {
    let judged = match item {
        Item::Cosign { payload, signature } => by_cosign(payload, signature, keys, subject),
        Item::Minisign(file) => by_minisign(file, keys, subject),
        Item::Bundle(file) => bundle::verify(file, keys, subject).map(verified),
        Item::OpenSsh(file) => by_ssh(file, keys, subject).map(verified),
        Item::Bare(file) => by_bare(file, keys, subject).map(verified),
    };
    judged.unwrap_or_else(Outcome::Failed)
}

fn verified(key: Fingerprint) -> Outcome {
    Outcome::Verified { key, comment: None }
}

fn by_cosign(
    payload: &[u8],
    signature: &[u8],
    keys: &[PublicKey],
    subject: &Subject<'_>,
) -> Result<Outcome, Failure> {
    use base64::Engine as _;
    let signature = base64::prelude::BASE64_STANDARD
        .decode(signature.trim_ascii())
        .map_err(|_| Failure::Malformed)?;
    let key = plain(keys, payload, &signature);
    let key = key.ok_or(Failure::UnknownKey)?;
    cosign::check(payload, subject)?;
    Ok(verified(key.fingerprint()))
}

/// The key whose bare signature it is.
pub(super) fn plain<'k>(
    keys: &'k [PublicKey],
    message: &[u8],
    signature: &[u8],
) -> Option<&'k PublicKey> {
    let signed = |key: &&PublicKey| {
        key.plain()
            .is_some_and(|key| key.verifies(message, signature))
    };
    keys.iter().find(signed)
}

fn by_ssh(file: &[u8], keys: &[PublicKey], subject: &Subject<'_>) -> Result<Fingerprint, Failure> {
    let signature = ssh::Signature::parse(file).ok_or(Failure::Malformed)?;
    let named = |key: &&PublicKey| key.openssh().is_some_and(|key| signature.names(key));
    let key = keys.iter().find(named);
    let key = key.ok_or_else(|| Failure::UnknownSshKey(signature.key_name()))?;
    if !signature.is_for_images() {
        return Err(Failure::Namespace(signature.namespace().to_vec()));
    }
    if !key
        .openssh()
        .is_some_and(|key| signature.is_by(key, subject.manifest()))
    {
        return Err(Failure::BadSsh(signature.key_name()));
    }
    Ok(key.fingerprint())
}

fn by_minisign(file: &[u8], keys: &[PublicKey], subject: &Subject<'_>) -> Result<Outcome, Failure> {
    let signature = minisign::Signature::parse(file).ok_or(Failure::Malformed)?;
    let named = |key: &&PublicKey| key.minisign().is_some_and(|(id, _)| id == signature.key_id);
    if !keys.iter().any(|key| named(&key)) {
        return Err(Failure::UnknownMinisignKey(signature.key_id.to_string()));
    }
    let key = keys
        .iter()
        .filter(named)
        .find(|key| signature.is_by(key, subject.manifest()));
    let key = key.ok_or_else(|| Failure::BadMinisign(signature.key_id.to_string()))?;
    let comment = escape::text(signature.trusted_comment.as_bytes());
    Ok(Outcome::Verified {
        key: key.fingerprint(),
        comment: Some(comment),
    })
}

fn by_bare(file: &[u8], keys: &[PublicKey], subject: &Subject<'_>) -> Result<Fingerprint, Failure> {
    let signature = evidence::bare(file).ok_or(Failure::Malformed)?;
    let key = plain(keys, subject.manifest(), &signature);
    key.map(PublicKey::fingerprint).ok_or(Failure::UnknownKey)
}
