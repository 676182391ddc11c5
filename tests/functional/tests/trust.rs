//! Which images run: signatures, scopes, revocation; what the user is told about each.

use std::fs;

use functional::{Built, Cosign, Env, Image, Key, Registry, User, sha256};

fn image() -> Built {
    Image::inspect().build()
}

/// Nothing of a refused image is in the store, and no layer of it was even asked for.
#[track_caller]
fn refused(env: &Env, registry: &Registry, name: &str, image: &Built, parts: &[&str]) {
    registry.forget_requests();
    env.skua(&["run", name, "--", "exit", "0"]).fails(parts);
    let asked = registry.requests();
    for layer in &image.layers {
        let fetched = asked
            .iter()
            .find(|request| request.path.contains(&layer.digest));
        assert!(fetched.is_none(), "a layer was asked for: {fetched:?}");
    }
    assert_nothing_kept(env);
}

#[track_caller]
fn assert_nothing_kept(env: &Env) {
    for part in [
        "trees/sha256",
        "refs",
        "evidence/sha256",
        "oci/blobs/sha256",
        "inbox",
    ] {
        let found = fs::read_dir(env.data().join("store").join(part));
        let names: Vec<_> = found
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.file_name())
            .collect();
        assert!(names.is_empty(), "left in {part}: {names:?}");
    }
}

#[test]
fn an_image_without_a_scope_does_not_run() {
    let registry = Registry::start();
    let image = image();
    let name = registry.push_signed("demo/image", "1", &image, &Key::new(1));
    for user in User::all() {
        refused(
            &Env::new(user),
            &registry,
            &name,
            &image,
            &[&name, "no scope of the trust policy"],
        );
    }
}

#[test]
fn nobody_is_asked_for_an_image_that_no_scope_can_accept() {
    let (registry, image) = (Registry::start(), image());
    let name = registry.push_signed("demo/image", "1", &image, &Key::new(1));
    let layout = Env::new(User::ordinary()).scratch("absent");
    let local = format!("oci:{}:1", layout.display());
    let env = Env::new(User::ordinary());
    let scope = |rule: &str| format!("[[scope]]\nprefix = \"{}\"\n{rule}\n", registry.host());
    for (rule, reason) in [
        ("rule = \"reject\"", "rejects it"),
        ("rule = \"digest-pinned\"", "wants a digest in its name"),
        (
            "rule = \"signed\"\nkeys = [\"/nowhere.pem\"]",
            "/nowhere.pem",
        ),
    ] {
        env.policy("demo.toml", &scope(rule));
        for command in [
            &["fetch"][..],
            &["run"],
            &["run", "--pull=always"],
            &["lock"],
        ] {
            let words = [command, &[name.as_str()]].concat();
            env.skua(&words).fails(&[&name, "is not trusted", reason]);
        }
        // The name that it would get decides, not the place that it would come from.
        env.skua(&["fetch", "--as", &name, &local])
            .fails(&["is not trusted", reason]);
    }
    env.skua(&["fetch", &local])
        .fails(&["no scope of the trust policy"]);
    let asked = registry.requests();
    assert!(asked.is_empty(), "{asked:?}");
    let insecure = ["--insecure-options=image", "fetch", &name];
    env.skua(&insecure).success();
}

#[test]
fn an_unsigned_image_does_not_run() {
    let registry = Registry::start();
    let image = image();
    let name = registry.push("demo/image", "1", &image);
    for user in User::all() {
        let env = Env::new(user);
        env.trust(&registry.name("demo"), &Key::new(1));
        let scope = format!("scope {}", registry.name("demo"));
        refused(
            &env,
            &registry,
            &name,
            &image,
            &[&name, &scope, "a signature by its key, and it has none"],
        );
    }
}

#[test]
fn a_signature_by_another_key_does_not_count() {
    let registry = Registry::start();
    let image = image();
    let name = registry.push_signed("demo/image", "1", &image, &Key::new(2));
    let env = Env::new(User::ordinary());
    env.trust(&registry.name("demo"), &Key::new(1));
    refused(
        &env,
        &registry,
        &name,
        &image,
        &[
            "cosign signature",
            "made with a key that is not the scope's",
        ],
    );
}

#[test]
fn a_signature_for_another_repository_does_not_count() {
    let (registry, key, image) = (Registry::start(), Key::new(1), image());
    let name = registry.push("demo/image", "1", &image);
    let env = Env::new(User::ordinary());
    env.trust(&registry.name("demo"), &key);
    for other in [
        registry.name("demo/other"),
        registry.name("demo/image2"),
        "demo/image".to_owned(),
    ] {
        let signatures = Cosign::new().sign(&key, &other, image.digest());
        registry.push_signatures("demo/image", image.digest(), &signatures);
        let said = format!(
            "signed for repository {other}, not {}",
            registry.name("demo/image")
        );
        refused(&env, &registry, &name, &image, &[&said]);
    }
}

#[test]
fn a_signature_of_another_image_does_not_count() {
    let (registry, key, image) = (Registry::start(), Key::new(1), image());
    let name = registry.push("demo/image", "1", &image);
    let env = Env::new(User::ordinary());
    env.trust(&registry.name("demo"), &key);
    let other = sha256(b"another manifest");
    let signatures = Cosign::new().sign(&key, &registry.name("demo/image"), &other);
    registry.push_signatures("demo/image", image.digest(), &signatures);
    refused(
        &env,
        &registry,
        &name,
        &image,
        &["signs another image", &other],
    );
}

#[test]
fn a_prefix_ends_at_a_slash() {
    let (registry, key, image) = (Registry::start(), Key::new(1), image());
    let name = registry.push_signed("demo/image", "1", &image, &key);
    let env = Env::new(User::ordinary());
    for prefix in ["demo/im", "demo/image/1", "dem"] {
        env.trust(&registry.name(prefix), &key);
    }
    refused(
        &env,
        &registry,
        &name,
        &image,
        &["no scope of the trust policy"],
    );
    env.trust(&registry.name("demo/image"), &key);
    env.skua(&["run", &name, "--", "exit", "7"]).exits(7);
}

#[test]
fn the_longest_prefix_decides() {
    let (registry, key, image) = (Registry::start(), Key::new(1), image());
    let name = registry.push_signed("demo/image", "1", &image, &key);
    let env = Env::new(User::ordinary());
    env.trust(&registry.host(), &key);
    env.trust(&registry.name("demo/image"), &Key::new(2));
    refused(
        &env,
        &registry,
        &name,
        &image,
        &["demo/image", "not the scope's"],
    );
}

#[test]
fn one_flipped_bit_in_manifest_config_or_layer_is_refused() {
    let (registry, key, image) = (Registry::start(), Key::new(1), image());
    let flipped = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    for user in User::all() {
        let env = Env::new(user);
        env.trust(&registry.name("demo"), &key);
        let name = registry.push_signed("demo/image", "1", &image, &key);
        let manifest = &image.manifest;
        registry.put_manifest(
            "demo/image",
            "1",
            &manifest.media_type,
            &flipped(&manifest.bytes),
        );
        env.skua(&["fetch", &name]).fails(&[&name]);
        assert_nothing_kept(&env);
        for blob in [&image.config, &image.layers[0]] {
            let name = registry.push_signed("demo/image", "1", &image, &key);
            registry.replace_blob(&blob.digest, &flipped(&blob.bytes));
            env.skua(&["fetch", &name]).fails(&[&blob.digest]);
            assert_nothing_kept(&env);
        }
        let name = registry.push_signed("demo/image", "1", &image, &key);
        env.skua(&["run", &name, "--", "exit", "7"]).exits(7);
    }
}

#[test]
fn as_many_keys_as_the_scope_says_must_have_signed() {
    let (registry, image) = (Registry::start(), image());
    let name = registry.push("demo/image", "1", &image);
    let identity = registry.name("demo/image");
    let env = Env::new(User::ordinary());
    let prefix = registry.name("demo");
    for number in 1..=3 {
        env.trust(&prefix, &Key::new(number));
    }
    let file = env.write("again.pem", Key::new(1).public_pem());
    env.skua(&[
        "trust",
        "add",
        "--prefix",
        &prefix,
        "--threshold=2",
        file.to_str().unwrap(),
    ])
    .success();
    let tagged = format!("{identity}:1");
    let one_twice = Cosign::new()
        .sign(&Key::new(1), &identity, image.digest())
        .sign(&Key::new(1), &tagged, image.digest());
    registry.push_signatures("demo/image", image.digest(), &one_twice);
    refused(
        &env,
        &registry,
        &name,
        &image,
        &["signatures by 2 of its 3 keys, and it has 1"],
    );
    let two = one_twice.sign(&Key::new(3), &identity, image.digest());
    registry.push_signatures("demo/image", image.digest(), &two);
    env.skua(&["run", &name, "--", "exit", "7"]).exits(7);
}

#[test]
fn a_signature_of_the_index_covers_its_images() {
    let (registry, key, image) = (Registry::start(), Key::new(1), image());
    registry.push("demo/image", "amd64", &image);
    let index = image.index();
    registry.put_manifest("demo/image", "all", &index.media_type, &index.bytes);
    let name = registry.name("demo/image:all");
    let env = Env::new(User::ordinary());
    env.trust(&registry.name("demo"), &key);
    refused(&env, &registry, &name, &image, &["and it has none"]);
    let signatures = Cosign::new().sign(&key, &registry.name("demo/image"), &index.digest);
    registry.push_signatures("demo/image", &index.digest, &signatures);
    env.skua(&["run", &name, "--", "exit", "7"]).exits(7);
    drop(registry);
    env.skua(&["run", "--pull=never", &name, "--", "exit", "7"])
        .exits(7);
}

#[test]
fn a_digest_in_the_name_satisfies_a_scope_that_wants_one() {
    let (registry, image) = (Registry::start(), image());
    let name = registry.push("demo/image", "1", &image);
    let env = Env::new(User::ordinary());
    let scope = format!(
        "[[scope]]\nprefix = \"{}\"\nrule = \"digest-pinned\"\n",
        registry.host()
    );
    env.policy("pinned.toml", &scope);
    refused(
        &env,
        &registry,
        &name,
        &image,
        &["wants a digest in its name"],
    );
    let pinned = format!("{}@{}", registry.name("demo/image"), image.digest());
    env.skua(&["run", "--name=pinned", &pinned, "--", "exit", "7"])
        .exits(7);
    let manifest = env.skua(&["cat-manifest", "pinned"]).success().json();
    assert_eq!(
        manifest["apps"][0]["image"]["trust"]["kind"],
        "digest-pinned"
    );
}
