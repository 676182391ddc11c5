//! A real distribution: Debian with Python in eight layers, made by `tests/debian-image` once and kept in /var/tmp.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Blob, Built, Run, is_root, missing_program, sha256, skip};

/// The script that makes it; its digest is part of the directory's name, so that a change makes a new image.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../debian-image");

/// The OCI layout directory with the image, tag `debian`; `None`, said so, when it cannot be made here.
///
/// # Panics
/// When making it fails.
#[must_use]
pub fn debian_layout(test: &str) -> Option<PathBuf> {
    let script = fs::read(SCRIPT).expect("tests/debian-image");
    let directory = format!("/var/tmp/skua-test-debian-{}", &sha256(&script)[7..15]);
    let layout = Path::new(&directory).join("oci");
    if layout.exists() {
        return Some(layout);
    }
    if !is_root() {
        skip(test, "the Debian image is made by root");
        return None;
    }
    if let Some(program) = missing_program(&["mmdebstrap", "umoci", "setfattr"]) {
        skip(test, &format!("{program} is not installed"));
        return None;
    }
    let lock = File::create(format!("{directory}.lock")).expect("a lock in /var/tmp");
    lock.lock().expect("lock");
    if !layout.exists() {
        let mut command = Command::new(SCRIPT);
        command.arg(&directory);
        Run::within(std::time::Duration::from_secs(600), command).success();
    }
    Some(layout)
}

/// Reads the image `tag` of an OCI layout directory.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn read_layout(layout: &Path, tag: &str) -> Built {
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).expect("index.json"))
            .expect("JSON");
    let entries = index["manifests"].as_array().expect("manifests");
    let entry = entries
        .iter()
        .find(|m| m["annotations"]["org.opencontainers.image.ref.name"] == tag)
        .expect("the tag");
    let manifest = read_blob(layout, entry);
    let document: serde_json::Value = serde_json::from_slice(&manifest.bytes).expect("JSON");
    Built {
        config: read_blob(layout, &document["config"]),
        layers: document["layers"]
            .as_array()
            .expect("layers")
            .iter()
            .map(|layer| read_blob(layout, layer))
            .collect(),
        manifest,
    }
}

fn read_blob(layout: &Path, descriptor: &serde_json::Value) -> Blob {
    let digest = descriptor["digest"].as_str().expect("a digest");
    let path = layout.join("blobs").join(digest.replace(':', "/"));
    let media_type = descriptor["mediaType"].as_str().expect("a media type");
    Blob::new(fs::read(path).expect("a blob"), media_type)
}
