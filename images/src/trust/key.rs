//! Public keys of signers: PEM (`openssl`, `cosign`) with ed25519 or ECDSA P-256, and minisign's form.
//!
//! The algorithm comes from the key alone: a signature never says how it wants to be verified.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::VerifyingKey as Ed25519Key;
use p256::ecdsa::VerifyingKey as P256Key;
use p256::ecdsa::signature::Verifier as _;
use p256::pkcs8::DecodePublicKey as _;
use sha2::{Digest as _, Sha256};
use spki::{Document, ObjectIdentifier, SubjectPublicKeyInfoRef};
use thiserror::Error;

/// The most bytes that the text of one key may have.
pub const MAX_KEY_TEXT: usize = 16 << 10;

const OID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const OID_EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const OID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// What stands before the 32 bytes of an ed25519 key in its `SubjectPublicKeyInfo`.
const SPKI_ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
/// What stands before the 65 bytes of an uncompressed P-256 point in its `SubjectPublicKeyInfo`.
const SPKI_P256: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

/// Why a text is not a usable public key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// It has none of the known forms.
    #[error("not a public key in a known form (PEM with ed25519 or ECDSA P-256, minisign)")]
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
    /// The number is no point of the curve.
    #[error("not a valid ed25519 key")]
    Ed25519(#[source] ed25519_dalek::SignatureError),
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
    Ed25519(Ed25519Key),
    P256(P256Key),
    Minisign { id: KeyId, key: Ed25519Key },
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
        Self::from_minisign(text)
    }

    fn from_pem(text: &str) -> Result<Self, KeyError> {
        let (label, document) = Document::from_pem(text).map_err(KeyError::Pem)?;
        if label != "PUBLIC KEY" {
            return Err(KeyError::UnknownForm);
        }
        let der = document.as_bytes();
        let info = SubjectPublicKeyInfoRef::try_from(der).map_err(KeyError::Spki)?;
        match info.algorithm.oid {
            OID_ED25519 => {
                let key = Ed25519Key::from_public_key_der(der).map_err(KeyError::Spki)?;
                Self::new(Form::Ed25519(strong(key)?))
            }
            OID_EC => {
                let curve = info.algorithm.parameters_oid().map_err(KeyError::Spki)?;
                if curve != OID_P256 {
                    return Err(KeyError::Algorithm(curve));
                }
                let key = P256Key::from_public_key_der(der).map_err(KeyError::Spki)?;
                Self::new(Form::P256(key))
            }
            other => Err(KeyError::Algorithm(other)),
        }
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
        let bytes: [u8; 42] = bytes.try_into().map_err(|_| KeyError::Minisign)?;
        let (Some(b"Ed"), Some((id, key))) = (bytes.get(..2), bytes[2..].split_first_chunk::<8>())
        else {
            return Err(KeyError::Minisign);
        };
        let key: [u8; 32] = key.try_into().map_err(|_| KeyError::Minisign)?;
        let key = Ed25519Key::from_bytes(&key).map_err(KeyError::Ed25519)?;
        Self::new(Form::Minisign {
            id: KeyId(*id),
            key: strong(key)?,
        })
    }

    fn new(form: Form) -> Result<Self, KeyError> {
        let fingerprint = Fingerprint::of(&form.spki());
        Ok(Self { form, fingerprint })
    }

    /// What identifies the key in messages and records.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Name of the key's kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.form {
            Form::Ed25519(_) => "ed25519",
            Form::P256(_) => "ecdsa-p256",
            Form::Minisign { .. } => "minisign",
        }
    }

    /// The key in its own form, written anew: nothing of the text that it was read from, such as comments, is in it.
    #[must_use]
    pub fn to_text(&self) -> String {
        if let Form::Minisign { id, key } = &self.form {
            return BASE64_STANDARD.encode([b"Ed".as_slice(), &id.0, key.as_bytes()].concat());
        }
        let body = BASE64_STANDARD.encode(self.form.spki());
        let mut pem = "-----BEGIN PUBLIC KEY-----\n".to_owned();
        for line in body.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|byte| char::from(*byte)));
            pem.push('\n');
        }
        pem + "-----END PUBLIC KEY-----"
    }

    /// Whether `signature`, 64 bytes of ed25519 or DER of ECDSA, is this key's over `message`.
    /// A minisign key makes no such signatures.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.form {
            Form::Ed25519(key) => verifies_ed25519(key, message, signature),
            Form::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Form::Minisign { .. } => false,
        }
    }

    /// The key and its number, if it is minisign's.
    pub(super) fn minisign(&self) -> Option<(KeyId, &Ed25519Key)> {
        match &self.form {
            Form::Minisign { id, key } => Some((*id, key)),
            _ => None,
        }
    }
}

impl Form {
    fn spki(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) | Self::Minisign { key, .. } => {
                [SPKI_ED25519, key.as_bytes().as_slice()].concat()
            }
            Self::P256(key) => [SPKI_P256, key.to_sec1_point(false).as_bytes()].concat(),
        }
    }
}

/// Strictly: no small-order points, no `S` outside its range.
pub(super) fn verifies_ed25519(key: &Ed25519Key, message: &[u8], signature: &[u8]) -> bool {
    ed25519_dalek::Signature::from_slice(signature)
        .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
}

fn strong(key: Ed25519Key) -> Result<Ed25519Key, KeyError> {
    if key.is_weak() {
        Err(KeyError::Weak)
    } else {
        Ok(key)
    }
}
