//! Import of containers' policy.json.

use serde_json::{Value, json};

use super::*;
use crate::trust::{Earlier, policy_json};

fn joined(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// The scopes that a policy becomes, or why not.
fn imported(policy: &Value) -> Result<Vec<(String, String)>, String> {
    let read = policy_json(policy.to_string().as_bytes()).map_err(|error| joined(&error))?;
    let directory = tempfile::tempdir().unwrap();
    let layers = [directory.path().to_owned()];
    let path = read
        .save(&layers, Earlier::Keep)
        .map_err(|error| error.to_string())?;
    assert_eq!(path, directory.path().join("policy.json.toml"));
    let policy = Policy::load(&layers).unwrap();
    let scopes = policy.scopes();
    Ok(scopes
        .map(|scope| (scope.prefix.to_string(), scope.rule.name().to_owned()))
        .collect())
}

fn accept() -> Value {
    json!([{"type": "insecureAcceptAnything"}])
}

fn reject() -> Value {
    json!([{"type": "reject"}])
}

/// A requirement of a signature by the key of that number, with more members.
fn sigstore(number: u8, more: &Value) -> Value {
    let mut requirement = json!({
        "type": "sigstoreSigned",
        "keyData": BASE64_STANDARD.encode(pem(&pair(number))),
    });
    for (key, value) in more.as_object().unwrap() {
        requirement[key] = value.clone();
    }
    requirement
}

#[test]
fn debian_s_own_policy_accepts_anything_as_there() {
    let debian = json!({
        "default": accept(),
        "transports": {"docker-daemon": {"": accept()}},
    });
    let read = policy_json(debian.to_string().as_bytes()).unwrap();
    assert_eq!(read.left_out, ["docker-daemon"]);
    let scopes = imported(&debian).unwrap();
    assert!(scopes.contains(&("*".to_owned(), "insecure-accept-anything".to_owned())));
}

#[test]
fn scopes_keep_their_meaning() {
    let policy = json!({
        "default": reject(),
        "transports": {
            "docker": {
                "a.example/team": [sigstore(1, &json!({"signedIdentity": {"type": "matchRepository"}}))],
                "b.example": accept(),
                "m.example/mirror": [sigstore(1, &json!({"signedIdentity": {
                    "type": "remapIdentity", "prefix": "m.example/mirror", "signedPrefix": "a.example/team",
                }}))],
            },
            "oci": {"/srv/images": accept()},
        },
    });
    let scopes = imported(&policy).unwrap();
    let rule = |prefix: &str| {
        scopes
            .iter()
            .find(|(p, _)| p == prefix)
            .map(|(_, rule)| rule.as_str())
    };
    for (prefix, expected) in [
        ("*", "reject"),
        ("a.example/team", "signed"),
        ("b.example", "insecure-accept-anything"),
        ("m.example/mirror", "signed"),
        ("oci:", "reject"),
        ("oci:/srv/images", "insecure-accept-anything"),
        ("oci-archive:", "reject"),
    ] {
        assert_eq!(rule(prefix), Some(expected), "{prefix}");
    }
}

#[test]
fn several_requirements_are_a_threshold_of_all_their_keys() {
    let both = json!([sigstore(1, &json!({})), sigstore(2, &json!({}))]);
    let policy =
        json!({"default": reject(), "transports": {"docker": {"registry.example.org": both}}});
    let read = policy_json(policy.to_string().as_bytes()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let layers = [directory.path().to_owned()];
    read.save(&layers, Earlier::Keep).unwrap();
    let policy = Policy::load(&layers).unwrap();
    let signed = |number| Item::Bare(pair(number).sign(MANIFEST).to_vec());
    assert!(decide(&policy, NAME, &evidence([signed(1)])).is_err());
    decide(&policy, NAME, &evidence([signed(1), signed(2)])).unwrap();
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn what_has_no_counterpart_is_an_error_that_names_it() {
    let identity = |identity: Value| json!([sigstore(1, &json!({"signedIdentity": identity}))]);
    let cases = [
        (
            "a.example",
            json!([{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/x"}]),
            "GnuPG",
        ),
        (
            "a.example",
            json!([sigstore(1, &json!({"rekorPublicKeyPath": "/x"}))]),
            "transparency logs",
        ),
        (
            "a.example",
            json!([{"type": "sigstoreSigned", "fulcio": {}}]),
            "certificates",
        ),
        (
            "a.example",
            identity(json!({"type": "matchExact"})),
            "matchExact",
        ),
        (
            "a.example",
            identity(json!({"type": "exactReference", "dockerReference": "x"})),
            "exactReference",
        ),
        (
            "a.example",
            identity(json!({"type": "exactRepository", "dockerRepository": "x"})),
            "exactRepository",
        ),
        (
            "a.example",
            identity(
                json!({"type": "remapIdentity", "prefix": "b.example", "signedPrefix": "c.example"}),
            ),
            "another prefix",
        ),
        (
            "a.example",
            json!([sigstore(1, &json!({})), {"type": "reject"}]),
            "combination",
        ),
        ("a.example", json!([]), "combination"),
        ("*.example", reject(), "no registry host"),
        ("a.example/x:1", reject(), "no tag"),
        (
            "a.example",
            json!([{"type": "sigstoreSigned", "keyData": "***"}]),
            "not base64",
        ),
        (
            "a.example",
            json!([{"type": "sigstoreSigned", "keyPath": "/nonexistent"}]),
            "cannot read",
        ),
        (
            "a.example",
            json!([{"type": "sigstoreSigned", "keyPath": "/x", "more": 1}]),
            "expected document",
        ),
    ];
    for (scope, requirements, expected) in cases {
        let policy = json!({"default": reject(), "transports": {"docker": {scope: requirements}}});
        let said = imported(&policy).unwrap_err();
        assert!(said.contains(expected), "{policy}: {said}");
    }
}
