//! Stores and images for tests.

use std::time::{Duration, Instant};

use super::{Begin, Owners, RefRecord, Store, TreeMeta};
use crate::digest::Digest;
use crate::reference::ImageName;
use crate::unpack::LayerReport;

pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    (directory, store)
}

pub(crate) fn meta(diff_id: Digest) -> TreeMeta {
    TreeMeta {
        diff_id,
        blob: diff_id,
        blob_size: 0,
        owners: Owners::Squashed,
        report: LayerReport::default(),
    }
}

pub(crate) fn in_a_minute() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

pub(crate) fn write_tree(store: &Store, diff_id: Digest) {
    match store.begin_tree(&diff_id, in_a_minute(), &|| ()).unwrap() {
        Begin::Exists | Begin::Late => panic!("the tree is there already"),
        Begin::Write(tree) => {
            rustix::fs::mkdirat(tree.dir(), "etc", rustix::fs::Mode::RWXU).unwrap();
            tree.commit(&meta(diff_id)).unwrap();
        }
    }
}

pub(crate) fn name(text: &str) -> ImageName {
    ImageName::parse(text).unwrap()
}

pub(crate) fn record(name: &ImageName, manifest: Digest, index: Option<Digest>) -> RefRecord {
    RefRecord {
        name: name.to_string(),
        manifest,
        index,
        resolved: "2026-11-24T00:00:00Z".to_owned(),
        etag: None,
        before: Vec::new(),
    }
}

/// An image of the given layers; its manifest's digest.
pub(crate) fn put_image(store: &Store, layers: &[Digest]) -> Digest {
    let diff_ids: Vec<String> = layers.iter().map(Digest::to_string).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/true"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}
    });
    let config = config.to_string();
    let config_digest = store.put_blob(config.as_bytes()).unwrap();
    let descriptor = |digest: &Digest, kind: &str| {
        serde_json::json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"),
            "digest": digest.to_string(), "size": config.len()
        })
    };
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| descriptor(layer, "layer.v1.tar"))
        .collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "config": descriptor(&config_digest, "config.v1+json"), "layers": layers
    });
    store.put_blob(manifest.to_string().as_bytes()).unwrap()
}
