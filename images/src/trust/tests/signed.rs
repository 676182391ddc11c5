//! Scopes that want signatures.

use super::*;

const EVERY_KEY: [&str; 5] = [
    "ed25519.pem",
    "p256.pem",
    "minisign.pub",
    "ssh-ed25519.pub",
    "ssh-p256.pub",
];

fn cosign_of(signature: &str) -> Item {
    Item::Cosign {
        payload: real("cosign.json"),
        signature: real(signature),
    }
}

/// Key and signature of each form, as openssl and minisign wrote them.
fn every_form() -> Vec<(&'static str, Item)> {
    vec![
        ("ed25519.pem", Item::Bare(real("manifest.ed25519"))),
        (
            "ed25519.pem",
            Item::Bare(
                BASE64_STANDARD
                    .encode(real("manifest.ed25519"))
                    .into_bytes(),
            ),
        ),
        ("ed25519.pem", cosign_of("cosign.ed25519")),
        ("p256.pem", Item::Bare(real("manifest.p256"))),
        ("p256.pem", cosign_of("cosign.p256")),
        ("minisign.pub", Item::Minisign(real("manifest.minisig"))),
        (
            "minisign.pub",
            Item::Minisign(real("manifest.legacy.minisig")),
        ),
        (
            "ssh-ed25519.pub",
            Item::OpenSsh(real("manifest.ssh-ed25519.sshsig")),
        ),
        (
            "ssh-ed25519.pub",
            Item::OpenSsh(real("manifest.ssh-sha256.sshsig")),
        ),
        (
            "ssh-p256.pub",
            Item::OpenSsh(real("manifest.ssh-p256.sshsig")),
        ),
    ]
}

#[test]
fn signatures_of_real_tools_are_verified_by_their_key_and_no_other() {
    for (key, item) in every_form() {
        for candidate in EVERY_KEY {
            let text = real_text(candidate);
            let policy = signed_by("registry.example.org", 1, std::slice::from_ref(&text));
            let decided = decide(&policy, NAME, &evidence([item.clone()]));
            if candidate == key {
                let Ok(Accepted::Signed { prefix, keys, .. }) = decided else {
                    panic!("{key}: {item:?}: {decided:?}");
                };
                assert_eq!(
                    (prefix.as_str(), keys),
                    ("registry.example.org", vec![fingerprint(&text)])
                );
            } else {
                assert!(decided.is_err(), "{item:?} verified by {candidate}");
            }
        }
    }
}

type Make = fn(Vec<u8>) -> Item;

/// `file` with one bit of one byte flipped, for each byte from `first` on; of text files not white space.
fn flipped(file: &'static str, first: usize) -> impl Iterator<Item = Vec<u8>> {
    let good = real(file);
    (first..good.len()).filter_map(move |at| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        (!file.ends_with("sig") || !good[at].is_ascii_whitespace()).then_some(bytes)
    })
}

#[test]
fn one_flipped_bit_anywhere_is_refused() {
    let keys: Vec<String> = EVERY_KEY.into_iter().map(real_text).collect();
    let policy = signed_by("*", 1, &keys);
    let untrusted_line = real_text("manifest.minisig").find('\n').unwrap();
    let payload = |payload| Item::Cosign {
        payload,
        signature: real("cosign.ed25519"),
    };
    let cases: [(&str, usize, Make); 5] = [
        ("manifest.ed25519", 0, Item::Bare),
        ("manifest.p256", 0, Item::Bare),
        ("manifest.minisig", untrusted_line, Item::Minisign),
        ("manifest.ssh-ed25519.sshsig", 0, Item::OpenSsh),
        ("manifest.ssh-p256.sshsig", 0, Item::OpenSsh),
    ];
    let items = cases
        .into_iter()
        .flat_map(|(file, first, item)| flipped(file, first).map(item));
    for item in items.chain(flipped("cosign.json", 0).map(payload)) {
        assert!(
            decide(&policy, NAME, &evidence([item.clone()])).is_err(),
            "{item:?}"
        );
    }
    let name = ImageName::parse(NAME).unwrap();
    for manifest in flipped("manifest.json", 0) {
        let digest = Digest::of(&manifest);
        let every = evidence(every_form().into_iter().map(|(_, item)| item));
        assert!(policy.decide(&name, &digest, &manifest, &every).is_err());
    }
}

#[test]
fn an_openssh_signature_for_another_purpose_does_not_count() {
    let policy = signed_by("*", 1, &[real_text("ssh-ed25519.pub")]);
    let said = refusal(
        &policy,
        NAME,
        &evidence([Item::OpenSsh(real("manifest.ssh-git.sshsig"))]),
    );
    assert!(said.contains("made for namespace 'git'"), "{said}");
    let said = refusal(
        &policy,
        NAME,
        &evidence([Item::OpenSsh(real("manifest.ssh-p256.sshsig"))]),
    );
    assert!(said.contains("made with OpenSSH key SHA256:"), "{said}");
}

#[test]
fn a_manifest_under_another_digest_is_refused_even_when_anything_is_accepted() {
    let policy = policy("prefix='*'\nrule='insecure-accept-anything'");
    let name = ImageName::parse(NAME).unwrap();
    let decided = policy.decide(&name, &Digest::of(b"other"), MANIFEST, &Evidence::default());
    assert!(decided.unwrap_err().to_string().contains("another digest"));
}

#[test]
fn the_signed_name_must_be_the_name_asked_for() {
    let digest = Digest::of(MANIFEST);
    let pinned = format!("registry.example.org/team/app@{digest}");
    let tagged_and_pinned = format!("registry.example.org/team/app:1@{digest}");
    let cases = [
        ("registry.example.org/team/app", NAME, ""),
        ("registry.example.org/team/app:1", NAME, ""),
        ("registry.example.org/team/app:2", NAME, "tag 2, not 1"),
        ("registry.example.org/team/app", pinned.as_str(), ""),
        ("registry.example.org/team/app:2", pinned.as_str(), ""),
        (
            "registry.example.org/team/app:2",
            tagged_and_pinned.as_str(),
            "",
        ),
        (tagged_and_pinned.as_str(), NAME, ""),
        (
            "registry.example.org/team/app:latest",
            "registry.example.org/team/app",
            "",
        ),
        (
            "registry.example.org/team/app:1",
            "registry.example.org/team/app",
            "tag 1, not latest",
        ),
        (
            "registry.example.org/team/other",
            NAME,
            "team/other, not registry.example.org/team/app",
        ),
        ("registry.example.org/team", NAME, "for repository"),
        ("registry.example.org/team/app/", NAME, "for repository"),
        ("registry.example.org/team/ap", NAME, "for repository"),
        ("registry.example.org:443/team/app", NAME, "for repository"),
        ("team/app", NAME, "for repository"),
        ("", NAME, "for repository"),
        (
            "registry.example.org/team/app@sha256:00",
            NAME,
            "is not a digest",
        ),
        ("\\u001b[2Jx", NAME, "repository \\u{1b}[2Jx"),
    ];
    let policy = signed_by("registry.example.org", 1, &[pem(&pair(1))]);
    for (signed, asked, expected) in cases {
        let item = cosign(&pair(1), &payload(signed, &digest));
        let decided = decide(&policy, asked, &evidence([item]));
        let said = decided.map_or_else(|refusal| refusal.to_string(), |_| String::new());
        assert!(
            said.contains(expected) && said.is_empty() == expected.is_empty(),
            "{signed}: {said:?}"
        );
    }
}

#[test]
fn a_signed_document_that_is_not_understood_to_the_end_is_refused() {
    let good = payload("registry.example.org/team/app", &Digest::of(MANIFEST));
    let other = payload("registry.example.org/team/app", &Digest::of(b"other"));
    let cases = [
        (other, "signs another image"),
        (
            good.replace("cosign container", "atomic container"),
            "no image signature but 'atomic",
        ),
        (
            good.replace(r#""type":"#, r#""limits":1,"type":"#),
            "unknown field `limits`",
        ),
        (
            good.replace(r#""optional":null"#, r#""required":1"#),
            "unknown field `required`",
        ),
        (
            good.replace(r#""optional":null"#, r#""optional":null,"optional":{}"#),
            "twice",
        ),
        (
            good.replace(r#"{"docker-ref"#, r#"{"docker-reference":"x","docker-ref"#),
            "twice",
        ),
        (good.replace("sha256:", "sha512:"), "is not a digest"),
        (
            good.replace("docker-manifest-digest", "Docker-Manifest-Digest"),
            "unknown field",
        ),
        (format!("{good}{good}"), "trailing"),
        (format!("\u{feff}{good}"), "byte order mark"),
        ("[]".to_owned(), "unusable payload"),
        (String::new(), "unusable payload"),
    ];
    let policy = signed_by("registry.example.org", 1, &[pem(&pair(1))]);
    decide(&policy, NAME, &evidence([cosign(&pair(1), &good)])).unwrap();
    for (document, expected) in cases {
        let said = refusal(&policy, NAME, &evidence([cosign(&pair(1), &document)]));
        assert!(said.contains(expected), "{document}: {said}");
    }
}

#[test]
fn a_threshold_counts_keys_and_not_signatures() {
    let keys: Vec<String> = (1..=3).map(|number| pem(&pair(number))).collect();
    let policy = signed_by("registry.example.org", 2, &keys);
    let digest = Digest::of(MANIFEST);
    let by = |number: u8, tag: &str| {
        cosign(
            &pair(number),
            &payload(&format!("registry.example.org/team/app{tag}"), &digest),
        )
    };
    let one_key_twice = evidence([
        by(1, ""),
        by(1, ":1"),
        Item::Bare(pair(1).sign(MANIFEST).to_vec()),
    ]);
    let said = refusal(&policy, NAME, &one_key_twice);
    assert!(
        said.contains("wants signatures by 2 of its 3 keys, and it has 1"),
        "{said}"
    );
    let one_and_a_stranger = evidence([by(1, ""), by(9, "")]);
    assert!(refusal(&policy, NAME, &one_and_a_stranger).contains("not the scope's"));
    for others in [2, 3] {
        let two = evidence([by(9, ""), by(1, ""), by(others, "")]);
        let Ok(Accepted::Signed { keys, .. }) = decide(&policy, NAME, &two) else {
            panic!("two of three keys have signed");
        };
        assert_eq!(keys.len(), 2);
    }
}

#[test]
fn one_key_in_two_forms_is_one_key() {
    let pair = pair(1);
    let minisign = [b"Ed12345678".as_slice(), pair.verifying_key().as_bytes()].concat();
    let forms = [pem(&pair), BASE64_STANDARD.encode(minisign)];
    assert_eq!(fingerprint(&forms[0]), fingerprint(&forms[1]));
    let policy = signed_by("registry.example.org", 2, &forms);
    let said = refusal(&policy, NAME, &Evidence::default());
    assert!(
        said.contains("1 different keys for a threshold of 2"),
        "{said}"
    );
}

#[test]
fn an_index_that_lists_the_manifest_may_be_signed_instead() {
    let index = Digest::of(b"the index");
    let policy = signed_by("registry.example.org", 1, &[pem(&pair(1))]);
    let document = payload("registry.example.org/team/app", &index);
    let mut evidence = evidence([cosign(&pair(1), &document)]);
    assert!(refusal(&policy, NAME, &evidence).contains("signs another image"));
    evidence.add_index(index);
    decide(&policy, NAME, &evidence).unwrap();
}

#[test]
fn a_local_image_is_signed_by_its_path_or_as_its_scope_says() {
    let digest = Digest::of(MANIFEST);
    let name = ImageName::Layout {
        directory: "/srv/images/app".into(),
        tag: None,
    };
    let decide = |policy: &Policy, signed: &str| {
        let evidence = evidence([cosign(&pair(1), &payload(signed, &digest))]);
        policy.decide(&name, &digest, MANIFEST, &evidence).is_ok()
    };
    let key = pem(&pair(1));
    let plain = signed_by("oci:/srv/images", 1, std::slice::from_ref(&key));
    assert!(decide(&plain, "oci:/srv/images/app"));
    assert!(!decide(&plain, "registry.example.org/team/app"));
    let mapped = policy(&format!(
        "prefix='oci:/srv/images'\nrule='signed'\nsigned-as='registry.example.org/team'\nkeys=['''{key}''']"
    ));
    assert!(decide(&mapped, "registry.example.org/team/app"));
    assert!(decide(&mapped, "registry.example.org/team/app:7"));
    assert!(!decide(&mapped, "registry.example.org/team"));
    assert!(!decide(&mapped, "oci:/srv/images/app"));
}

#[test]
fn evidence_survives_the_store_byte_for_byte() {
    let (directory, store) = crate::store::testing::store();
    let manifest = Digest::of(b"a manifest");
    let path = store.evidence_dir(&manifest);
    let saved = evidence(every_form().into_iter().map(|(_, item)| item));
    store.put_evidence(&manifest, &saved).unwrap();
    store.put_evidence(&manifest, &saved).unwrap();
    fs::write(path.join("0123.later"), "a later kind").unwrap();
    fs::write(path.join("0123.cosign"), "half an item").unwrap();
    let loaded = Evidence::load(&path).unwrap();
    assert_eq!(loaded.items().count(), saved.items().count());
    for item in saved.items() {
        assert!(loaded.items().any(|other| other == item), "{item:?}");
    }
    assert_eq!(
        Evidence::load(&directory.path().join("none"))
            .unwrap()
            .items()
            .count(),
        0
    );
}

#[test]
fn evidence_has_bounds() {
    let mut evidence = Evidence::default();
    for number in 0..32 {
        evidence.add(Item::Bare(vec![number; 64])).unwrap();
    }
    evidence.add(Item::Bare(vec![0; 64])).unwrap();
    assert!(
        evidence
            .add(Item::Bare(vec![99; 64]))
            .unwrap_err()
            .to_string()
            .contains("more than 32")
    );
    let long = Item::Cosign {
        payload: vec![b' '; (64 << 10) + 1],
        signature: Vec::new(),
    };
    assert!(Evidence::default().add(long).is_err());
}
