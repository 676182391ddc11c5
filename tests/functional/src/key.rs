//! Keys and the signatures they make: cosign's simple signing, minisign, raw.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blake2::{Blake2b512, Digest as _};
use ed25519_dalek::pkcs8::EncodePublicKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::json;

use crate::Blob;

/// An ed25519 key pair.
#[derive(Clone, Debug)]
pub struct Key {
    id: u8,
    pair: SigningKey,
}

impl Key {
    /// The key with this number: the same number gives the same key.
    #[must_use]
    pub fn new(id: u8) -> Self {
        let mut seed = [0x5c; 32];
        seed[31] = id;
        Self {
            id,
            pair: SigningKey::from_bytes(&seed),
        }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u8 {
        self.id
    }

    /// The public key as openssl and cosign write it.
    ///
    /// # Panics
    /// Never: the key is valid.
    #[must_use]
    pub fn public_pem(&self) -> String {
        self.pair
            .verifying_key()
            .to_public_key_pem(LineEnding::LF)
            .expect("a valid key")
    }

    /// The public key as minisign writes it.
    #[must_use]
    pub fn minisign_public(&self) -> String {
        let mut bytes = b"Ed".to_vec();
        bytes.extend(self.minisign_id());
        bytes.extend(self.pair.verifying_key().as_bytes());
        format!(
            "untrusted comment: minisign public key\n{}\n",
            STANDARD.encode(bytes)
        )
    }

    fn minisign_id(&self) -> [u8; 8] {
        [b's', b'k', b'u', b'a', 0, 0, 0, self.id]
    }

    /// The 64 bytes of a signature over `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).to_bytes().to_vec()
    }

    /// A minisign signature file for `message`, hashed first as minisign does by default.
    #[must_use]
    pub fn minisign(&self, message: &[u8], trusted_comment: &str) -> String {
        let signature = self.sign(&Blake2b512::digest(message));
        let mut bytes = b"ED".to_vec();
        bytes.extend(self.minisign_id());
        bytes.extend(&signature);
        let mut global = signature;
        global.extend(trusted_comment.as_bytes());
        format!(
            "untrusted comment: signature\n{}\ntrusted comment: {trusted_comment}\n{}\n",
            STANDARD.encode(bytes),
            STANDARD.encode(self.sign(&global))
        )
    }
}

impl Key {
    /// A Sigstore bundle with a statement of kind `predicate` about the image `digest`, as `cosign` writes it.
    #[must_use]
    pub fn bundle(&self, digest: &str, predicate: &str) -> Vec<u8> {
        let kind = "application/vnd.in-toto+json";
        let payload = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {"sha256": digest.trim_start_matches("sha256:")}}],
            "predicateType": predicate,
            "predicate": {},
        })
        .to_string();
        let signed = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
        let signature = STANDARD.encode(self.sign(signed.as_bytes()));
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": ""}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": STANDARD.encode(&payload),
                "payloadType": kind,
                "signatures": [{"sig": signature, "keyid": ""}],
            },
        })
        .to_string()
        .into_bytes()
    }
}

/// cosign's signatures of one image: a manifest whose layers are the signed payloads.
#[derive(Clone, Debug, Default)]
pub struct Cosign {
    items: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Cosign {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tag under which the signatures of the image `digest` are found.
    #[must_use]
    pub fn tag(digest: &str) -> String {
        format!("{}.sig", digest.replace(':', "-"))
    }

    /// Adds a signature by `key` that says: `repository` has the image `digest`.
    #[must_use]
    pub fn sign(self, key: &Key, repository: &str, digest: &str) -> Self {
        let payload = json!({
            "critical": {
                "identity": {"docker-reference": repository},
                "image": {"docker-manifest-digest": digest},
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let payload = payload.to_string().into_bytes();
        let signature = key.sign(&payload);
        self.item(payload, signature)
    }

    /// Adds any payload with any signature.
    #[must_use]
    pub fn item(mut self, payload: Vec<u8>, signature: Vec<u8>) -> Self {
        self.items.push((payload, signature));
        self
    }

    /// The signature manifest, and its config and payloads.
    #[must_use]
    pub fn build(&self) -> (Blob, Vec<Blob>) {
        let payloads: Vec<Blob> = self
            .items
            .iter()
            .map(|(payload, _)| {
                Blob::new(
                    payload.clone(),
                    "application/vnd.dev.cosign.simplesigning.v1+json",
                )
            })
            .collect();
        let layers: Vec<_> = payloads
            .iter()
            .zip(&self.items)
            .map(|(payload, (_, signature))| {
                let mut descriptor = payload.descriptor();
                descriptor["annotations"] =
                    json!({"dev.cosignproject.cosign/signature": STANDARD.encode(signature)});
                descriptor
            })
            .collect();
        let diff_ids: Vec<&str> = payloads.iter().map(|p| p.digest.as_str()).collect();
        let config = json!({
            "architecture": "",
            "os": "",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = Blob::new(
            config.to_string().into_bytes(),
            "application/vnd.oci.image.config.v1+json",
        );
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": config.descriptor(),
            "layers": layers,
        });
        let manifest = Blob::new(manifest.to_string().into_bytes(), media_type);
        let mut blobs = payloads;
        blobs.push(config);
        (manifest, blobs)
    }
}
