//! The two algorithms of signatures, strictly verified: what a lax verifier would also take is refused.

use ed25519_dalek::VerifyingKey as Ed25519Key;
use p256::ecdsa::VerifyingKey as P256Key;
use p256::ecdsa::signature::Verifier as _;
use p256::pkcs8::DecodePublicKey as _;
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};

use super::key::KeyError;

const OID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const OID_EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const OID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// What stands before the 32 bytes of an ed25519 key in its `SubjectPublicKeyInfo`.
const SPKI_ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
/// What stands before the 65 bytes of an uncompressed P-256 point in its `SubjectPublicKeyInfo`.
const SPKI_P256: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

/// A public key without its form.
#[derive(Clone, Debug)]
pub(super) enum Algorithm {
    Ed25519(Ed25519Key),
    P256(P256Key),
}

impl Algorithm {
    /// A point of ed25519 that is not one of the few for which anybody can make signatures.
    pub(super) fn ed25519(point: &[u8; 32]) -> Result<Self, KeyError> {
        let key = Ed25519Key::from_bytes(point).map_err(KeyError::Point)?;
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        Ok(Self::Ed25519(key))
    }

    /// A point of P-256 in the encoding of SEC 1.
    pub(super) fn p256(point: &[u8]) -> Result<Self, KeyError> {
        P256Key::from_sec1_bytes(point)
            .map(Self::P256)
            .map_err(KeyError::Point)
    }

    /// A `SubjectPublicKeyInfo` in DER.
    pub(super) fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let info = SubjectPublicKeyInfoRef::try_from(der).map_err(KeyError::Spki)?;
        match info.algorithm.oid {
            OID_ED25519 => {
                let key = Ed25519Key::from_public_key_der(der).map_err(KeyError::Spki)?;
                Self::ed25519(key.as_bytes())
            }
            OID_EC => match info.algorithm.parameters_oid().map_err(KeyError::Spki)? {
                OID_P256 => P256Key::from_public_key_der(der)
                    .map(Self::P256)
                    .map_err(KeyError::Spki),
                other => Err(KeyError::Algorithm(other)),
            },
            other => Err(KeyError::Algorithm(other)),
        }
    }

    /// The key as a `SubjectPublicKeyInfo`: one encoding for each key.
    pub(super) fn spki(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => [SPKI_ED25519, key.as_bytes().as_slice()].concat(),
            Self::P256(key) => [SPKI_P256, key.to_sec1_point(false).as_bytes()].concat(),
        }
    }

    /// Whether `signature` is this key's over `message`: of ed25519 64 bytes, without small-order points and `S` out of
    /// range; of ECDSA strict DER of two numbers that are not zero.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Self::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
        }
    }
}
