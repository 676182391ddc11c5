//! Signatures: files of every form, judged by a policy that knows one key of each kind.

use std::fs;
use std::sync::OnceLock;

use crate::digest::Digest;
use crate::evidence::{Evidence, Item};
use crate::reference::ImageName;
use crate::trust::{self, Outcome, Policy};

const MANIFEST: &[u8] = include_bytes!("../../testdata/trust/manifest.json");
const KEYS: [&str; 5] = [
    include_str!("../../testdata/trust/ed25519.pem"),
    include_str!("../../testdata/trust/p256.pem"),
    include_str!("../../testdata/trust/minisign.pub"),
    include_str!("../../testdata/trust/ssh-ed25519.pub"),
    include_str!("../../testdata/trust/ssh-p256.pub"),
];

fn policy() -> &'static Policy {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    POLICY.get_or_init(|| {
        let name = format!("skua-fuzz-policy-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).expect("a directory");
        let keys = KEYS.map(|key| format!("'''{key}'''")).join(",");
        let scope = "[[scope]]\nprefix='registry.example.org'\nrule='signed'\nthreshold=1";
        fs::write(
            directory.join("a.toml"),
            format!("{scope}\nkeys=[{keys}]\n"),
        )
        .expect("a file");
        let policy = Policy::load(std::slice::from_ref(&directory)).expect("a policy");
        fs::remove_dir_all(&directory).expect("a directory");
        policy
    })
}

/// Whatever the bytes are, there is a finding and no panic; a manifest that nobody has signed is never accepted.
fn judge(item: Item) {
    let name = ImageName::parse("registry.example.org/team/app:1").expect("a name");
    let mut evidence = Evidence::default();
    if evidence.add(item).is_err() {
        return;
    }
    let findings = policy().findings(&name, &Digest::of(MANIFEST), MANIFEST, &evidence);
    for finding in findings.into_iter().flatten() {
        let shown = match finding.outcome {
            Outcome::Verified { comment, .. } => comment.unwrap_or_default(),
            Outcome::Failed(failure) => crate::wire::error_line(&failure),
        };
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }
    let other = b"{\"another\":\"manifest\"}";
    let decided = policy().decide(&name, &Digest::of(other), other, &evidence);
    assert!(decided.is_err());
}

/// A Sigstore bundle.
pub fn bundle(data: &[u8]) {
    judge(Item::Bundle(data.to_vec()));
    trust::understand_statement(data);
}

/// A minisign signature file.
pub fn minisign(data: &[u8]) {
    judge(Item::Minisign(data.to_vec()));
}

/// A signature file of OpenSSH, or a bare signature.
pub fn openssh(data: &[u8]) {
    judge(Item::OpenSsh(data.to_vec()));
    judge(Item::Bare(data.to_vec()));
}

/// A simple-signing document: first as a document whose signature was verified, then with a signature that is not its own.
pub fn cosign(data: &[u8]) {
    trust::understand_payload(data);
    judge(Item::Cosign {
        payload: data.to_vec(),
        signature: data.to_vec(),
    });
}
