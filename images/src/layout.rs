//! Read-only access to images outside of the store: a directory in the OCI image layout, a tar archive of one, or an
//! archive of `docker save`.
//!
//! Everything in it was made by a stranger: files are opened without following links and without waiting for fifos, must
//! be regular, and are read only as far as asked for. Documents are verified against their digests here; who reads a
//! [`Blob`] verifies it on the way.

mod archive;
mod directory;
mod docker;
mod spool;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use oci_spec::image::{Descriptor, ImageIndex};

use crate::digest::Digest;
use crate::escape;
use crate::strict_json::{self, JsonError};

/// Largest `index.json`.
const INDEX_LIMIT: u64 = 4 << 20;
/// Most images that a message lists.
const LISTED: usize = 10;
/// Which image of a layout has which tag.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Why an image cannot be had from a layout.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file of the layout cannot be read.
    #[error("cannot read {0} of the image layout")]
    Read(String, #[source] io::Error),
    /// A file of the layout is not a regular file.
    #[error("{0} of the image layout is not a regular file")]
    NotAFile(String),
    /// A file of the layout is too large.
    #[error("{0} of the image layout has more than {1} bytes")]
    TooLarge(String, u64),
    /// A document is not what it should be.
    #[error("cannot parse {0} of the image layout")]
    Parse(String, #[source] JsonError),
    /// It is something else.
    #[error("it is no tar archive: {0}")]
    NotTar(&'static str),
    /// It is not a layout of the version that we know.
    #[error("it is not an OCI image layout of version 1.0.0")]
    Version,
    /// A document's bytes are not those of its name.
    #[error("blob {wanted} of the image layout is corrupt: its digest is {found}")]
    Corrupt {
        /// Its name.
        wanted: Digest,
        /// What it holds.
        found: Digest,
    },
    /// There is no such blob.
    #[error("the image layout has no blob {0}")]
    NoBlob(Digest),
    /// There is no such tag.
    #[error("there is none with tag '{tag}'; it has {found}")]
    NoTag {
        /// The tag.
        tag: String,
        /// The tags that it has.
        found: String,
    },
    /// There are several images and none was chosen.
    #[error("the image layout has several images: add one of the tags {0}")]
    SeveralImages(String),
    /// Its index uses a digest that we do not know.
    #[error("index.json of the image layout names an image by an unusable digest")]
    Digest(#[source] crate::digest::DigestError),
    /// The archive is not a tar archive.
    #[error("cannot read the image archive")]
    Archive(#[source] crate::unpack::UnpackError),
    /// The archive has no byte.
    #[error("the image archive is empty")]
    Empty,
    /// The archive is compressed in a way that we do not read.
    #[error(
        "the image archive is compressed with {0}, which skua does not read: decompress it first"
    )]
    Compressed(&'static str),
    /// The archive cannot be copied to where it can be read.
    #[error("cannot keep a copy of the image archive while it is read")]
    Spool(#[source] io::Error),
    /// It has no list of images.
    #[error("the archive is none of 'docker save': it has no manifest.json")]
    NotDocker,
    /// It is an OCI layout.
    #[error("the archive is an OCI image layout: write oci-archive: in place of docker-archive:")]
    IsOci,
    /// It is not an OCI layout.
    #[error("the archive is one of 'docker save': write docker-archive: in place of oci-archive:")]
    IsDocker,
    /// It lists no image.
    #[error("the manifest.json of the archive lists no image")]
    NoImage,
    /// It names a file that is not there.
    #[error("the archive has no file '{0}', which its manifest.json names")]
    NoMember(String),
    /// It has more or fewer layers than the config.
    #[error("the manifest.json of the archive lists {0} layers, the config {1}")]
    LayerCount(usize, usize),
    /// The config calls a layer by something else than a digest.
    #[error("the config in the archive has an unusable diff id")]
    DiffId(#[source] crate::digest::DigestError),
    /// The archive ends too early.
    #[error("the image archive is cut off")]
    Truncated,
    /// The archive has two files of one name, or too many.
    #[error("the image archive {0}")]
    Ambiguous(&'static str),
}

/// An open layout.
pub struct Layout {
    source: Source,
}

enum Source {
    Directory(OwnedFd),
    Archive(archive::Members),
    Docker(docker::DockerArchive),
}

/// A document and what the layout says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its bytes, whose digest was checked.
    pub bytes: Vec<u8>,
    /// Its digest.
    pub digest: Digest,
    /// The media type in `index.json`, if it is listed there.
    pub media_type: Option<String>,
}

/// The bytes of a blob, not verified. Clones of the file share nothing but the file.
#[derive(Clone, Debug)]
pub struct Blob {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Layout {
    /// The layout in an open directory.
    ///
    /// # Errors
    /// [`LayoutError`] when it is not one.
    pub fn directory(directory: OwnedFd) -> Result<Self, LayoutError> {
        Self::checked(Source::Directory(directory))
    }

    /// The layout in an open tar archive, whose headers are all read once. An archive that is compressed or comes through a
    /// pipe is copied into `scratch`.
    ///
    /// # Errors
    /// [`LayoutError`] when it is not one.
    pub fn archive(archive: File, scratch: Option<File>) -> Result<Self, LayoutError> {
        let members = archive::members(spool::seekable(archive, scratch)?)?;
        let is_docker =
            members.open("oci-layout").is_none() && members.open("manifest.json").is_some();
        match is_docker {
            true => Err(LayoutError::IsDocker),
            false => Self::checked(Source::Archive(members)),
        }
    }

    /// The images in an open archive of `docker save`; otherwise as [`Layout::archive`].
    ///
    /// # Errors
    /// [`LayoutError`] when it is not one.
    pub fn docker_archive(archive: File, scratch: Option<File>) -> Result<Self, LayoutError> {
        let members = archive::members(spool::seekable(archive, scratch)?)?;
        let source = Source::Docker(docker::DockerArchive::new(members)?);
        Ok(Self { source })
    }

    fn checked(source: Source) -> Result<Self, LayoutError> {
        let layout = Self { source };
        let bytes = layout.file("oci-layout", 4096)?;
        let found: serde_json::Value = strict_json::from_slice(&bytes, bytes.len())
            .map_err(|e| LayoutError::Parse("oci-layout".to_owned(), e))?;
        match found["imageLayoutVersion"].as_str() {
            Some("1.0.0") => Ok(layout),
            _ => Err(LayoutError::Version),
        }
    }

    /// The manifest or index called `name`: a digest, a tag, or absent for the only image. At most `limit` bytes.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn manifest(&self, name: Option<&str>, limit: u64) -> Result<Document, LayoutError> {
        if let Source::Docker(archive) = &self.source {
            return archive.manifest(name);
        }
        let index = self.index()?;
        if let Some(Ok(digest)) = name.map(Digest::parse) {
            let listed = index
                .iter()
                .find(|entry| entry.digest().as_ref() == digest.to_string());
            let media_type = listed.map(|entry| entry.media_type().to_string());
            return self.document(digest, media_type, limit);
        }
        let chosen = choose(&index, name)?;
        let digest = Digest::parse(chosen.digest().as_ref()).map_err(LayoutError::Digest)?;
        self.document(digest, Some(chosen.media_type().to_string()), limit)
    }

    /// A blob. Its bytes are not verified here.
    ///
    /// # Errors
    /// [`LayoutError::NoBlob`] and others.
    pub fn blob(&self, digest: &Digest) -> Result<Blob, LayoutError> {
        if let Source::Docker(archive) = &self.source {
            return archive.blob(digest);
        }
        match self.open(&format!("blobs/sha256/{}", digest.hex()))? {
            Some(blob) => Ok(blob),
            None => Err(LayoutError::NoBlob(*digest)),
        }
    }

    fn document(
        &self,
        digest: Digest,
        media_type: Option<String>,
        limit: u64,
    ) -> Result<Document, LayoutError> {
        let bytes = read(self.blob(&digest)?, &digest.to_string(), limit)?;
        match Digest::of(&bytes) {
            found if found == digest => Ok(Document {
                bytes,
                digest,
                media_type,
            }),
            found => Err(LayoutError::Corrupt {
                wanted: digest,
                found,
            }),
        }
    }

    fn index(&self) -> Result<Vec<Descriptor>, LayoutError> {
        let bytes = self.file("index.json", INDEX_LIMIT)?;
        let index: ImageIndex = strict_json::from_slice(&bytes, bytes.len())
            .map_err(|e| LayoutError::Parse("index.json".to_owned(), e))?;
        Ok(index.manifests().clone())
    }

    fn file(&self, name: &str, limit: u64) -> Result<Vec<u8>, LayoutError> {
        match self.open(name)? {
            Some(blob) => read(blob, name, limit),
            None => Err(LayoutError::Version),
        }
    }

    fn open(&self, name: &str) -> Result<Option<Blob>, LayoutError> {
        match &self.source {
            Source::Directory(directory) => directory::open(directory, name),
            Source::Archive(members) => Ok(members.open(name)),
            // It has no layout; its blobs are found by its own list.
            Source::Docker(_) => Ok(None),
        }
    }
}

/// The image with a tag, or the only one that is not a signature.
fn choose<'a>(index: &'a [Descriptor], tag: Option<&str>) -> Result<&'a Descriptor, LayoutError> {
    let images: Vec<(&Descriptor, &str)> =
        index.iter().map(|entry| (entry, ref_name(entry))).collect();
    let Some(tag) = tag else {
        let mut only = images.iter().filter(|(_, name)| !is_signature(name));
        return match (only.next(), only.next()) {
            (Some((entry, _)), None) => Ok(entry),
            _ => Err(LayoutError::SeveralImages(list(&images))),
        };
    };
    let whole = images.iter().find(|(_, name)| *name == tag);
    // Some tools write the whole reference.
    let end = || {
        let with_tag = |name: &str| {
            name.strip_suffix(tag)
                .is_some_and(|rest| rest.ends_with(':'))
        };
        images.iter().find(|(_, name)| with_tag(name))
    };
    match whole.or_else(end) {
        Some((entry, _)) => Ok(entry),
        None => Err(LayoutError::NoTag {
            tag: tag.to_owned(),
            found: list(&images),
        }),
    }
}

fn ref_name(entry: &Descriptor) -> &str {
    entry
        .annotations()
        .as_ref()
        .and_then(|annotations| annotations.get(REF_NAME))
        .map_or("", String::as_str)
}

/// `sha256-<hex>.sig` and the like: what belongs to another image.
fn is_signature(name: &str) -> bool {
    name.strip_prefix("sha256-")
        .and_then(|rest| rest.get(..64))
        .is_some_and(|hex| Digest::from_hex(hex).is_some())
}

fn list(images: &[(&Descriptor, &str)]) -> String {
    let named: Vec<String> = images
        .iter()
        .filter(|(_, name)| !name.is_empty() && !is_signature(name))
        .take(LISTED)
        .map(|(_, name)| format!("'{}'", escape::text(name.as_bytes())))
        .collect();
    match named.is_empty() {
        true => "no tags".to_owned(),
        false => named.join(", "),
    }
}

fn read(blob: Blob, name: &str, limit: u64) -> Result<Vec<u8>, LayoutError> {
    if blob.size() > limit {
        return Err(LayoutError::TooLarge(name.to_owned(), limit));
    }
    let mut bytes = Vec::new();
    blob.take(limit)
        .read_to_end(&mut bytes)
        .map_err(|e| LayoutError::Read(name.to_owned(), e))?;
    Ok(bytes)
}

impl Blob {
    /// Its size, as the layout has it.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.end - self.at
    }
}

impl Read for Blob {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let amount = left.min(into.len());
        let read = self.file.read_at(&mut into[..amount], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
