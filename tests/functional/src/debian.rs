//! Real images of Debian: a distribution with Python in eight layers, and nginx; each is made once by a script beside this
//! crate, and kept in /var/tmp.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Blob, Built, Run, is_root, missing_program, sha256, skip};

/// Where the scripts are. The digest of a script is part of its directory's name, so that a change makes a new image.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The OCI layout directory with Debian and Python, tag `debian`; `None`, said so, when it cannot be made here.
///
/// # Panics
/// When making it fails.
#[must_use]
pub fn debian_layout(test: &str) -> Option<PathBuf> {
    layout(test, "debian")
}

/// The OCI layout directory with nginx, tag `nginx`; `None`, said so, when it cannot be made here.
///
/// # Panics
/// When making it fails.
#[must_use]
pub fn nginx_layout(test: &str) -> Option<PathBuf> {
    layout(test, "nginx")
}

fn layout(test: &str, image: &str) -> Option<PathBuf> {
    let script = Path::new(SCRIPTS).join(format!("{image}-image"));
    let text = fs::read(&script).expect("the script of an image");
    let directory = format!("/var/tmp/skua-test-{image}-{}", &sha256(&text)[7..15]);
    let layout = Path::new(&directory).join("oci");
    if layout.exists() {
        return Some(layout);
    }
    if !is_root() {
        skip(test, &format!("the {image} image is made by root"));
        return None;
    }
    if let Some(program) = missing_program(&["mmdebstrap", "umoci", "setfattr"]) {
        skip(test, &format!("{program} is not installed"));
        return None;
    }
    let lock = File::create(format!("{directory}.lock")).expect("a lock in /var/tmp");
    lock.lock().expect("lock");
    if !layout.exists() {
        let mut command = Command::new(script);
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
