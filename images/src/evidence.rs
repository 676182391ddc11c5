//! Evidence: what was fetched beside an image to prove where it comes from, kept byte for byte and judged at every run.
//!
//! ```text
//! evidence/sha256/<manifest>/
//!     <id>.cosign     cosign's signature in base64, over
//!     <id>.payload    the simple-signing document that it signs
//!     <id>.minisig    a minisign signature file over the manifest
//!     <id>.sshsig     a signature file of `ssh-keygen -Y sign` over the manifest
//!     <id>.bundle     a Sigstore bundle
//!     <id>.sig        a bare signature over the manifest, binary or base64
//! ```
//!
//! `<id>` is the beginning of the SHA-256 of the item, so that adding the same item twice changes nothing. Files of other names
//! are left alone: later kinds of evidence live beside these. Nothing here is trusted: whoever can write the directory
//! can only take evidence away.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use thiserror::Error;

use crate::digest::Digest;
use crate::small_file::{self, By};

/// The most items that one image may have.
pub const MAX_ITEMS: usize = 32;
/// The most bytes of a simple-signing document, a signature or a signature file.
pub const MAX_ITEM: usize = 64 << 10;

/// One proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// cosign's: a simple-signing document and the signature over it.
    Cosign {
        /// The document.
        payload: Vec<u8>,
        /// The signature in base64, as in annotation `dev.cosignproject.cosign/signature`.
        signature: Vec<u8>,
    },
    /// A minisign signature file over the manifest.
    Minisign(Vec<u8>),
    /// A signature file of `ssh-keygen -Y sign` over the manifest.
    OpenSsh(Vec<u8>),
    /// A Sigstore bundle.
    Bundle(Vec<u8>),
    /// A signature over the manifest and nothing else: ed25519 of 64 bytes or ECDSA in DER, binary or base64.
    Bare(Vec<u8>),
}

/// What went wrong with evidence.
#[derive(Debug, Error)]
pub enum EvidenceError {
    /// It cannot be read.
    #[error("cannot read evidence {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A signature that the user names cannot be read.
    #[error("cannot read signature {}", .0.display())]
    Detached(PathBuf, #[source] io::Error),
    /// There is more than any image needs.
    #[error("more than {MAX_ITEMS} signatures for one image")]
    TooMany,
    /// An item is longer than its kind may be.
    #[error("a signature of {0} bytes, more than the {1} allowed")]
    TooLarge(usize, usize),
    /// A kept item is not what its name says, or only half of it is there.
    #[error("evidence {} is damaged", .0.display())]
    Damaged(PathBuf),
    /// A file given as a signature is none.
    #[error("{} is not a signature in a known form (minisign, OpenSSH, a Sigstore bundle, or bare ed25519 or ECDSA)", .0.display())]
    UnknownForm(PathBuf),
}

impl Item {
    /// Reads a detached signature (`--signature FILE`), whose form is told by its first bytes.
    ///
    /// # Errors
    /// [`EvidenceError`] when it cannot be read or is no signature.
    pub fn load_detached(path: &Path) -> Result<Self, EvidenceError> {
        let read = |e| EvidenceError::Detached(path.to_owned(), e);
        let bytes = small_file::required(path, MAX_ITEM, By::CommandLine).map_err(read)?;
        if bytes.starts_with(b"untrusted comment:") {
            return Ok(Self::Minisign(bytes));
        }
        if bytes.starts_with(b"-----BEGIN SSH SIGNATURE-----") {
            return Ok(Self::OpenSsh(bytes));
        }
        // Before the bundle: the bytes of a bare signature are random, and may begin like JSON.
        if bare(&bytes).is_some() {
            return Ok(Self::Bare(bytes));
        }
        if bytes.trim_ascii_start().starts_with(b"{") {
            return Ok(Self::Bundle(bytes));
        }
        Err(EvidenceError::UnknownForm(path.to_owned()))
    }

    fn check_size(&self) -> Result<(), EvidenceError> {
        let longest = match self {
            Self::Cosign { payload, signature } => payload.len().max(signature.len()),
            Self::Minisign(file) | Self::OpenSsh(file) | Self::Bundle(file) | Self::Bare(file) => {
                file.len()
            }
        };
        if longest > MAX_ITEM {
            return Err(EvidenceError::TooLarge(longest, MAX_ITEM));
        }
        Ok(())
    }

    /// The files that hold the item, in the order of writing: only the last one makes it count.
    fn files(&self) -> Vec<(String, &[u8])> {
        let named = |bytes: &[u8], extension| {
            let id = &Digest::of(bytes).hex()[..ID_DIGITS];
            format!("{id}.{extension}")
        };
        match self {
            Self::Cosign { payload, signature } => {
                let both = [payload.as_slice(), signature].concat();
                vec![
                    (named(&both, "payload"), payload),
                    (named(&both, "cosign"), signature),
                ]
            }
            Self::Minisign(file) => vec![(named(file, "minisig"), file)],
            Self::OpenSsh(file) => vec![(named(file, "sshsig"), file)],
            Self::Bundle(file) => vec![(named(file, "bundle"), file)],
            Self::Bare(file) => vec![(named(file, "sig"), file)],
        }
    }

    fn is_named(&self, name: &str) -> bool {
        self.files().pop().is_some_and(|(whole, _)| whole == name)
    }

    /// What identifies the item in messages: its kind and the beginning of its digest.
    pub(crate) fn label(&self) -> String {
        let kind = match self {
            Self::Cosign { .. } => "cosign signature",
            Self::Minisign(_) => "minisign signature",
            Self::OpenSsh(_) => "OpenSSH signature",
            Self::Bundle(_) => "bundle",
            Self::Bare(_) => "bare signature",
        };
        let name = self.files().pop().map(|(name, _)| name).unwrap_or_default();
        format!("{kind} {}", name.get(..8).unwrap_or_default())
    }
}

/// Digits of a digest in a file name: enough that no two items of an image meet by chance.
const ID_DIGITS: usize = 32;

/// The signature in a bare signature file: its bytes, or what its base64 says.
pub(crate) fn bare(file: &[u8]) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let is_signature = |bytes: &[u8]| bytes.len() == 64 || is_der(bytes);
    if is_signature(file) {
        return Some(file.to_vec());
    }
    let decoded = base64::prelude::BASE64_STANDARD
        .decode(file.trim_ascii())
        .ok()?;
    is_signature(&decoded).then_some(decoded)
}

/// Whether it could be an ECDSA signature: one short SEQUENCE and nothing else.
fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, length, rest @ ..] if usize::from(*length) == rest.len() && rest.len() < 128)
}

/// All evidence about one image.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    items: Vec<Item>,
    indexes: Vec<Digest>,
}

impl Evidence {
    /// Reads the evidence directory of an image; none is no evidence.
    ///
    /// # Errors
    /// [`EvidenceError`] when it cannot be read or is more than [`Evidence::add`] would have taken.
    pub fn load(directory: &Path) -> Result<Self, EvidenceError> {
        let mut evidence = Self::default();
        for name in names(directory)? {
            if let Some(item) = load_item(directory, &name)? {
                evidence.add(item)?;
            }
        }
        Ok(evidence)
    }

    /// As [`Evidence::load`], without items that are damaged or cannot be read, of which one is told: names are made of
    /// contents, so it shows. What replaces one has its name.
    ///
    /// # Errors
    /// As [`Evidence::load`], of the directory as a whole.
    pub fn load_whole(directory: &Path) -> Result<(Self, Option<EvidenceError>), EvidenceError> {
        let (mut evidence, mut damage) = (Self::default(), None);
        for name in names(directory)? {
            match load_item(directory, &name) {
                Ok(Some(item)) if item.is_named(&name) => evidence.add(item)?,
                Ok(None) if !is_half(directory, &name) => {}
                Ok(_) => damage = Some(EvidenceError::Damaged(directory.join(&name))),
                Err(error) => damage = Some(error),
            }
        }
        Ok((evidence, damage))
    }

    /// Adds an item, unless it is there.
    ///
    /// # Errors
    /// [`EvidenceError::TooMany`] or [`EvidenceError::TooLarge`].
    pub fn add(&mut self, item: Item) -> Result<(), EvidenceError> {
        item.check_size()?;
        if self.items.contains(&item) {
            return Ok(());
        }
        if self.items.len() >= MAX_ITEMS {
            return Err(EvidenceError::TooMany);
        }
        self.items.push(item);
        Ok(())
    }

    /// Adds what another image's evidence has; both were within bounds.
    pub fn merge(&mut self, other: Self) {
        for item in other.items {
            if !self.items.contains(&item) {
                self.items.push(item);
            }
        }
    }

    /// The files that hold all items, in the order of writing.
    pub(crate) fn files(&self) -> impl Iterator<Item = (String, &[u8])> {
        self.items.iter().flat_map(Item::files)
    }

    /// Says that the index with this digest lists the image's manifest, as the store has verified: multi-platform images
    /// are signed by their index, whose digest covers those of its manifests.
    pub fn add_index(&mut self, index: Digest) {
        self.indexes.push(index);
    }

    /// The indexes that list the manifest.
    pub(crate) fn indexes(&self) -> &[Digest] {
        &self.indexes
    }

    /// The items.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.iter()
    }
}

/// The names in an evidence directory; none when it is not there.
fn names(directory: &Path) -> Result<Vec<String>, EvidenceError> {
    let read = |e| EvidenceError::Read(directory.to_owned(), e);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(read(e)),
    };
    let name = |entry: io::Result<fs::DirEntry>| {
        let name = entry.map_err(read)?.file_name();
        Ok(name.to_string_lossy().into_owned())
    };
    entries.map(name).collect()
}

/// Whether it is half of an item of two files whose other half is gone.
fn is_half(directory: &Path, name: &str) -> bool {
    match name.split_once('.') {
        Some((_, "cosign")) => true,
        Some((id, "payload")) => {
            let other = directory.join(format!("{id}.cosign"));
            fs::symlink_metadata(other).is_err()
        }
        _ => false,
    }
}

fn load_item(directory: &Path, name: &str) -> Result<Option<Item>, EvidenceError> {
    let read = |name: &str| {
        let path = directory.join(name);
        // Never through a link, never waiting for a fifo.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = File::options()
            .read(true)
            .custom_flags(flags.bits() as i32)
            .open(&path);
        file.and_then(bounded)
            .map_err(|e| EvidenceError::Read(path, e))
    };
    let Some((id, extension)) = name.split_once('.') else {
        return Ok(None);
    };
    Ok(match extension {
        "cosign" => match read(&format!("{id}.payload")) {
            // Half of an item proves nothing, and does not stand in the way of the others.
            Err(EvidenceError::Read(path, e)) if e.kind() == io::ErrorKind::NotFound => {
                log::debug!(
                    "{} is missing, so its signature is not used",
                    path.display()
                );
                None
            }
            payload => Some(Item::Cosign {
                payload: payload?,
                signature: read(name)?,
            }),
        },
        "minisig" => Some(Item::Minisign(read(name)?)),
        "sshsig" => Some(Item::OpenSsh(read(name)?)),
        "bundle" => Some(Item::Bundle(read(name)?)),
        "sig" => Some(Item::Bare(read(name)?)),
        _ => None,
    })
}

/// Reads up to one byte more than an item may have, so that what is too long is seen to be.
fn bounded(file: File) -> io::Result<Vec<u8>> {
    let size = file.metadata()?.len().min(MAX_ITEM as u64);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    file.take(MAX_ITEM as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_signature_that_begins_like_json_is_no_bundle() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for first in [b"{\"".as_slice(), b" {", b"\n{"] {
            let mut signature = [0xa5; 64];
            signature[..2].copy_from_slice(first);
            std::fs::write(file.path(), signature).unwrap();
            let item = Item::load_detached(file.path()).unwrap();
            assert!(matches!(item, Item::Bare(_)), "{first:?}");
        }
        std::fs::write(file.path(), "{\"mediaType\": \"a bundle\"}").unwrap();
        let item = Item::load_detached(file.path()).unwrap();
        assert!(matches!(item, Item::Bundle(_)));
    }
}
