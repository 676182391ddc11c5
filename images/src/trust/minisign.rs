//! Signature files of `minisign`: the legacy form over the data and the usual one over its BLAKE2b hash.
//!
//! Two signatures are in such a file: one over the data, one over the first and the trusted comment. Both must hold.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use blake2::{Blake2b512, Digest as _};

use super::key::{KeyId, PublicKey};

/// A signature file, parsed but not verified.
pub(super) struct Signature<'a> {
    prehashed: Prehashed,
    /// Number of the key that claims to have signed.
    pub(super) key_id: KeyId,
    signature: [u8; 64],
    /// Printed only escaped, and only after verification.
    pub(super) trusted_comment: &'a str,
    global: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Prehashed {
    No,
    Blake2b,
}

impl<'a> Signature<'a> {
    /// Four lines, and nothing after them.
    pub(super) fn parse(file: &'a [u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(file)
            .ok()?
            .trim_end_matches(['\r', '\n'])
            .lines();
        lines.next()?.strip_prefix("untrusted comment:")?;
        let bytes: [u8; 74] = BASE64_STANDARD
            .decode(lines.next()?)
            .ok()?
            .try_into()
            .ok()?;
        let trusted_comment = lines.next()?.strip_prefix("trusted comment: ")?;
        let global = BASE64_STANDARD.decode(lines.next()?).ok()?;
        if lines.next().is_some() {
            return None;
        }
        let (algorithm, rest) = bytes.split_first_chunk::<2>()?;
        let (key_id, signature) = rest.split_first_chunk::<8>()?;
        let prehashed = match algorithm {
            b"Ed" => Prehashed::No,
            b"ED" => Prehashed::Blake2b,
            _ => return None,
        };
        let signature = signature.try_into().ok()?;
        Some(Self {
            prehashed,
            key_id: KeyId(*key_id),
            signature,
            trusted_comment,
            global,
        })
    }

    /// Whether `key` made this file for `data`: key number, signature, and the signature over the trusted comment.
    pub(super) fn is_by(&self, key: &PublicKey, data: &[u8]) -> bool {
        let Some((key_id, key)) = key.minisign() else {
            return false;
        };
        let signed = match self.prehashed {
            Prehashed::No => data.to_vec(),
            Prehashed::Blake2b => Blake2b512::digest(data).to_vec(),
        };
        let comment = [self.signature.as_slice(), self.trusted_comment.as_bytes()].concat();
        key_id == self.key_id
            && key.verifies(&signed, &self.signature)
            && key.verifies(&comment, &self.global)
    }
}
