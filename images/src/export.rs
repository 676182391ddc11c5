//! An image of the store as an archive of an OCI image layout, which skopeo and podman read.
//!
//! Layers whose blobs were kept are written as they were fetched. The others are made again from their trees, as plain
//! tar: such a layer has another digest than the one that was fetched, so config and manifest are made again too.
//! Whatever goes into the archive has been hashed before, and is hashed again on its way.
//!
//! With an image that is as it was fetched go the signatures that the store has for it, and the index that it was chosen
//! from: one may have signed that.

mod error;
mod signatures;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};

use oci_spec::image::ImageManifest;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::EntryType;

use crate::digest::Digest;
use crate::evidence::Evidence;
use crate::fetch::workers::Workers;
use crate::layout::REF_NAME;
use crate::pack::{Archive, Metadata, Packing, What};
use crate::reference::ImageName;
use crate::store::{CONFIG_LIMIT, Image, MANIFEST_LIMIT, Store};
pub use error::ExportError;
use signatures::Signatures;

const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// What was exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The manifest in the archive.
    pub manifest: Digest,
    /// How many layers had to be made again.
    pub remade: usize,
    /// What of the image is not in the archive, in words.
    pub lost: Vec<String>,
    /// How many signatures are in the archive.
    pub signatures: usize,
}

/// Whether signatures are exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// Where they cover what is exported. Other readers must then name the image's tag.
    Signatures,
    /// The archive has one image and nothing else.
    ImageAlone,
}

/// A layer in the archive.
struct Layer {
    /// The tree.
    tree: Digest,
    media_type: String,
    digest: Digest,
    size: u64,
    kept: bool,
}

impl Layer {
    fn diff_id(&self) -> &Digest {
        if self.kept { &self.tree } else { &self.digest }
    }
}

/// Writes `image` into `out`.
///
/// # Errors
/// [`ExportError`]; what was written by then is no archive.
pub fn export(
    image: &Image,
    with: With,
    store: &Store,
    workers: &dyn Workers,
    out: impl Write,
) -> Result<Exported, ExportError> {
    let layers = layers(image, store, workers)?;
    let remade = layers.iter().filter(|layer| !layer.kept).count();
    let mut config = store.read_blob(&image.config_digest, CONFIG_LIMIT)?;
    let mut manifest = image.manifest.clone();
    if remade > 0 {
        config = config_of(&config, &layers)?;
        manifest = manifest_of(&manifest, &config, &layers)?;
    }
    let digest = Digest::of(&manifest);
    let mut signatures = Signatures::default();
    if remade == 0 && with == With::Signatures {
        let evidence = Evidence::load(&store.evidence_dir(&digest))?;
        signatures = Signatures::new(&evidence, &manifest, image.index_digest.as_ref())?;
    }
    let mut top = &manifest;
    let index = image.index_digest.filter(|_| signatures.count > 0);
    let index = index.map(|index| store.read_blob(&index, MANIFEST_LIMIT));
    let index = index.transpose()?;
    if let Some(index) = &index {
        top = index;
    }
    let mut archive = Archive::new(out);
    let entries = [image_entry(&image.name, top)?].into_iter();
    begin(&mut archive, entries.chain(signatures.entries).collect())?;
    for bytes in [&manifest, &config]
        .into_iter()
        .chain(&index)
        .chain(signatures.blobs.values())
    {
        let name = format!("blobs/sha256/{}", Digest::of(bytes).hex());
        document(&mut archive, &name, bytes)?;
    }
    let mut written = Vec::new();
    for layer in &layers {
        if !written.contains(&layer.digest) {
            written.push(layer.digest);
            blob(&mut archive, layer, store, workers)?;
        }
    }
    archive.finish().map_err(ExportError::Write)?;
    let mut lost = lost(&layers, store)?;
    let detached = |label| format!("{label} is not in the archive: give its file with --signature");
    lost.extend(signatures.left_out.into_iter().map(detached));
    Ok(Exported {
        manifest: digest,
        remade,
        lost,
        signatures: signatures.count,
    })
}

/// What stands before the blobs.
fn begin<W: Write>(archive: &mut Archive<W>, entries: Vec<Value>) -> Result<(), ExportError> {
    let version = b"{\"imageLayoutVersion\":\"1.0.0\"}";
    document(archive, "oci-layout", version)?;
    let index = serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": entries}));
    let index = index.map_err(|e| ExportError::Document("index", e))?;
    document(archive, "index.json", &index)?;
    for directory in ["blobs/", "blobs/sha256/"] {
        let metadata = Metadata {
            mode: 0o755,
            ..Metadata::default()
        };
        archive
            .entry(directory.as_bytes(), EntryType::Directory, b"", &metadata)
            .map_err(ExportError::Write)?;
    }
    Ok(())
}

/// The layers of the image, each measured; those that are there twice are packed once.
fn layers(image: &Image, store: &Store, workers: &dyn Workers) -> Result<Vec<Layer>, ExportError> {
    let manifest: ImageManifest = serde_json::from_slice(&image.manifest)
        .map_err(|e| ExportError::Document("manifest", e))?;
    let mut packed = HashMap::new();
    let mut layers = Vec::new();
    for (descriptor, tree) in manifest.layers().iter().zip(image.diff_ids()?) {
        let blob = Digest::parse(descriptor.digest().as_ref());
        if let Ok(digest) = blob
            && store.blob_path(&digest).exists()
        {
            layers.push(Layer {
                tree,
                media_type: descriptor.media_type().to_string(),
                digest,
                size: descriptor.size(),
                kept: true,
            });
            continue;
        }
        let (digest, size) = match packed.get(&tree) {
            Some(known) => *known,
            None => {
                let measured = measure(&tree, store, workers)?;
                packed.insert(tree, measured);
                measured
            }
        };
        layers.push(Layer {
            tree,
            media_type: LAYER_TYPE.to_owned(),
            digest,
            size,
            kept: false,
        });
    }
    Ok(layers)
}

fn pack(tree: &Digest, store: &Store, workers: &dyn Workers) -> Result<Packing, ExportError> {
    Packing::start(workers, store, &[*tree], What::Layer).map_err(|e| ExportError::Pack(*tree, e))
}

fn measure(
    tree: &Digest,
    store: &Store,
    workers: &dyn Workers,
) -> Result<(Digest, u64), ExportError> {
    let mut packing = Hashing::new(pack(tree, store, workers)?);
    let copied = io::copy(&mut packing, &mut io::sink());
    copied.map_err(|e| ExportError::Read(*tree, e))?;
    let (packing, digest, size) = packing.finish();
    packing.finish().map_err(|e| ExportError::Pack(*tree, e))?;
    Ok((digest, size))
}

/// Writes a layer, and checks that it is what it was when it was measured or fetched.
fn blob<W: Write>(
    archive: &mut Archive<W>,
    layer: &Layer,
    store: &Store,
    workers: &dyn Workers,
) -> Result<(), ExportError> {
    let name = format!("blobs/sha256/{}", layer.digest.hex());
    let mut put = |input: &mut dyn Read| {
        let metadata = plain();
        let written = archive.file(name.as_bytes(), &metadata, layer.size, input);
        written.map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => ExportError::Changed(layer.digest),
            _ => ExportError::Write(e),
        })
    };
    let digest = if layer.kept {
        let path = store.blob_path(&layer.digest);
        let file = File::open(path).map_err(|e| ExportError::Read(layer.digest, e))?;
        let mut input = Hashing::new(file);
        put(&mut input)?;
        input.finish().1
    } else {
        let mut input = Hashing::new(pack(&layer.tree, store, workers)?);
        put(&mut input)?;
        let (packing, digest, _) = input.finish();
        let ended = packing.finish();
        ended.map_err(|e| ExportError::Pack(layer.tree, e))?;
        digest
    };
    match digest == layer.digest {
        true => Ok(()),
        false => Err(ExportError::Changed(layer.digest)),
    }
}

/// The config with the diff ids of the layers as they are now; all else as it was.
fn config_of(config: &[u8], layers: &[Layer]) -> Result<Vec<u8>, ExportError> {
    let failed = |e| ExportError::Document("config", e);
    let mut document: Value = serde_json::from_slice(config).map_err(failed)?;
    let diff_ids: Vec<&Digest> = layers.iter().map(Layer::diff_id).collect();
    document["rootfs"]["diff_ids"] = json!(diff_ids);
    serde_json::to_vec(&document).map_err(failed)
}

fn manifest_of(old: &[u8], config: &[u8], layers: &[Layer]) -> Result<Vec<u8>, ExportError> {
    let failed = |e| ExportError::Document("manifest", e);
    let old: Value = serde_json::from_slice(old).map_err(failed)?;
    let descriptor = |layer: &Layer| {
        let (kind, digest, size) = (&layer.media_type, &layer.digest, layer.size);
        json!({"mediaType": kind, "digest": digest, "size": size})
    };
    let layers: Vec<Value> = layers.iter().map(descriptor).collect();
    let mut document = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::of(config),
            "size": config.len(),
        },
        "layers": layers,
    });
    if old["annotations"].is_object() {
        document["annotations"] = old["annotations"].clone();
    }
    serde_json::to_vec(&document).map_err(failed)
}

/// The image in `index.json`, with the tag for skopeo and the whole name for podman.
fn image_entry(name: &ImageName, top: &[u8]) -> Result<Value, ExportError> {
    let mut entry = descriptor(top)?;
    if let ImageName::Registry(reference) = name
        && let Some(tag) = &reference.tag
    {
        let whole = format!("{}/{}:{tag}", reference.host, reference.repository);
        entry["annotations"] = json!({
            REF_NAME: tag,
            "io.containerd.image.name": whole,
        });
    }
    Ok(entry)
}

/// The descriptor of a manifest or index.
fn descriptor(document: &[u8]) -> Result<Value, ExportError> {
    let own: Value =
        serde_json::from_slice(document).map_err(|e| ExportError::Document("manifest", e))?;
    let media_type = match own["mediaType"].as_str() {
        Some(media_type) => media_type,
        None if own["manifests"].is_array() => INDEX_TYPE,
        None => MANIFEST_TYPE,
    };
    let (digest, size) = (Digest::of(document), document.len());
    Ok(json!({"mediaType": media_type, "digest": digest, "size": size}))
}

fn plain() -> Metadata {
    Metadata {
        mode: 0o644,
        ..Metadata::default()
    }
}

fn document<W: Write>(
    archive: &mut Archive<W>,
    name: &str,
    bytes: &[u8],
) -> Result<(), ExportError> {
    let written = archive.file(name.as_bytes(), &plain(), bytes.len() as u64, bytes);
    written.map_err(ExportError::Write)
}

/// What of layers that were made again was given up when they were unpacked.
fn lost(layers: &[Layer], store: &Store) -> Result<Vec<String>, ExportError> {
    let mut lost = Vec::new();
    for layer in layers.iter().filter(|layer| !layer.kept) {
        let report = store.tree_meta(&layer.tree)?.report;
        let listed = crate::pack::restorable(&report.devices).len() as u64;
        let short: String = layer.tree.to_string().chars().take(19).collect();
        let mut note = |what: String| lost.push(format!("layer {short}: {what}"));
        if report.owners_squashed {
            note("owners of files were not kept in this store".to_owned());
        }
        match report.devices_skipped.saturating_sub(listed) {
            0 => {}
            more => note(format!("{more} device nodes were not kept")),
        }
        match report.xattrs_dropped.values().sum::<u64>() {
            0 => {}
            more => note(format!("{more} extended attributes were not kept")),
        }
    }
    Ok(lost)
}

/// Hashes and counts what is read.
struct Hashing<R> {
    input: R,
    hasher: Sha256,
    size: u64,
}

impl<R: Read> Hashing<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            hasher: Sha256::new(),
            size: 0,
        }
    }

    fn finish(self) -> (R, Digest, u64) {
        (self.input, Digest::finish(self.hasher), self.size)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(into)?;
        self.hasher.update(&into[..read]);
        self.size += read as u64;
        Ok(read)
    }
}
