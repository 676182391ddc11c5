//! `skua image list`: shows the images.

use std::process::ExitCode;

use images::reference::ImageName;
use images::store::{Image, RefRecord, Store};
use serde::Serialize;

use crate::context::Context;
use crate::error::{Error, joined};
use crate::output::{self, Format};
use crate::size;

/// The version of the JSON. Fields are added, never renamed or removed.
const VERSION: u32 = 1;
/// Digits of a digest in the table.
const SHORT: usize = "sha256:".len() + 12;

/// What `--format=json` prints.
#[derive(Serialize)]
struct List {
    version: u32,
    images: Vec<Row>,
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
    /// Why the image cannot be run.
    problem: Option<String>,
}

pub(super) fn run(format: Format, context: &Context) -> Result<ExitCode, Error> {
    let store = context.store()?;
    let records = store.ref_records()?;
    let images: Vec<Row> = records.iter().map(|record| row(&store, record)).collect();
    match format {
        Format::Json => output::print_json(&List {
            version: VERSION,
            images,
        })?,
        Format::Table => {
            let header = ["NAME", "MANIFEST", "LAYERS", "SIZE", "RESOLVED", ""];
            let rows: Vec<Vec<String>> = images.iter().map(cells).collect();
            output::print(&output::table(&header, &rows))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(store: &Store, record: &RefRecord) -> Row {
    let mut row = Row {
        name: record.name.clone(),
        manifest: record.manifest.to_string(),
        index: record.index.map(|index| index.to_string()),
        config: None,
        resolved: record.resolved.clone(),
        layers: Vec::new(),
        size: 0,
        problem: None,
    };
    match find(store, record) {
        Ok(Some(image)) => {
            row.config = Some(image.config_digest.to_string());
            row.layers = image
                .layers
                .iter()
                .map(|layer| layer.diff_id.to_string())
                .collect();
            row.size = image.layers.iter().map(|layer| files(store, layer)).sum();
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
    vec![
        row.name.clone(),
        row.manifest.chars().take(SHORT).collect(),
        row.layers.len().to_string(),
        size::text(row.size),
        seconds.trim_end_matches('Z').to_owned() + "Z",
        row.problem.clone().unwrap_or_default(),
    ]
}
