//! Signatures of other people's tools, and images without a registry.

use functional::{
    Built, Cosign, Env, Image, Key, Layer, Registry, Run, User, missing_program, skip,
};

fn image() -> Built {
    Image::inspect().build()
}

#[test]
fn a_detached_signature_lets_a_local_image_run_and_is_kept() {
    let image = Image::inspect()
        .layer(Layer::new().file("local", 0o644, "x"))
        .build();
    let key = Key::new(1);
    let (minisign, raw) = (
        key.minisign(&image.manifest.bytes, "by hand"),
        key.sign(&image.manifest.bytes),
    );
    let forms: [(&str, String, &[u8]); 2] = [
        ("key.pub", key.minisign_public(), minisign.as_bytes()),
        ("key.pem", key.public_pem(), &raw),
    ];
    for (file, public, signature) in forms {
        let env = Env::new(User::ordinary());
        let (layout, key) = (env.scratch("layout"), env.write(file, public));
        image.write_layout(&layout, "1");
        env.give(&layout);
        let name = format!("oci:{}:1", layout.display());
        let prefix = format!("oci:{}", layout.parent().unwrap().display());
        env.skua(&["trust", "add", "--prefix", &prefix, key.to_str().unwrap()])
            .success();
        let run = |more: &[&str]| {
            let tail = [name.as_str(), "--", "exit", "7"];
            env.skua(&[&["run"], more, tail.as_slice()].concat())
        };
        run(&[]).fails(&[&name, "and it has none"]);
        let wrong = env.write("wrong.sig", Key::new(2).sign(&image.manifest.bytes));
        run(&["--signature", wrong.to_str().unwrap()])
            .fails(&["bare signature", "not the scope's"]);
        let good = env.write("good.sig", signature);
        run(&["--signature", good.to_str().unwrap()]).exits(7);
        run(&["--pull=never"]).exits(7);
        let rubbish = env.write("rubbish", "not a signature");
        run(&["--signature", rubbish.to_str().unwrap()])
            .fails(&["is not a signature in a known form"]);
    }
}

#[test]
fn cosign_signatures_in_a_layout_are_found() {
    let (image, key) = (image(), Key::new(1));
    let env = Env::new(User::ordinary());
    let layout = env.scratch("app");
    image.write_layout(&layout, "1");
    let signatures = Cosign::new().sign(&key, "registry.example.org/team/app", image.digest());
    image.write_layout_signatures(&layout, &signatures);
    env.give(&layout);
    let name = format!("oci:{}:1", layout.display());
    let prefix = format!("oci:{}", layout.parent().unwrap().display());
    env.trust(&prefix, &key);
    env.skua(&["run", &name, "--", "exit", "7"])
        .fails(&["signed for repository registry.example.org/team/app"]);
    let file = env.write("key.pem", key.public_pem());
    let file = file.to_str().unwrap();
    let origin = "registry.example.org/team";
    env.skua(&[
        "trust",
        "add",
        "--prefix",
        &prefix,
        "--signed-as",
        origin,
        file,
    ])
    .success();
    env.skua(&["run", &name, "--", "exit", "7"]).exits(7);
}

/// Runs a tool in the scratch directory, as the user of the test.
fn tool(env: &Env, program: &str, arguments: &[&str]) {
    let mut command = env.program(program);
    command.args(arguments).current_dir(env.scratch(""));
    Run::of(command).success();
}

/// How a tool makes a key pair, and signs `manifest.json` as `signature`.
struct Tool {
    program: &'static str,
    key: &'static str,
    steps: &'static [&'static [&'static str]],
}

const TOOLS: &[Tool] = &[
    Tool {
        program: "openssl",
        key: "ed.pub",
        steps: &[
            &["genpkey", "-algorithm", "ed25519", "-out", "ed.key"],
            &["pkey", "-in", "ed.key", "-pubout", "-out", "ed.pub"],
            &[
                "pkeyutl",
                "-sign",
                "-inkey",
                "ed.key",
                "-rawin",
                "-in",
                "manifest.json",
                "-out",
                "signature",
            ],
        ],
    },
    Tool {
        program: "openssl",
        key: "ec.pub",
        steps: &[
            &[
                "ecparam",
                "-name",
                "prime256v1",
                "-genkey",
                "-noout",
                "-out",
                "ec.key",
            ],
            &["ec", "-in", "ec.key", "-pubout", "-out", "ec.pub"],
            &[
                "dgst",
                "-sha256",
                "-sign",
                "ec.key",
                "-out",
                "signature",
                "manifest.json",
            ],
        ],
    },
    Tool {
        program: "minisign",
        key: "mini.pub",
        steps: &[
            &["-G", "-W", "-p", "mini.pub", "-s", "mini.key"],
            &[
                "-S",
                "-s",
                "mini.key",
                "-m",
                "manifest.json",
                "-x",
                "signature",
            ],
        ],
    },
    Tool {
        program: "minisign",
        key: "legacy.pub",
        steps: &[
            &["-G", "-W", "-p", "legacy.pub", "-s", "legacy.key"],
            &[
                "-S",
                "-l",
                "-s",
                "legacy.key",
                "-m",
                "manifest.json",
                "-x",
                "signature",
            ],
        ],
    },
    Tool {
        program: "ssh-keygen",
        key: "id.pub",
        steps: &[
            &["-q", "-t", "ed25519", "-N", "", "-f", "id"],
            &[
                "-q",
                "-Y",
                "sign",
                "-n",
                "file",
                "-f",
                "id",
                "manifest.json",
            ],
        ],
    },
];

#[test]
fn what_openssl_minisign_and_ssh_keygen_sign_runs_and_nothing_else() {
    let programs: Vec<&str> = TOOLS.iter().map(|tool| tool.program).collect();
    if let Some(program) = missing_program(&programs) {
        return skip(
            "what_openssl_minisign_and_ssh_keygen_sign",
            &format!("{program} is not installed"),
        );
    }
    let image = image();
    let other = Image::inspect().cmd(&["other"]).build();
    for signer in TOOLS {
        let env = Env::new(User::ordinary());
        env.write("manifest.json", &image.manifest.bytes);
        for step in signer.steps {
            tool(&env, signer.program, step);
        }
        let signature = match signer.program {
            "ssh-keygen" => env.scratch("manifest.json.sig"),
            _ => env.scratch("signature"),
        };
        for (tag, image) in [("good", &image), ("other", &other)] {
            image.write_layout(&env.scratch("layout"), tag);
        }
        env.give(&env.scratch("layout"));
        let key = env.scratch(signer.key);
        let prefix = format!("oci:{}", env.scratch("layout").display());
        env.skua(&["trust", "add", "--prefix", &prefix, key.to_str().unwrap()])
            .success();
        let signature = signature.to_str().unwrap();
        let good = format!("{prefix}:good");
        env.skua(&["run", "--signature", signature, &good, "--", "exit", "7"])
            .exits(7);
        env.skua(&["run", "--pull=never", &good, "--", "exit", "7"])
            .exits(7);
        let other = format!("{prefix}:other");
        env.skua(&["run", "--signature", signature, &other, "--", "exit", "7"])
            .fails(&[&other, "not trusted"]);
    }
}

/// What `skopeo copy --sign-by-sigstore-private-key` and `cosign sign` leave in a registry: the name with or without its
/// tag, who made it and when, and a P-256 signature over just that.
#[test]
fn a_p_256_signature_as_skopeo_and_cosign_leave_it_is_verified() {
    if let Some(program) = missing_program(&["openssl"]) {
        return skip("a_p_256_signature", &format!("{program} is not installed"));
    }
    let (registry, image) = (Registry::start(), image());
    let name = registry.push("team/app", "1", &image);
    for (reference, holds) in [
        ("team/app:1", true),
        ("team/app", true),
        ("team/app:2", false),
    ] {
        let env = Env::new(User::ordinary());
        let payload = payload(&registry.name(reference), image.digest());
        env.write("payload", &payload);
        for arguments in [
            [
                "ecparam",
                "-name",
                "prime256v1",
                "-genkey",
                "-noout",
                "-out",
                "ec.key",
            ]
            .as_slice(),
            &["ec", "-in", "ec.key", "-pubout", "-out", "ec.pub"],
            &[
                "dgst",
                "-sha256",
                "-sign",
                "ec.key",
                "-out",
                "signature",
                "payload",
            ],
        ] {
            tool(&env, "openssl", arguments);
        }
        let signature = std::fs::read(env.scratch("signature")).unwrap();
        let signatures = Cosign::new().item(payload.into_bytes(), signature);
        registry.push_signatures("team/app", image.digest(), &signatures);
        let key = env.scratch("ec.pub");
        let (prefix, key) = (registry.host(), key.to_str().unwrap());
        env.skua(&["trust", "add", "--prefix", &prefix, key])
            .success();
        let run = env.skua(&["run", &name, "--", "exit", "7"]);
        if holds {
            run.exits(7);
        } else {
            run.fails(&["signed for tag 2, not 1"]);
        }
    }
}

fn payload(reference: &str, digest: &str) -> String {
    serde_json::json!({
        "critical": {
            "identity": {"docker-reference": reference},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": {"creator": "containers/image 5.22.0", "timestamp": 1_767_225_600},
    })
    .to_string()
}

const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

#[test]
fn a_bundle_attached_as_a_referrer_is_found_with_and_without_a_list_of_referrers() {
    let (key, image) = (Key::new(1), image());
    for attach in [Registry::attach, Registry::attach_by_tag] {
        let registry = Registry::start();
        let name = registry.push("team/app", "1", &image);
        let env = Env::new(User::ordinary());
        env.trust(&registry.host(), &key);
        let other = key.bundle(&functional::sha256(b"other"), SIGN);
        attach(&registry, "team/app", image.digest(), &other);
        env.skua(&["run", &name, "--", "exit", "7"])
            .fails(&["bundle", "signs another image"]);
        attach(
            &registry,
            "team/app",
            image.digest(),
            &key.bundle(image.digest(), SIGN),
        );
        env.skua(&["run", &name, "--", "exit", "7"]).exits(7);
        drop(registry);
        env.skua(&["run", "--pull=never", &name, "--", "exit", "7"])
            .exits(7);
    }
}

#[test]
fn provenance_by_a_trusted_key_is_no_signature() {
    let (registry, key, image) = (Registry::start(), Key::new(1), image());
    let name = registry.push("team/app", "1", &image);
    let env = Env::new(User::ordinary());
    env.trust(&registry.host(), &key);
    let provenance = key.bundle(image.digest(), "https://slsa.dev/provenance/v1");
    registry.attach("team/app", image.digest(), &provenance);
    env.skua(&["run", &name, "--", "exit", "7"])
        .fails(&["no image signature but 'https://slsa.dev/provenance/v1'"]);
}

#[test]
fn an_image_whose_signature_is_found_is_not_asked_for_referrers() {
    let (registry, key, image) = (Registry::start(), Key::new(1), image());
    let name = registry.push_signed("team/app", "1", &image, &key);
    let env = Env::new(User::ordinary());
    env.trust(&registry.host(), &key);
    env.skua(&["fetch", &name]).success();
    let asked = registry.requests();
    assert!(
        !asked
            .iter()
            .any(|request| request.path.contains("/referrers/")),
        "{asked:?}"
    );
}
