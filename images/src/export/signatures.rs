//! The signatures of an image as an image layout has them, so that whoever reads the archive can verify it:
//!
//! ```text
//! index.json   sha256-<hex>.sig   a manifest whose layers are what cosign or skopeo have signed
//!              sha256-<hex>       an index of manifests that refer to the image: Sigstore bundles
//! ```
//!
//! `<hex>` is that of the manifest, or of the index, that was signed. Detached signatures have no place there.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{ExportError, INDEX_TYPE, MANIFEST_TYPE};
use crate::digest::Digest;
use crate::evidence::{Evidence, Item};
use crate::layout::REF_NAME;
use crate::trust::BUNDLE_TYPE;

const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const PAYLOAD_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// Signatures in the form of a layout.
#[derive(Default)]
pub(super) struct Signatures {
    /// What `index.json` lists.
    pub(super) entries: Vec<Value>,
    pub(super) blobs: BTreeMap<Digest, Vec<u8>>,
    /// How many there are.
    pub(super) count: usize,
    /// Those that have no place in a layout.
    pub(super) left_out: Vec<String>,
}

/// What of a simple-signing document says what was signed.
#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Signed,
}

#[derive(Deserialize)]
struct Signed {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

impl Signatures {
    /// All evidence about `manifest`, which has these bytes, and about the index that lists it.
    pub(super) fn new(
        evidence: &Evidence,
        manifest: &[u8],
        index: Option<&Digest>,
    ) -> Result<Self, ExportError> {
        let mut all = Self::default();
        let own = Digest::of(manifest);
        let (mut simple, mut bundles) = (BTreeMap::<Digest, Vec<_>>::new(), Vec::new());
        for item in evidence.items() {
            match item {
                Item::Cosign { payload, signature } => {
                    let subject = index.filter(|index| signs(payload, index));
                    let list = simple.entry(*subject.unwrap_or(&own)).or_default();
                    list.push((payload, signature));
                }
                Item::Bundle(bundle) => bundles.push(bundle),
                Item::Minisign(_) | Item::OpenSsh(_) | Item::Bare(_) => {
                    all.left_out.push(item.label());
                    continue;
                }
            }
            all.count += 1;
        }
        for (subject, signed) in simple {
            all.simple(&subject, &signed)?;
        }
        if !bundles.is_empty() {
            all.referrers(manifest, &bundles)?;
        }
        Ok(all)
    }

    /// As cosign writes them.
    fn simple(
        &mut self,
        subject: &Digest,
        signed: &[(&Vec<u8>, &Vec<u8>)],
    ) -> Result<(), ExportError> {
        let mut layers = Vec::new();
        for (payload, signature) in signed {
            let mut layer = self.blob(PAYLOAD_TYPE, payload);
            layer["annotations"] = json!({SIGNATURE: String::from_utf8_lossy(signature)});
            layers.push(layer);
        }
        let diff_ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
        let config = json!({
            "architecture": "",
            "os": "",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = self.document(CONFIG_TYPE, &config)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config,
            "layers": layers,
        });
        let entry = self.document(MANIFEST_TYPE, &manifest)?;
        self.list(entry, format!("sha256-{}.sig", subject.hex()));
        Ok(())
    }

    /// As registries without a list of referrers have them.
    fn referrers(&mut self, manifest: &[u8], bundles: &[&Vec<u8>]) -> Result<(), ExportError> {
        let subject = super::descriptor(manifest)?;
        let mut list = Vec::new();
        for bundle in bundles {
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "artifactType": BUNDLE_TYPE,
                "config": self.blob(EMPTY_TYPE, b"{}"),
                "layers": [self.blob(BUNDLE_TYPE, bundle)],
                "subject": subject,
            });
            let mut entry = self.document(MANIFEST_TYPE, &manifest)?;
            entry["artifactType"] = json!(BUNDLE_TYPE);
            list.push(entry);
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": list});
        let entry = self.document(INDEX_TYPE, &index)?;
        self.list(entry, format!("sha256-{}", Digest::of(manifest).hex()));
        Ok(())
    }

    fn list(&mut self, mut entry: Value, name: String) {
        entry["annotations"] = json!({REF_NAME: name});
        self.entries.push(entry);
    }

    fn document(&mut self, media_type: &str, document: &Value) -> Result<Value, ExportError> {
        let bytes = serde_json::to_vec(document);
        let bytes = bytes.map_err(|e| ExportError::Document("signatures", e))?;
        Ok(self.blob(media_type, &bytes))
    }

    /// Adds a blob, unless it is there; its descriptor.
    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        self.blobs.entry(digest).or_insert_with(|| bytes.to_vec());
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }
}

/// Whether a simple-signing document says that it is about `digest`.
fn signs(payload: &[u8], digest: &Digest) -> bool {
    serde_json::from_slice(payload)
        .is_ok_and(|Payload { critical }| critical.image.digest == digest.to_string())
}
