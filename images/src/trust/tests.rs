//! Decisions on signatures made by real tools and by hand.

mod bundles;
mod import;
mod keys;
mod layers;
mod signed;

use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::{Signer as _, SigningKey};

use super::{Accepted, Fingerprint, Policy, PublicKey, Refusal};
use crate::digest::Digest;
use crate::evidence::{Evidence, Item};
use crate::reference::ImageName;

const MANIFEST: &[u8] = include_bytes!("../../testdata/trust/manifest.json");
const NAME: &str = "registry.example.org/team/app:1";

/// The contents of a file that a real tool has written.
fn real(name: &str) -> Vec<u8> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/trust");
    fs::read(PathBuf::from(directory).join(name)).unwrap()
}

fn real_text(name: &str) -> String {
    String::from_utf8(real(name)).unwrap()
}

/// A key pair that is the same for the same number.
fn pair(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn pem(pair: &SigningKey) -> String {
    let ending = ed25519_dalek::pkcs8::spki::der::pem::LineEnding::LF;
    pair.verifying_key().to_public_key_pem(ending).unwrap()
}

fn fingerprint(text: &str) -> Fingerprint {
    PublicKey::parse(text).unwrap().fingerprint()
}

/// A policy of one scope, given as TOML after its `[[scope]]` line.
fn policy(scope: &str) -> Policy {
    let directory = tempfile::tempdir().unwrap();
    fs::write(
        directory.path().join("a.toml"),
        format!("[[scope]]\n{scope}\n"),
    )
    .unwrap();
    Policy::load(&[directory.path().to_owned()]).unwrap()
}

/// A policy that wants signatures by `threshold` of `keys` for one prefix.
fn signed_by(prefix: &str, threshold: usize, keys: &[String]) -> Policy {
    let keys: Vec<String> = keys.iter().map(|key| format!("'''{key}'''")).collect();
    let keys = keys.join(",");
    policy(&format!(
        "prefix='{prefix}'\nrule='signed'\nthreshold={threshold}\nkeys=[{keys}]"
    ))
}

fn evidence(items: impl IntoIterator<Item = Item>) -> Evidence {
    let mut evidence = Evidence::default();
    for item in items {
        evidence.add(item).unwrap();
    }
    evidence
}

fn cosign(pair: &SigningKey, payload: &str) -> Item {
    let signature = BASE64_STANDARD
        .encode(pair.sign(payload.as_bytes()).to_bytes())
        .into_bytes();
    Item::Cosign {
        payload: payload.as_bytes().to_vec(),
        signature,
    }
}

fn payload(reference: &str, digest: &Digest) -> String {
    format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"{reference}"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}"#
    )
}

fn decide(policy: &Policy, name: &str, evidence: &Evidence) -> Result<Accepted, Refusal> {
    let name = ImageName::parse(name).unwrap();
    policy.decide(&name, &Digest::of(MANIFEST), MANIFEST, evidence)
}

/// The line that a user is shown.
fn refusal(policy: &Policy, name: &str, evidence: &Evidence) -> String {
    decide(policy, name, evidence).unwrap_err().to_string()
}
