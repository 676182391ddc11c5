//! Public keys: what is one, and signatures that lax verifiers take.

use super::*;
use crate::trust::KeyError;

/// The order of ed25519's group, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

const P256: &str = "ecdsa-sha2-nistp256";

fn accepts(key: &str, signature: Vec<u8>) -> bool {
    let policy = signed_by("*", 1, &[key.to_owned()]);
    decide(&policy, NAME, &evidence([Item::Bare(signature)])).is_ok()
}

#[test]
fn a_key_is_written_anew_as_it_was_read() {
    for (file, kind) in [
        ("ed25519.pem", "ed25519"),
        ("p256.pem", "ecdsa-p256"),
        ("minisign.pub", "minisign"),
        ("ssh-ed25519.pub", "openssh ed25519"),
        ("ssh-p256.pub", "openssh ecdsa-p256"),
    ] {
        let key = PublicKey::parse(&real_text(file)).unwrap();
        let again = PublicKey::parse(&key.to_text()).unwrap();
        assert_eq!((key.kind(), key.fingerprint()), (kind, again.fingerprint()));
        assert!(
            real_text(file).contains(&key.to_text()),
            "{}",
            key.to_text()
        );
    }
}

fn ed25519(point: [u8; 32]) -> String {
    let der = [
        b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00".as_slice(),
        &point,
    ]
    .concat();
    let body = BASE64_STANDARD.encode(der);
    format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
}

#[test]
fn what_is_no_public_key_is_refused_with_the_reason() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let good = pem(&pair(1));
    let weak_minisign = BASE64_STANDARD.encode([b"Ed12345678".as_slice(), &identity].concat());
    let minisign = real_text("minisign.pub");
    let cases = [
        (String::new(), "known form"),
        ("ssh-rsa AAAA".to_owned(), "known form"),
        ("ssh-ed25519 AAAA".to_owned(), "malformed OpenSSH"),
        (
            real_text("ssh-ed25519.pub").replace("ssh-ed25519", P256),
            "malformed OpenSSH",
        ),
        (
            real_text("ssh-p256.pub").replace(P256, "ssh-ed25519"),
            "malformed OpenSSH",
        ),
        (
            "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----".to_owned(),
            "private key",
        ),
        (format!("{good}{good}"), "malformed PEM"),
        (good.replace("PUBLIC", "CERTIFICATE"), "known form"),
        (good.replacen("MCow", "MCox", 1), "malformed"),
        (ed25519(identity), "weak"),
        (ed25519([0; 32]), "weak"),
        (ed25519([2; 32]), ""),
        (weak_minisign, "weak"),
        (minisign.replace("RW", "RX"), "known form"),
        (
            minisign
                .trim_end()
                .strip_suffix("==")
                .unwrap_or(&minisign[..100])
                .to_owned(),
            "minisign",
        ),
    ];
    for (text, expected) in cases {
        let said = match PublicKey::parse(&text) {
            Ok(_) => panic!("taken for a key: {text}"),
            Err(KeyError::Spki(e)) => format!("malformed public key: {e}"),
            Err(error) => error.to_string(),
        };
        assert!(said.contains(expected), "{text}: {said}");
    }
}

#[test]
fn ed25519_signatures_have_one_form() {
    let (key, mut signature) = (pem(&pair(1)), pair(1).sign(MANIFEST).to_bytes());
    assert!(accepts(&key, signature.to_vec()));
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    assert!(!accepts(&key, signature.to_vec()), "S + L was accepted");
    assert!(!accepts(&key, vec![0; 64]), "zero was accepted");
    // Made with the key, but with a point of small order where the nonce's should be: lax verifiers take it.
    assert!(
        !accepts(&key, real("manifest.small-order-r")),
        "a small-order R was accepted"
    );
}

#[test]
fn ecdsa_signatures_are_strict_der_without_zeros() {
    let (key, good) = (real_text("p256.pem"), real("manifest.p256"));
    assert!(accepts(&key, good.clone()));
    assert!(
        !accepts(&key, b"\x30\x06\x02\x01\x00\x02\x01\x00".to_vec()),
        "r = s = 0"
    );
    let longer = |prefix: &[u8]| {
        let mut longer = good.clone();
        longer[1] += 1;
        longer[3] += 1;
        longer.splice(4..4, prefix.iter().copied());
        longer
    };
    assert!(
        !accepts(&key, longer(&[0])),
        "an integer that is not minimal"
    );
    let mut trailing = good.clone();
    trailing[1] += 1;
    trailing.push(0);
    assert!(!accepts(&key, trailing), "bytes after the signature");
    let mut long_form = good.clone();
    long_form.splice(1..2, [0x81, good[1]]);
    assert!(!accepts(&key, long_form), "a length that is not minimal");
}

#[test]
fn a_minisign_key_signs_nothing_but_minisign_files() {
    let pair = pair(1);
    let key = [b"Ed12345678".as_slice(), pair.verifying_key().as_bytes()].concat();
    assert!(!accepts(
        &BASE64_STANDARD.encode(key),
        pair.sign(MANIFEST).to_vec()
    ));
}

#[test]
fn a_minisign_file_is_refused_when_any_part_is_wrong() {
    let policy = signed_by("*", 1, &[real_text("minisign.pub")]);
    let good = real_text("manifest.minisig");
    let lines: Vec<&str> = good.lines().collect();
    let legacy = real_text("manifest.legacy.minisig");
    let swapped_global = [&lines[..3], &[legacy.lines().nth(3).unwrap()]]
        .concat()
        .join("\n");
    let cases = [
        (
            good.replace("built on a laptop", "built by the CI"),
            "not a signature over this manifest",
        ),
        (swapped_global, "not a signature over this manifest"),
        (lines[..3].join("\n"), "malformed"),
        (format!("{good}more"), "malformed"),
        (lines[1..].join("\n"), "malformed"),
        (good.replace("\nRUQ1", "\nRVQ1"), "malformed"),
    ];
    for (file, expected) in cases {
        let said = refusal(
            &policy,
            NAME,
            &evidence([Item::Minisign(file.clone().into_bytes())]),
        );
        assert!(said.contains(expected), "{file}: {said}");
    }
    let other = signed_by(
        "*",
        1,
        &[BASE64_STANDARD.encode(
            [
                b"Ed\x01\0\0\0\0\0\0\0".as_slice(),
                pair(1).verifying_key().as_bytes(),
            ]
            .concat(),
        )],
    );
    let said = refusal(&other, NAME, &evidence([Item::Minisign(good.into_bytes())]));
    assert!(
        said.contains("minisign key") && said.contains("not the scope's"),
        "{said}"
    );
}
