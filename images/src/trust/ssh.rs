//! OpenSSH: public keys as in `id_ed25519.pub`, and signature files of `ssh-keygen -Y sign`.
//!
//! What is signed is not the manifest but a record with its hash and a *namespace*, so that a signature made for another purpose,
//! such as a git commit, proves nothing here. Ours are `skua` and, as the manual of `ssh-keygen` has it, `file`.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use p256::ecdsa::Signature as P256Signature;
use sha2::{Digest as _, Sha256, Sha512};

use super::algorithm::Algorithm;
use super::key::KeyError;

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
const MAGIC: &[u8] = b"SSHSIG";
const NAMESPACES: [&[u8]; 2] = [b"skua", b"file"];

/// OpenSSH's name of ed25519.
const ED25519: &str = "ssh-ed25519";
/// OpenSSH's name of ECDSA P-256.
const P256: &str = "ecdsa-sha2-nistp256";

/// Whether a text begins like a public key of OpenSSH that we can use.
pub(super) fn is_key(text: &str) -> bool {
    let kind = text.split(' ').next().unwrap_or_default();
    kind == ED25519 || kind == P256
}

/// Type, base64, comment; one line.
pub(super) fn parse_key(text: &str) -> Result<Algorithm, KeyError> {
    let (kind, blob) = key_words(text).ok_or(KeyError::OpenSsh)?;
    let mut reader = Reader(&blob);
    let mut string = || reader.string().ok_or(KeyError::OpenSsh);
    if string()? != kind.as_bytes() || (kind == P256 && string()? != b"nistp256") {
        return Err(KeyError::OpenSsh);
    }
    let point = string()?;
    if !reader.0.is_empty() {
        return Err(KeyError::OpenSsh);
    }
    match kind {
        P256 => Algorithm::p256(point),
        _ => Algorithm::ed25519(point.try_into().map_err(|_| KeyError::OpenSsh)?),
    }
}

fn key_words(text: &str) -> Option<(&str, Vec<u8>)> {
    let mut words = text
        .split_ascii_whitespace()
        .filter(|_| !text.contains('\n'));
    let (kind, blob) = (words.next()?, words.next()?);
    Some((kind, BASE64_STANDARD.decode(blob).ok()?))
}

/// The key as a line of a file, without a comment.
pub(super) fn key_line(key: &Algorithm) -> String {
    let kind = match key {
        Algorithm::Ed25519(_) => ED25519,
        Algorithm::P256(_) => P256,
    };
    format!("{kind} {}", BASE64_STANDARD.encode(key_blob(key)))
}

/// The key as it stands in signatures.
fn key_blob(key: &Algorithm) -> Vec<u8> {
    let mut blob = Vec::new();
    match key {
        Algorithm::Ed25519(key) => {
            put(&mut blob, ED25519.as_bytes());
            put(&mut blob, key.as_bytes());
        }
        Algorithm::P256(key) => {
            put(&mut blob, P256.as_bytes());
            put(&mut blob, b"nistp256");
            put(&mut blob, key.to_sec1_point(false).as_bytes());
        }
    }
    blob
}

/// A signature file, parsed but not verified.
pub(super) struct Signature {
    key: Vec<u8>,
    namespace: Vec<u8>,
    reserved: Vec<u8>,
    hash: Hash,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Hash {
    Sha256,
    Sha512,
}

impl Signature {
    pub(super) fn parse(file: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(file).ok()?.trim();
        let body = text.strip_prefix(BEGIN)?.strip_suffix(END)?;
        let body: String = body.split_ascii_whitespace().collect();
        let blob = BASE64_STANDARD.decode(body).ok()?;
        let mut reader = Reader(blob.strip_prefix(MAGIC)?);
        if reader.number()? != 1 {
            return None;
        }
        let key = reader.string()?.to_vec();
        let namespace = reader.string()?.to_vec();
        let reserved = reader.string()?.to_vec();
        let hash = match reader.string()? {
            b"sha256" => Hash::Sha256,
            b"sha512" => Hash::Sha512,
            _ => return None,
        };
        let mut inner = Reader(reader.string()?);
        let (algorithm, signature) = (inner.string()?.to_vec(), inner.string()?.to_vec());
        let whole = reader.0.is_empty() && inner.0.is_empty();
        whole.then_some(Self {
            key,
            namespace,
            reserved,
            hash,
            algorithm,
            signature,
        })
    }

    /// Whether it is made for signing files or images, and not for something else.
    pub(super) fn is_for_images(&self) -> bool {
        NAMESPACES.contains(&self.namespace.as_slice())
    }

    /// What it is made for, foreign text.
    pub(super) fn namespace(&self) -> &[u8] {
        &self.namespace
    }

    /// Whether it claims to be by `key`.
    pub(super) fn names(&self, key: &Algorithm) -> bool {
        self.key == key_blob(key)
    }

    /// The key that it claims to be by, as `ssh-keygen -l` shows keys.
    pub(super) fn key_name(&self) -> String {
        format!(
            "SHA256:{}",
            BASE64_STANDARD_NO_PAD.encode(Sha256::digest(&self.key))
        )
    }

    /// Whether `key` has signed `data`.
    pub(super) fn is_by(&self, key: &Algorithm, data: &[u8]) -> bool {
        let hash = match self.hash {
            Hash::Sha256 => ("sha256", Sha256::digest(data).to_vec()),
            Hash::Sha512 => ("sha512", Sha512::digest(data).to_vec()),
        };
        let mut signed = MAGIC.to_vec();
        for part in [&self.namespace, &self.reserved, hash.0.as_bytes(), &hash.1] {
            put(&mut signed, part);
        }
        match key {
            Algorithm::Ed25519(_) if self.algorithm == ED25519.as_bytes() => {
                key.verifies(&signed, &self.signature)
            }
            Algorithm::P256(_) if self.algorithm == P256.as_bytes() => {
                ecdsa(&self.signature).is_some_and(|signature| key.verifies(&signed, &signature))
            }
            _ => false,
        }
    }
}

/// Two multi-precision integers, as the DER that everybody else uses.
fn ecdsa(blob: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader(blob);
    let (r, s) = (scalar(reader.string()?)?, scalar(reader.string()?)?);
    let signature = P256Signature::from_scalars(r, s).ok()?;
    reader
        .0
        .is_empty()
        .then(|| signature.to_der().as_bytes().to_vec())
}

/// A positive integer of at most 32 bytes, in its shortest form.
fn scalar(integer: &[u8]) -> Option<[u8; 32]> {
    let digits = match integer {
        [0, first, ..] if *first >= 0x80 => &integer[1..],
        [first, ..] if (1..0x80).contains(first) => integer,
        _ => return None,
    };
    let mut scalar = [0; 32];
    scalar
        .get_mut(32usize.checked_sub(digits.len())?..)?
        .copy_from_slice(digits);
    Some(scalar)
}

fn put(blob: &mut Vec<u8>, string: &[u8]) {
    // What is put here is shorter than a file of evidence.
    let length = u32::try_from(string.len()).unwrap_or(u32::MAX);
    blob.extend(length.to_be_bytes());
    blob.extend(string);
}

/// Reads OpenSSH's encoding: numbers of four bytes, strings with their length before them.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (string, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(string)
    }
}
