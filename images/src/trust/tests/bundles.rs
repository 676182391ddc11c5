//! Sigstore bundles.

use p256::ecdsa::SigningKey as P256Pair;
use p256::ecdsa::signature::Signer as _;
use serde_json::{Value, json};

use super::*;

const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

fn statement(subject: Value, predicate: &str) -> String {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": predicate,
        "predicate": {},
    })
    .to_string()
}

fn subject(digest: &Digest) -> Value {
    json!([{"digest": {"sha256": digest.hex()}, "annotations": {}}])
}

fn encoded(kind: &str, payload: &str) -> Vec<u8> {
    format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len()).into_bytes()
}

/// A bundle as cosign writes it, signed by a key.
fn bundle(payload: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> Value {
    let kind = "application/vnd.in-toto+json";
    json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "publicKey": {"hint": "Zm9v"},
            "tlogEntries": [{"logIndex": "1"}],
        },
        "dsseEnvelope": {
            "payload": BASE64_STANDARD.encode(payload),
            "payloadType": kind,
            "signatures": [{"sig": BASE64_STANDARD.encode(sign(&encoded(kind, payload))), "keyid": ""}],
        },
    })
}

fn by_ed25519(message: &[u8]) -> Vec<u8> {
    pair(1).sign(message).to_vec()
}

fn decide_on(policy: &Policy, bundle: &Value) -> Result<Accepted, Refusal> {
    decide(
        policy,
        NAME,
        &evidence([Item::Bundle(bundle.to_string().into_bytes())]),
    )
}

#[test]
fn a_bundle_by_a_key_of_either_algorithm_is_verified() {
    let good = statement(subject(&Digest::of(MANIFEST)), SIGN);
    let policy = signed_by("*", 1, &[pem(&pair(1))]);
    decide_on(&policy, &bundle(&good, by_ed25519)).unwrap();

    let p256 = P256Pair::from_slice(&[7; 32]).unwrap();
    let public = p256::PublicKey::from(p256.verifying_key());
    let ending = p256::pkcs8::LineEnding::LF;
    let public = p256::pkcs8::EncodePublicKey::to_public_key_pem(&public, ending).unwrap();
    let sign = |message: &[u8]| {
        let signature: p256::ecdsa::Signature = p256.sign(message);
        signature.to_der().as_bytes().to_vec()
    };
    let policy = signed_by("*", 1, &[public]);
    decide_on(&policy, &bundle(&good, sign)).unwrap();
    assert!(decide_on(&policy, &bundle(&good, by_ed25519)).is_err());
}

#[test]
fn only_a_statement_that_signs_this_image_counts() {
    let digest = Digest::of(MANIFEST);
    let named = |name: &str| {
        statement(
            json!([{"name": name, "digest": {"sha256": digest.hex()}}]),
            SIGN,
        )
    };
    let good = statement(subject(&digest), SIGN);
    let cases = [
        (good.clone(), ""),
        (named("registry.example.org/team/app"), ""),
        (named("registry.example.org/team/app:2"), "tag 2, not 1"),
        (named("registry.example.org/team/other"), "for repository"),
        (
            statement(subject(&Digest::of(b"x")), SIGN),
            "signs another image",
        ),
        (
            statement(subject(&digest), "https://slsa.dev/provenance/v1"),
            "'https://slsa.dev/provenance/v1'",
        ),
        (statement(json!([]), SIGN), "malformed"),
        (
            statement(json!([{"digest": {"sha512": "00"}}]), SIGN),
            "is not a digest",
        ),
        (good.replace("Statement/v1", "Statement/v0.1"), ""),
        (good.replace("Statement/v1", "Statement/v2"), "Statement/v2"),
        (
            good.replace(r#""predicate":"#, r#""limits":1,"predicate":"#),
            "unknown field",
        ),
        (
            good.replace(r#""predicate":"#, r#""subject":[],"predicate":"#),
            "twice",
        ),
    ];
    let policy = signed_by("*", 1, &[pem(&pair(1))]);
    for (payload, expected) in cases {
        let decided = decide_on(&policy, &bundle(&payload, by_ed25519));
        let said = decided.map_or_else(|refusal| refusal.to_string(), |_| String::new());
        assert!(
            said.contains(expected) && said.is_empty() == expected.is_empty(),
            "{payload}: {said:?}"
        );
    }
}

#[test]
fn a_bundle_that_is_not_whole_is_refused() {
    let good = bundle(&statement(subject(&Digest::of(MANIFEST)), SIGN), by_ed25519);
    let policy = signed_by("*", 1, &[pem(&pair(1))]);
    let edited = |pointer: &str, value: Value| {
        let mut bundle = good.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        bundle.pointer_mut(parent).unwrap()[key] = value;
        bundle
    };
    let signature = &good["dsseEnvelope"]["signatures"][0];
    let cases = [
        (
            edited(
                "/mediaType",
                json!("application/vnd.dev.sigstore.bundle.v0.9+json"),
            ),
            "v0.9",
        ),
        (
            edited(
                "/verificationMaterial",
                json!({"certificate": {"rawBytes": ""}}),
            ),
            "a certificate",
        ),
        (edited("/verificationMaterial", json!({})), "a certificate"),
        (edited("/unknown", json!(1)), "unknown field"),
        (
            edited("/dsseEnvelope/payloadType", json!("application/x")),
            "not the scope's",
        ),
        (
            edited("/dsseEnvelope/payload", json!("e30=")),
            "not the scope's",
        ),
        (edited("/dsseEnvelope/payload", json!("e30")), "malformed"),
        (edited("/dsseEnvelope/signatures", json!([])), "malformed"),
        (
            edited("/dsseEnvelope/signatures", json!([signature, signature])),
            "malformed",
        ),
        (
            edited("/messageSignature", json!({"signature": ""})),
            "malformed",
        ),
        (edited("/dsseEnvelope", Value::Null), "malformed"),
    ];
    for (bundle, expected) in cases {
        let said = decide_on(&policy, &bundle).unwrap_err().to_string();
        assert!(said.contains(expected), "{bundle}: {said}");
    }
}

#[test]
fn a_bundle_over_the_manifest_itself_is_a_detached_signature() {
    let policy = signed_by("*", 1, &[pem(&pair(1))]);
    let over = |bytes: &[u8]| {
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": ""}, "tlogEntries": []},
            "messageSignature": {
                "messageDigest": {"algorithm": "SHA2_256", "digest": ""},
                "signature": BASE64_STANDARD.encode(by_ed25519(bytes)),
            },
        })
    };
    decide_on(&policy, &over(MANIFEST)).unwrap();
    assert!(decide_on(&policy, &over(b"other")).is_err());
}
