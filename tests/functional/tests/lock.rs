//! `skua lock` and `run --locked`: the images of a lock run, and no others.

use functional::{Cosign, Env, Image, Key, Registry, User};
use serde_json::Value;

/// A registry with a signed `demo/image:1`, and an environment that trusts its key.
fn signed() -> (Registry, String, Env) {
    let registry = Registry::start();
    let name = registry.push_signed("demo/image", "1", &Image::inspect().build(), &Key::new(1));
    let env = Env::new(User::ordinary());
    env.trust(&registry.host(), &Key::new(1));
    (registry, name, env)
}

fn lock(env: &Env, name: &str) -> String {
    let printed = env.skua(&["lock", name]).success().stdout;
    let path = env.write("skua.lock", printed);
    path.to_str().unwrap().to_owned()
}

fn edited(env: &Env, lock: &str, pointer: &str, value: Value) -> String {
    let text = std::fs::read(lock).unwrap();
    let mut document: Value = serde_json::from_slice(&text).unwrap();
    *document.pointer_mut(pointer).unwrap() = value;
    env.write("edited.lock", document.to_string())
        .to_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_tag_that_moved_does_not_move_a_lock() {
    let (registry, name, env) = signed();
    let lock = lock(&env, &name);
    let other = Image::inspect().cmd(&["other"]).build();
    registry.push_signed("demo/image", "1", &other, &Key::new(1));
    // This store has the old image under the tag, the other store has nothing yet.
    let fresh = Env::new(User::ordinary());
    fresh.trust(&registry.host(), &Key::new(1));
    let copy = fresh.write("skua.lock", std::fs::read(&lock).unwrap());
    let copy = copy.to_str().unwrap();
    for (env, lock) in [(&env, lock.as_str()), (&fresh, copy)] {
        env.skua(&["run", "--locked", lock, &name, "--", "exit", "7"])
            .exits(7);
        env.skua(&["fetch", &name]).success().says(other.digest());
        env.skua(&["run", "--locked", lock, &name, "--", "exit", "7"])
            .exits(7);
        env.skua(&[
            "run",
            "--pull=never",
            "--locked",
            lock,
            &name,
            "--",
            "exit",
            "7",
        ])
        .exits(7);
    }
}

#[test]
fn a_lock_of_a_multi_platform_image_holds_in_an_empty_store() {
    let (registry, key, image) = (Registry::start(), Key::new(1), Image::inspect().build());
    registry.push("demo/image", "amd64", &image);
    let index = image.index();
    for reference in ["all", &index.digest] {
        registry.put_manifest("demo/image", reference, &index.media_type, &index.bytes);
    }
    let signatures = Cosign::new().sign(&key, &registry.name("demo/image"), &index.digest);
    registry.push_signatures("demo/image", &index.digest, &signatures);
    let name = registry.name("demo/image:all");
    let env = Env::new(User::ordinary());
    env.trust(&registry.host(), &key);
    let lock = lock(&env, &name);
    let fresh = Env::new(User::ordinary());
    fresh.trust(&registry.host(), &key);
    let copy = fresh.write("skua.lock", std::fs::read(&lock).unwrap());
    fresh
        .skua(&[
            "run",
            "--locked",
            copy.to_str().unwrap(),
            &name,
            "--",
            "exit",
            "7",
        ])
        .exits(7);
    let other = edited(&env, &lock, "/images/0/index", Value::Null);
    env.skua(&["run", "--locked", &other, &name, "--", "exit", "7"])
        .fails(&[&name]);
}

#[test]
fn what_is_not_in_the_lock_or_differs_from_it_does_not_run() {
    let (registry, name, env) = signed();
    let lock = lock(&env, &name);
    let other = registry.push_signed("demo/other", "1", &Image::inspect().build(), &Key::new(1));
    env.skua(&["run", "--locked", &lock, &other])
        .fails(&[&other, "is not in lock"]);
    let wrong = Value::from(functional::sha256(b"wrong"));
    for (pointer, part) in [("config", "its config is"), ("layers/0", "its layers is")] {
        let lock = edited(&env, &lock, &format!("/images/0/{pointer}"), wrong.clone());
        env.skua(&["run", "--locked", &lock, &name])
            .fails(&[&name, part, "locked to"]);
    }
    let manifest = edited(&env, &lock, "/images/0/manifest", wrong);
    env.skua(&["run", "--locked", &manifest, &name])
        .fails(&[&name]);
    let newer = edited(&env, &lock, "/version", 2.into());
    env.skua(&["run", "--locked", &newer, &name])
        .fails(&["has version 2"]);
    let rubbish = env.write("rubbish", "{}{}");
    env.skua(&["run", "--locked", rubbish.to_str().unwrap(), &name])
        .fails(&["cannot parse lock"]);
    env.skua(&["run", "--locked", "/nonexistent", &name])
        .fails(&["cannot read lock"]);
}

#[test]
fn an_image_that_lost_its_signer_is_not_the_locked_one() {
    let (registry, name, env) = signed();
    let image = Image::inspect().build();
    let identity = registry.name("demo/image");
    let both = Cosign::new()
        .sign(&Key::new(1), &identity, image.digest())
        .sign(&Key::new(2), &identity, image.digest());
    registry.push_signatures("demo/image", image.digest(), &both);
    let lock = lock(&env, &name);
    env.trust(&registry.host(), &Key::new(2));
    env.skua(&["run", "--locked", &lock, &name, "--", "exit", "7"])
        .exits(7);
    let file = env.write("gone.pem", Key::new(1).public_pem());
    env.skua(&[
        "trust",
        "rm",
        "--prefix",
        &registry.host(),
        file.to_str().unwrap(),
    ])
    .success();
    env.skua(&["run", "--locked", &lock, &name, "--", "exit", "7"])
        .fails(&[&name, "no signature by key sha256:", "any more"]);
    env.skua(&["run", &name, "--", "exit", "7"]).exits(7);
}

#[test]
fn an_index_known_by_its_tag_is_found_by_its_digest() {
    let (registry, key, image) = (Registry::start(), Key::new(1), Image::inspect().build());
    registry.push("demo/image", "amd64", &image);
    let index = image.index();
    for reference in ["all", &index.digest] {
        registry.put_manifest("demo/image", reference, &index.media_type, &index.bytes);
    }
    let signatures = Cosign::new().sign(&key, &registry.name("demo/image"), &index.digest);
    registry.push_signatures("demo/image", &index.digest, &signatures);
    let env = Env::new(User::ordinary());
    env.trust(&registry.host(), &key);
    env.skua(&["fetch", &registry.name("demo/image:all")])
        .success();
    let pinned = format!("{}@{}", registry.name("demo/image"), index.digest);
    env.skua(&["run", &pinned, "--", "exit", "7"]).exits(7);
}
