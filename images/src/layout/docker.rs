//! Images in an archive of `docker save`, `podman save` or `skopeo copy docker-archive:`.
//!
//! ```text
//! manifest.json              [{"Config": "<hex>.json", "RepoTags": ["a/b:1"], "Layers": ["<hex>.tar", …]}, …]
//! <hex>.json                 a config
//! <hex>.tar, <id>/layer.tar  a layer, as a rule not compressed; or a link to another one of the archive
//! ```
//!
//! Newer writers name the same files `blobs/sha256/<hex>`. Such an archive has no manifest that could be signed, so one is
//! made: it depends on the config and the layers alone, and is the same for every writer.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::archive::Members;
use super::{Blob, Document, LISTED, LayoutError, read};
use crate::digest::Digest;
use crate::escape;
use crate::store::CONFIG_LIMIT;
use crate::strict_json;

/// Lists the images.
const LIST: &str = "manifest.json";
/// Largest list.
const LIST_LIMIT: u64 = 4 << 20;

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// An entry of `manifest.json`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Listed {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags")]
    names: Option<Vec<String>>,
    #[serde(rename = "Layers")]
    layers: Option<Vec<String>>,
}

/// The manifest that is made. The order of the fields is part of its digest.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: &'static str,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: Digest,
    size: u64,
}

/// An open archive.
pub(super) struct DockerArchive {
    members: Members,
    images: Vec<Listed>,
    /// What manifests that were made refer to.
    blobs: Mutex<HashMap<Digest, Blob>>,
}

impl DockerArchive {
    pub(super) fn new(members: Members) -> Result<Self, LayoutError> {
        let Some(list) = members.follow(LIST) else {
            return Err(match members.open("oci-layout") {
                Some(_) => LayoutError::IsOci,
                None => LayoutError::NotDocker,
            });
        };
        let bytes = read(list, LIST, LIST_LIMIT)?;
        let images = strict_json::from_slice(&bytes, bytes.len())
            .map_err(|e| LayoutError::Parse(LIST.to_owned(), e))?;
        Ok(Self {
            members,
            images,
            blobs: Mutex::default(),
        })
    }

    /// The manifest of the image called `name`, or of the only one.
    pub(super) fn manifest(&self, name: Option<&str>) -> Result<Document, LayoutError> {
        if let Some(Ok(digest)) = name.map(Digest::parse) {
            return Err(LayoutError::NoBlob(digest));
        }
        let image = self.choose(name)?;
        let (config, diff_ids) = self.config(image)?;
        let layers = image.layers.as_deref().unwrap_or_default();
        if layers.len() != diff_ids.len() {
            return Err(LayoutError::LayerCount(layers.len(), diff_ids.len()));
        }
        let layers = layers.iter().zip(diff_ids);
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST_TYPE,
            config,
            layers: layers
                .map(|(file, diff_id)| self.layer(file, diff_id))
                .collect::<Result<_, _>>()?,
        };
        let bytes = serde_json::to_vec(&manifest)
            .map_err(|e| LayoutError::Read("the new manifest".to_owned(), e.into()))?;
        Ok(Document {
            digest: Digest::of(&bytes),
            bytes,
            media_type: Some(MANIFEST_TYPE.to_owned()),
        })
    }

    pub(super) fn blob(&self, digest: &Digest) -> Result<Blob, LayoutError> {
        let blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        let blob = blobs.get(digest).cloned();
        blob.ok_or(LayoutError::NoBlob(*digest))
    }

    fn choose(&self, name: Option<&str>) -> Result<&Listed, LayoutError> {
        let wanted = |image: &&Listed| {
            let names = image.names.iter().flatten();
            name.is_none_or(|name| names.into_iter().any(|listed| is_called(listed, name)))
        };
        let mut found = self.images.iter().filter(wanted);
        match (found.next(), name) {
            // Some writers list an image once for each of its names.
            (Some(first), _) if found.all(|other| first.is(other)) => Ok(first),
            (Some(_), _) => Err(LayoutError::SeveralImages(self.list())),
            (None, Some(name)) => Err(LayoutError::NoTag {
                tag: escape::text(name.as_bytes()),
                found: self.list(),
            }),
            (None, None) => Err(LayoutError::NoImage),
        }
    }

    /// All names in the archive.
    fn list(&self) -> String {
        let names = self.images.iter().flat_map(|image| image.names.iter());
        let names: Vec<String> = names
            .flatten()
            .take(LISTED)
            .map(|name| format!("'{}'", escape::text(name.as_bytes())))
            .collect();
        match names.is_empty() {
            true => "no tags".to_owned(),
            false => names.join(", "),
        }
    }

    fn config(&self, image: &Listed) -> Result<(Descriptor, Vec<String>), LayoutError> {
        let blob = self.member(&image.config)?;
        let size = blob.size();
        let bytes = read(blob.clone(), "the config", CONFIG_LIMIT)?;
        let digest = Digest::of(&bytes);
        let stem = image.config.rsplit('/').next().unwrap_or_default();
        match Digest::from_hex(stem.strip_suffix(".json").unwrap_or(stem)) {
            Some(wanted) if wanted != digest => {
                return Err(LayoutError::Corrupt {
                    wanted,
                    found: digest,
                });
            }
            _ => {}
        }
        let parsed: ImageConfiguration = strict_json::from_slice(&bytes, bytes.len())
            .map_err(|e| LayoutError::Parse("the config".to_owned(), e))?;
        self.keep(digest, blob);
        let descriptor = Descriptor {
            media_type: CONFIG_TYPE.to_owned(),
            digest,
            size,
        };
        Ok((descriptor, parsed.rootfs().diff_ids().clone()))
    }

    /// A layer that is not compressed is called by its diff id, which whoever unpacks it checks; the others are hashed.
    fn layer(&self, file: &str, diff_id: String) -> Result<Descriptor, LayoutError> {
        let blob = self.member(file)?;
        let unreadable = |e| LayoutError::Read(escape::text(file.as_bytes()), e);
        let mut first = [0; 4];
        let known = blob.clone().read(&mut first).map_err(unreadable)?;
        let suffix = match &first[..known] {
            [0x1f, 0x8b, ..] => "+gzip",
            [0x28, 0xb5, 0x2f, 0xfd] => "+zstd",
            _ => "",
        };
        let digest = match suffix {
            "" => Digest::parse(&diff_id).map_err(LayoutError::DiffId)?,
            _ => digest_of(blob.clone()).map_err(unreadable)?,
        };
        let size = blob.size();
        self.keep(digest, blob);
        Ok(Descriptor {
            media_type: format!("{LAYER_TYPE}{suffix}"),
            digest,
            size,
        })
    }

    fn keep(&self, digest: Digest, blob: Blob) {
        let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.insert(digest, blob);
    }

    fn member(&self, name: &str) -> Result<Blob, LayoutError> {
        let blob = self.members.follow(name);
        blob.ok_or_else(|| LayoutError::NoMember(escape::text(name.as_bytes())))
    }
}

impl Listed {
    fn is(&self, other: &Self) -> bool {
        (&self.config, &self.layers) == (&other.config, &other.layers)
    }
}

/// Whether the image listed as `listed` is meant by `name`: its tag, or its name with the parts that docker leaves out.
fn is_called(listed: &str, name: &str) -> bool {
    let tag = listed.rsplit_once(':').map(|(_, tag)| tag);
    let with_tag = match name.rsplit_once(':') {
        Some((_, end)) if !end.contains('/') => name.to_owned(),
        _ => format!("{name}:latest"),
    };
    tag == Some(name) || short(listed) == short(&with_tag)
}

fn short(name: &str) -> &str {
    let bare = name.strip_prefix("docker.io/").unwrap_or(name);
    bare.strip_prefix("library/").unwrap_or(bare)
}

fn digest_of(mut blob: Blob) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match blob.read(&mut buffer)? {
            0 => return Ok(Digest::finish(hasher)),
            count => hasher.update(&buffer[..count]),
        }
    }
}
