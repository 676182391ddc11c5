//! Public keys of signers, in the forms that tools write: PEM (`openssl`, `cosign`), minisign's and OpenSSH's.
//!
//! The algorithm comes from the key alone: a signature never says how it wants to be verified. A key makes signatures of its
//! own form only, so that one made for another tool cannot be passed off as ours.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};
use spki::{Document, ObjectIdentifier};
use thiserror::Error;

use super::algorithm::Algorithm;
use super::ssh;

/// The most bytes that the text of one key may have.
pub const MAX_KEY_TEXT: usize = 16 << 10;

/// Why a text is not a usable public key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// It has none of the known forms.
    #[error(
        "not a public key in a known form (PEM or OpenSSH with ed25519 or ECDSA P-256, minisign)"
    )]
    UnknownForm,
    /// It is the secret half.
    #[error("this is a private key: give the public key of the pair")]
    Private,
    /// Its PEM block cannot be decoded.
    #[error("malformed PEM public key")]
    Pem(#[source] spki::der::Error),
    /// The structure in its PEM block is wrong.
    #[error("malformed public key")]
    Spki(#[source] spki::Error),
    /// It is a key of another algorithm.
    #[error("algorithm {0} is not supported: ed25519 and ECDSA P-256 are")]
    Algorithm(ObjectIdentifier),
    /// The bytes of a minisign key are wrong.
    #[error("malformed minisign public key")]
    Minisign,
    /// The line of an OpenSSH key is wrong.
    #[error("malformed OpenSSH public key")]
    OpenSsh,
    /// The number is no point of the curve.
    #[error("not a valid point of the key's curve")]
    Point(#[source] p256::ecdsa::Error),
    /// A point of small order, for which anybody can make signatures.
    #[error("a weak ed25519 key, which signatures can be forged for")]
    Weak,
}

/// SHA-256 of a key's `SubjectPublicKeyInfo`: the same for one key in whatever form it was given.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(spki: &[u8]) -> Self {
        Self(Sha256::digest(spki).into())
    }

    /// All 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// The first 16 hexadecimal digits, enough to tell keys apart in messages.
    #[must_use]
    pub fn short(&self) -> String {
        hex(&self.0[..8])
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A public key that was checked when it was read.
#[derive(Clone, Debug)]
pub struct PublicKey {
    form: Form,
    fingerprint: Fingerprint,
}

#[derive(Clone, Debug)]
enum Form {
    Pem(Algorithm),
    Minisign(KeyId, Algorithm),
    OpenSsh(Algorithm),
}

/// The 64-bit number by which minisign tells keys apart; shown as minisign shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyId(pub(super) [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", u64::from_le_bytes(self.0))
    }
}

impl PublicKey {
    /// Reads one key, of whatever known form.
    ///
    /// # Errors
    /// A [`KeyError`] that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if text.len() > MAX_KEY_TEXT {
            return Err(KeyError::UnknownForm);
        }
        if text.contains("PRIVATE KEY-----") || text.contains("secret key\n") {
            return Err(KeyError::Private);
        }
        if text.starts_with("-----BEGIN ") {
            return Self::from_pem(text);
        }
        if ssh::is_key(text) {
            return ssh::parse_key(text).map(|key| Self::new(Form::OpenSsh(key)));
        }
        Self::from_minisign(text)
    }

    fn from_pem(text: &str) -> Result<Self, KeyError> {
        let (label, document) = Document::from_pem(text).map_err(KeyError::Pem)?;
        if label != "PUBLIC KEY" {
            return Err(KeyError::UnknownForm);
        }
        Algorithm::from_spki(document.as_bytes()).map(|key| Self::new(Form::Pem(key)))
    }

    /// `Ed`, the key's number, the key; in base64, with or without minisign's comment line before it.
    fn from_minisign(text: &str) -> Result<Self, KeyError> {
        let line = match text.split_once('\n') {
            Some((comment, rest)) if comment.starts_with("untrusted comment:") => rest.trim(),
            _ => text,
        };
        if !line.starts_with("RW") {
            return Err(KeyError::UnknownForm);
        }
        let bytes = BASE64_STANDARD
            .decode(line)
            .map_err(|_| KeyError::Minisign)?;
        let parts = bytes
            .strip_prefix(b"Ed")
            .and_then(|rest| rest.split_first_chunk::<8>());
        let (id, point) = parts.ok_or(KeyError::Minisign)?;
        let point = point.try_into().map_err(|_| KeyError::Minisign)?;
        Ok(Self::new(Form::Minisign(
            KeyId(*id),
            Algorithm::ed25519(point)?,
        )))
    }

    fn new(form: Form) -> Self {
        let fingerprint = Fingerprint::of(&form.algorithm().spki());
        Self { form, fingerprint }
    }

    /// What identifies the key in messages and records.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Name of the key's kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.form {
            Form::Pem(Algorithm::Ed25519(_)) => "ed25519",
            Form::Pem(Algorithm::P256(_)) => "ecdsa-p256",
            Form::Minisign(..) => "minisign",
            Form::OpenSsh(Algorithm::Ed25519(_)) => "openssh ed25519",
            Form::OpenSsh(Algorithm::P256(_)) => "openssh ecdsa-p256",
        }
    }

    /// The key in its own form, written anew: nothing of the text that it was read from, such as comments, is in it.
    #[must_use]
    pub fn to_text(&self) -> String {
        match &self.form {
            Form::Pem(key) => pem(&key.spki()),
            Form::Minisign(id, key) => {
                let spki = key.spki();
                let point = &spki[spki.len() - 32..];
                BASE64_STANDARD.encode([b"Ed".as_slice(), &id.0, point].concat())
            }
            Form::OpenSsh(key) => ssh::key_line(key),
        }
    }

    /// The key, if it makes bare signatures.
    pub(super) fn plain(&self) -> Option<&Algorithm> {
        match &self.form {
            Form::Pem(key) => Some(key),
            _ => None,
        }
    }

    /// The key and its number, if it is minisign's.
    pub(super) fn minisign(&self) -> Option<(KeyId, &Algorithm)> {
        match &self.form {
            Form::Minisign(id, key) => Some((*id, key)),
            _ => None,
        }
    }

    /// The key, if it is OpenSSH's.
    pub(super) fn openssh(&self) -> Option<&Algorithm> {
        match &self.form {
            Form::OpenSsh(key) => Some(key),
            _ => None,
        }
    }
}

impl Form {
    fn algorithm(&self) -> &Algorithm {
        match self {
            Self::Pem(key) | Self::Minisign(_, key) | Self::OpenSsh(key) => key,
        }
    }
}

fn pem(der: &[u8]) -> String {
    let mut pem = "-----BEGIN PUBLIC KEY-----\n".to_owned();
    for line in BASE64_STANDARD.encode(der).as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem + "-----END PUBLIC KEY-----"
}
