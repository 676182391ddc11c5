//! Real images of Debian (a distribution with Python in eight layers, and nginx), and tools of a newer Debian; each is made
//! once by a script beside this crate, and kept in /var/tmp.

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

/// The directory with `skopeo` and `cosign` of Debian 13, which make signatures that those of Debian 12 cannot; `None`, said
/// so, when they cannot be had here.
///
/// # Panics
/// When getting them fails.
#[must_use]
pub fn signing_tools(test: &str) -> Option<PathBuf> {
    made(test, "signing-tools", "signing-tools", &["mmdebstrap"]).map(|made| made.join("bin"))
}

fn layout(test: &str, image: &str) -> Option<PathBuf> {
    let needs = ["mmdebstrap", "umoci", "setfattr"];
    let made = made(test, image, &format!("{image}-image"), &needs)?;
    Some(made.join("oci"))
}

/// The directory that `script` makes, which needs these programs and root.
fn made(test: &str, what: &str, script: &str, needs: &[&str]) -> Option<PathBuf> {
    let script = Path::new(SCRIPTS).join(script);
    let text = fs::read(&script).expect("a script beside this crate");
    let directory = PathBuf::from(format!(
        "/var/tmp/skua-test-{what}-{}",
        &sha256(&text)[7..15]
    ));
    if directory.exists() {
        return Some(directory);
    }
    if !is_root() {
        skip(test, &format!("{} is run by root", script.display()));
        return None;
    }
    if let Some(program) = missing_program(needs) {
        skip(test, &format!("{program} is not installed"));
        return None;
    }
    let lock = File::create(directory.with_extension("lock")).expect("a lock in /var/tmp");
    lock.lock().expect("lock");
    if !directory.exists() {
        let mut command = Command::new(script);
        command.arg(&directory);
        Run::within(std::time::Duration::from_secs(600), command).success();
    }
    Some(directory)
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
