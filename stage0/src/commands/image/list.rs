//! `skua image list`: shows the images, and what they cost.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

use images::digest::Digest;
use images::pack::{Packing, What};
use images::reference::ImageName;
use images::store::{Image, RefRecord, Store};
use serde::Serialize;

use crate::context::Context;
use crate::error::{Error, joined};
use crate::output::{self, Format};
use crate::worker::Spawner;
use crate::{errand, id_map, size};

/// The version of the JSON. Fields are added, never renamed or removed.
const VERSION: u32 = 1;
/// Digits of a digest in the table.
const SHORT: usize = "sha256:".len() + 12;

/// What `--format=json` prints.
#[derive(Serialize)]
struct List {
    version: u32,
    images: Vec<Row>,
    /// Bytes on the disk of all that the images use, each layer once.
    disk: Option<u64>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    manifest: String,
    index: Option<String>,
    config: Option<String>,
    /// When the name was resolved, RFC 3339.
    resolved: String,
    /// Diff ids, lowest first.
    layers: Vec<String>,
    /// Bytes in the files of the layers, shared ones included.
    size: u64,
    /// Bytes on the disk of the layers and of blobs that were kept; null when they cannot be measured.
    disk: Option<u64>,
    /// Bytes on the disk of what no other image has: what its removal frees.
    unique: Option<u64>,
    /// Bytes on the disk of what other images have too.
    shared: Option<u64>,
    /// Why the image cannot be run.
    problem: Option<String>,
    #[serde(skip)]
    parts: BTreeMap<Digest, Option<u64>>,
}

pub(super) fn run(format: Format, context: &Context) -> Result<ExitCode, Error> {
    let store = context.store()?;
    let names = store.names();
    let disk = Disk {
        store: &store,
        workers: Spawner::new(id_map::choose(), context.debug),
    };
    let mut images: Vec<Row> = names
        .records
        .iter()
        .map(|record| row(&disk, record))
        .collect();
    let total = share(&mut images);
    match format {
        Format::Json => output::print_json(&List {
            version: VERSION,
            images,
            disk: total,
        })?,
        Format::Table => {
            let header = [
                "NAME", "MANIFEST", "LAYERS", "SIZE", "DISK", "UNIQUE", "RESOLVED", "",
            ];
            let rows: Vec<Vec<String>> = images.iter().map(cells).collect();
            output::print(&output::table(&header, &rows))?;
        }
    }
    // What can be listed is; whose name is not known has no row.
    errand::failed(context, names.unreadable.into_iter().map(Error::from))
}

/// What objects of the store take on the disk.
struct Disk<'a> {
    store: &'a Store,
    workers: Spawner,
}

impl Disk<'_> {
    /// All of an image that takes much: its trees, and blobs of layers that were kept.
    fn parts(&self, image: &Image) -> BTreeMap<Digest, Option<u64>> {
        let mut parts = BTreeMap::new();
        for blob in image.layer_blobs().unwrap_or_default() {
            if let Ok(found) = fs::metadata(self.store.blob_path(&blob)) {
                parts.insert(blob, Some(found.blocks() * 512));
            }
        }
        for tree in image.diff_ids().unwrap_or_default() {
            let bytes = self.store.tree_disk_bytes(&tree, || self.measure(&tree));
            // A blob that was not compressed has the digest of its tree.
            let blob = parts.remove(&tree).flatten().unwrap_or(0);
            parts.insert(tree, bytes.map(|bytes| bytes + blob));
        }
        parts
    }

    fn measure(&self, tree: &Digest) -> Option<u64> {
        let what = What::Measure { since: None };
        let packing = Packing::start(&self.workers, self.store, &[*tree], what);
        match packing.and_then(Packing::finish) {
            Ok(report) => Some(report.disk_bytes),
            Err(error) => {
                log::warn!("cannot measure layer {tree}: {}", joined(&error));
                None
            }
        }
    }
}

/// Tells what is shared, and gives the sum of all.
fn share(images: &mut [Row]) -> Option<u64> {
    let mut users: HashMap<Digest, usize> = HashMap::new();
    let mut all = BTreeMap::new();
    for image in images.iter() {
        for (part, bytes) in &image.parts {
            *users.entry(*part).or_default() += 1;
            all.insert(*part, *bytes);
        }
    }
    for image in images.iter_mut().filter(|image| image.problem.is_none()) {
        let alone = |part: &Digest| users.get(part) == Some(&1);
        let unique = image.parts.iter().filter(|(part, _)| alone(part));
        image.unique = unique.map(|(_, bytes)| *bytes).sum();
        image.disk = image.parts.values().copied().sum();
        image.shared = image.disk.zip(image.unique).map(|(all, own)| all - own);
    }
    all.into_values().sum()
}

fn row(disk: &Disk<'_>, record: &RefRecord) -> Row {
    let mut row = Row {
        name: record.name.clone(),
        manifest: record.manifest.to_string(),
        index: record.index.map(|index| index.to_string()),
        config: None,
        resolved: record.resolved.clone(),
        layers: Vec::new(),
        size: 0,
        disk: None,
        unique: None,
        shared: None,
        problem: None,
        parts: BTreeMap::new(),
    };
    match find(disk.store, record) {
        Ok(Some(image)) => {
            row.config = Some(image.config_digest.to_string());
            row.layers = image
                .layers
                .iter()
                .map(|layer| layer.diff_id.to_string())
                .collect();
            let files = |layer| files(disk.store, layer);
            row.size = image.layers.iter().map(files).sum();
            row.parts = disk.parts(&image);
        }
        Ok(None) => row.problem = Some("incomplete: fetch it again".to_owned()),
        Err(error) => row.problem = Some(joined(&error)),
    }
    row
}

fn find(store: &Store, record: &RefRecord) -> Result<Option<Image>, Error> {
    let name = ImageName::parse_recorded(&record.name)?;
    Ok(store.image(&name)?)
}

fn files(store: &Store, layer: &images::store::LayerTree) -> u64 {
    store
        .tree_meta(&layer.diff_id)
        .map_or(0, |meta| meta.report.file_bytes)
}

fn cells(row: &Row) -> Vec<String> {
    let seconds = row.resolved.split('.').next().unwrap_or_default();
    let known = |bytes: Option<u64>| bytes.map_or("-".to_owned(), size::text);
    vec![
        row.name.clone(),
        row.manifest.chars().take(SHORT).collect(),
        row.layers.len().to_string(),
        size::text(row.size),
        known(row.disk),
        known(row.unique),
        seconds.trim_end_matches('Z').to_owned() + "Z",
        row.problem.clone().unwrap_or_default(),
    ]
}
