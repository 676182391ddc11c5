//! Images: layers and a config become a manifest, in a registry or in an OCI layout directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{Cosign, Layer, inspect_bytes};

/// `sha256:<hex>` of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// A blob of an image.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// For a layer, the digest of the uncompressed bytes.
    pub diff_id: String,
}

impl Blob {
    /// A blob that is not a layer.
    #[must_use]
    pub fn new(bytes: Vec<u8>, media_type: &str) -> Self {
        Self {
            digest: sha256(&bytes),
            media_type: media_type.to_owned(),
            diff_id: String::new(),
            bytes,
        }
    }

    /// Its descriptor.
    #[must_use]
    pub fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len()})
    }
}

/// An image that is being made.
#[derive(Clone, Debug)]
pub struct Image {
    layers: Vec<Layer>,
    config: BTreeMap<String, Value>,
    docker: bool,
    edit_config: Vec<(String, Value)>,
    edit_manifest: Vec<(String, Value)>,
}

impl Default for Image {
    fn default() -> Self {
        Self::new()
    }
}

impl Image {
    /// No layers, nothing configured.
    #[must_use]
    pub fn new() -> Self {
        Self {
            layers: Vec::new(),
            config: BTreeMap::new(),
            docker: false,
            edit_config: Vec::new(),
            edit_manifest: Vec::new(),
        }
    }

    /// One layer with `/inspect`, which is the entrypoint, `/etc/passwd` and `/etc/group` with root and user
    /// `app` (1000, group 1000, member of `extra` 2000), and the usual empty directories.
    #[must_use]
    pub fn inspect() -> Self {
        let layer = Layer::new()
            .file("inspect", 0o755, inspect_bytes())
            .directory("etc")
            .file(
                "etc/passwd",
                0o644,
                "root:x:0:0:root:/root:/inspect\napp:x:1000:1000:app:/home/app:/inspect\n",
            )
            .file(
                "etc/group",
                0o644,
                "root:x:0:\napp:x:1000:\nextra:x:2000:app\n",
            )
            .directory("dev")
            .directory("proc")
            .directory("sys")
            .directory("tmp");
        Self::new().layer(layer).entrypoint(&["/inspect"])
    }

    /// One more layer on top.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// A key of the config's `config` object: `Env`, `User`, `WorkingDir`, `StopSignal`, `Labels`, `Volumes`…
    #[must_use]
    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.config.insert(key.to_owned(), value);
        self
    }

    /// The entrypoint.
    #[must_use]
    pub fn entrypoint(self, words: &[&str]) -> Self {
        self.set("Entrypoint", json!(words))
    }

    /// The arguments that a command line replaces.
    #[must_use]
    pub fn cmd(self, words: &[&str]) -> Self {
        self.set("Cmd", json!(words))
    }

    /// Docker's media types (image manifest version 2, schema 2) instead of OCI's; gzip layers only.
    #[must_use]
    pub fn docker(mut self) -> Self {
        self.docker = true;
        self
    }

    /// Replaces a top-level key of the config document.
    #[must_use]
    pub fn edit_config(mut self, key: &str, value: Value) -> Self {
        self.edit_config.push((key.to_owned(), value));
        self
    }

    /// Replaces a top-level key of the manifest.
    #[must_use]
    pub fn edit_manifest(mut self, key: &str, value: Value) -> Self {
        self.edit_manifest.push((key.to_owned(), value));
        self
    }

    /// The finished image.
    #[must_use]
    pub fn build(&self) -> Built {
        let mut layers: Vec<Blob> = self.layers.iter().map(Layer::build).collect();
        let types = if self.docker { &DOCKER } else { &OCI };
        if self.docker {
            for layer in &mut layers {
                layer.media_type = "application/vnd.docker.image.rootfs.diff.tar.gzip".to_owned();
            }
        }
        let diff_ids: Vec<&str> = layers.iter().map(|l| l.diff_id.as_str()).collect();
        let mut config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        edit(&mut config, &self.edit_config);
        let config = Blob::new(config.to_string().into_bytes(), types.config);
        let descriptors: Vec<Value> = layers.iter().map(Blob::descriptor).collect();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": types.manifest,
            "config": config.descriptor(),
            "layers": descriptors,
        });
        edit(&mut manifest, &self.edit_manifest);
        let manifest = Blob::new(manifest.to_string().into_bytes(), types.manifest);
        Built {
            manifest,
            config,
            layers,
        }
    }
}

fn edit(document: &mut Value, edits: &[(String, Value)]) {
    for (key, value) in edits {
        document[key.as_str()] = value.clone();
    }
}

struct MediaTypes {
    manifest: &'static str,
    config: &'static str,
}

const OCI: MediaTypes = MediaTypes {
    manifest: "application/vnd.oci.image.manifest.v1+json",
    config: "application/vnd.oci.image.config.v1+json",
};

const DOCKER: MediaTypes = MediaTypes {
    manifest: "application/vnd.docker.distribution.manifest.v2+json",
    config: "application/vnd.docker.container.image.v1+json",
};

/// A finished image.
#[derive(Clone, Debug)]
pub struct Built {
    /// The manifest.
    pub manifest: Blob,
    /// The config.
    pub config: Blob,
    /// The layers, lowest first.
    pub layers: Vec<Blob>,
}

impl Built {
    /// The manifest's digest.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.manifest.digest
    }

    /// An index that names this image for linux/amd64 and another, missing one for linux/s390x.
    #[must_use]
    pub fn index(&self) -> Blob {
        let mut here = self.manifest.descriptor();
        here["platform"] = json!({"os": "linux", "architecture": "amd64"});
        let mut other = here.clone();
        other["digest"] = json!(sha256(b"the image for another machine"));
        other["platform"]["architecture"] = json!("s390x");
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index =
            json!({"schemaVersion": 2, "mediaType": media_type, "manifests": [other, here]});
        Blob::new(index.to_string().into_bytes(), media_type)
    }

    /// Adds the image to the OCI layout directory `directory`, made if it is missing, as `tag`.
    ///
    /// # Panics
    /// When that fails.
    pub fn write_layout(&self, directory: &Path, tag: &str) {
        for blob in self.blobs() {
            write_blob(directory, &blob.digest, &blob.bytes);
        }
        add_to_index(directory, tag, &self.manifest);
    }

    /// Adds cosign's signatures of this image to the layout directory, as `sha256-<hex>.sig`.
    ///
    /// # Panics
    /// When that fails.
    pub fn write_layout_signatures(&self, directory: &Path, signatures: &Cosign) {
        let (manifest, blobs) = signatures.build();
        for blob in blobs.iter().chain([&manifest]) {
            write_blob(directory, &blob.digest, &blob.bytes);
        }
        add_to_index(directory, &Cosign::tag(self.digest()), &manifest);
    }

    /// Manifest, config and layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        [&self.manifest, &self.config]
            .into_iter()
            .chain(&self.layers)
    }
}

fn write_blob(directory: &Path, digest: &str, bytes: &[u8]) {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("make the layout");
    fs::write(blobs.join(&digest["sha256:".len()..]), bytes).expect("write a blob");
}

fn add_to_index(directory: &Path, tag: &str, manifest: &Blob) {
    let path = directory.join("index.json");
    let mut index: Value = fs::read(&path).map_or_else(
        |_| json!({"schemaVersion": 2, "manifests": []}),
        |bytes| serde_json::from_slice(&bytes).expect("our own index"),
    );
    let mut descriptor = manifest.descriptor();
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    index["manifests"]
        .as_array_mut()
        .expect("our own index")
        .push(descriptor);
    fs::write(path, index.to_string()).expect("write the index");
    fs::write(
        directory.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .expect("write oci-layout");
}
