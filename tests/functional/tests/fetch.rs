//! `skua fetch`: what gets into the store, in how many requests, and what does not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use functional::registry::{Action, Fault};
use functional::{Built, Compression, Env, Image, Key, Layer, Registry, User, eventually};
use nix::sys::signal::Signal;

const INSECURE: &str = "--insecure-options=image";

/// More than what is kept for resuming, and incompressible.
fn large(seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(4 << 20);
    while bytes.len() < 4 << 20 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.extend(state.to_be_bytes());
    }
    bytes
}

fn layer(name: &str) -> Layer {
    Layer::new().file(name, 0o644, name)
}

fn small() -> Built {
    Image::new().layer(layer("one")).layer(layer("two")).build()
}

/// Everything in the store, but for its directories' names of processes.
fn files(env: &Env) -> BTreeSet<PathBuf> {
    fn walk(at: &Path, found: &mut BTreeSet<PathBuf>) {
        for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                walk(&path, found);
            } else {
                found.insert(path);
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(&env.data().join("store"), &mut found);
    found
}

fn blob_requests(registry: &Registry, digest: &str) -> usize {
    let path = format!("/blobs/{digest}");
    registry
        .requests()
        .iter()
        .filter(|r| r.path.ends_with(&path))
        .count()
}

#[test]
fn an_image_is_fetched_and_its_digest_printed_for_every_kind_of_user() {
    let registry = Registry::start();
    let image = Image::new()
        .layer(layer("gzip"))
        .layer(layer("plain").compression(Compression::None))
        .layer(layer("zstd").compression(Compression::Zstd))
        .build();
    let name = registry.push("some/image", "1", &image);
    for user in User::all() {
        let env = Env::new(user);
        env.skua(&[INSECURE, "fetch", &name])
            .success()
            .says(&format!("{name}@{}\n", image.digest()))
            .complains("fetching 3 layers");
        for layer in &image.layers {
            let hex = &layer.diff_id["sha256:".len()..];
            let tree = env.data().join("store/trees/sha256").join(hex);
            assert!(
                tree.join("meta.json").exists(),
                "{user:?} {}",
                tree.display()
            );
        }
    }
}

#[test]
fn images_with_docker_media_types_and_indexes_are_fetched() {
    let registry = Registry::start();
    let env = Env::new(User::ordinary());
    let docker = Image::new().docker().layer(layer("one")).build();
    let name = registry.push("docker", "1", &docker);
    env.skua(&[INSECURE, "fetch", &name])
        .success()
        .says(docker.digest());
    let image = small();
    registry.push("indexed", "only-for-its-blobs", &image);
    let index = image.index();
    registry.put_manifest("indexed", "1", &index.media_type, &index.bytes);
    registry.put_manifest("indexed", &index.digest, &index.media_type, &index.bytes);
    let name = registry.name("indexed:1");
    env.skua(&[INSECURE, "fetch", &name])
        .success()
        .says(image.digest());
    let pinned = registry.name(&format!("indexed@{}", index.digest));
    env.skua(&[INSECURE, "fetch", &pinned])
        .success()
        .says(image.digest());
}

#[test]
fn quiet_says_nothing_but_the_digest() {
    let registry = Registry::start();
    let name = registry.push("i", "1", &small());
    let run = Env::new(User::ordinary())
        .skua(&["--quiet", INSECURE, "fetch", &name])
        .success();
    assert_eq!(run.stderr, "", "{}", run.report());
}

#[test]
fn an_unchanged_tag_costs_one_conditional_request_and_a_pinned_digest_none() {
    let registry = Registry::start();
    let image = small();
    let name = registry.push("i", "1", &image);
    let env = Env::new(User::ordinary());
    env.skua(&[INSECURE, "fetch", &name]).success();
    registry.forget_requests();
    env.skua(&[INSECURE, "fetch", &name])
        .success()
        .says(image.digest());
    let requests = registry.requests();
    assert_eq!(requests.len(), 1, "{requests:#?}");
    assert_eq!(requests[0].status, 304);
    let pinned = registry.name(&format!("i@{}", image.digest()));
    registry.forget_requests();
    env.skua(&[INSECURE, "fetch", &pinned]).success();
    assert_eq!(registry.requests().len(), 0);
}

#[test]
fn a_tag_that_moved_is_fetched_again_and_shared_layers_are_not() {
    let registry = Registry::start();
    let first = small();
    let name = registry.push("i", "1", &first);
    let env = Env::new(User::ordinary());
    env.skua(&[INSECURE, "fetch", &name]).success();
    let second = Image::new()
        .layer(layer("one"))
        .layer(layer("three"))
        .build();
    registry.push("i", "1", &second);
    registry.forget_requests();
    env.skua(&[INSECURE, "fetch", &name])
        .success()
        .says(second.digest());
    assert_eq!(blob_requests(&registry, &second.layers[0].digest), 0);
    assert_eq!(blob_requests(&registry, &second.layers[1].digest), 1);
}

#[test]
fn trust_is_decided_before_any_layer_is_asked_for() {
    let registry = Registry::start();
    let (right, wrong) = (Key::new(1), Key::new(2));
    let env = Env::new(User::ordinary());
    env.trust(&registry.name("team"), &right);
    let image = small();
    let unsigned = registry.push("team/unsigned", "1", &image);
    let other = Image::new().layer(layer("other")).build();
    let forged = registry.push_signed("team/forged", "1", &other, &wrong);
    let outside = registry.push_signed("teams", "1", &other, &right);
    let before = files(&env);
    for name in [&unsigned, &forged, &outside] {
        env.skua(&["fetch", name]).fails(&["is not trusted"]);
    }
    for layer in image.layers.iter().chain(&other.layers) {
        assert_eq!(blob_requests(&registry, &layer.digest), 0);
    }
    let after: BTreeSet<_> = files(&env).difference(&before).cloned().collect();
    let content = |path: &PathBuf| path.to_string_lossy().contains("sha256/");
    assert!(!after.iter().any(content), "{after:#?}");
    let good = registry.push_signed("team/good", "1", &image, &right);
    env.skua(&["fetch", &good]).success();
}

#[test]
fn an_image_without_a_signature_can_be_signed_later() {
    let registry = Registry::start();
    let key = Key::new(1);
    let env = Env::new(User::ordinary());
    env.trust(&registry.name("team"), &key);
    let image = small();
    let name = registry.push("team/image", "1", &image);
    env.skua(&[INSECURE, "fetch", &name]).success();
    env.skua(&["fetch", &name]).fails(&["is not trusted"]);
    registry.push_signed("team/image", "1", &image, &key);
    env.skua(&["fetch", &name]).success();
    registry.forget_requests();
    env.skua(&["fetch", &name]).success();
    assert_eq!(registry.requests().len(), 1, "evidence is kept");
}

#[test]
fn one_flipped_bit_anywhere_is_refused_and_leaves_the_store_as_it_was() {
    let image = small();
    let pin = image.digest().to_owned();
    let parts = [
        (format!("/manifests/{pin}"), "manifest"),
        (format!("/blobs/{}", image.config.digest), "config"),
        (format!("/blobs/{}", image.layers[0].digest), "layer"),
    ];
    let env = Env::new(User::ordinary());
    let registry = Registry::start();
    let good = registry.push("good", "1", &Image::new().layer(layer("good")).build());
    env.skua(&[INSECURE, "fetch", &good]).success();
    let before = files(&env);
    registry.push("bad", "1", &image);
    for (path, what) in parts {
        registry.fault(Fault::times(1, &path, Action::FlipBit(40)));
        let name = registry.name(&format!("bad@{pin}"));
        env.skua(&[INSECURE, "fetch", &name])
            .fails(&[what, "digest"]);
        assert_eq!(files(&env), before, "after a bad {what}");
    }
    env.skua(&[INSECURE, "fetch", &registry.name(&format!("bad@{pin}"))])
        .success();
}

#[test]
fn a_broken_connection_is_continued_where_it_broke() {
    let registry = Registry::start();
    let image = Image::new()
        .layer(Layer::new().file("big", 0o644, large(1)))
        .build();
    let name = registry.push("i", "1", &image);
    let path = format!("/blobs/{}", image.layers[0].digest);
    for fault in [
        Action::Reset(2 << 20),
        Action::Truncate(1 << 20),
        Action::Truncate(70_000),
    ] {
        registry.fault(Fault::times(1, &path, fault));
    }
    registry.fault(Fault::times(1, &path, Action::IgnoreRange));
    let env = Env::new(User::ordinary());
    env.skua(&[INSECURE, "fetch", &name]).success();
    let asked: Vec<_> = registry
        .requests()
        .into_iter()
        .filter(|r| r.path.ends_with(&path))
        .map(|r| r.headers.get("range").cloned())
        .collect();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(
        asked[0].is_none() && asked[1..].iter().all(Option::is_some),
        "{asked:?}"
    );
}

#[test]
fn a_wrong_range_is_refused() {
    let registry = Registry::start();
    let image = Image::new()
        .layer(Layer::new().file("big", 0o644, large(2)))
        .build();
    let name = registry.push("i", "1", &image);
    let path = format!("/blobs/{}", image.layers[0].digest);
    registry.fault(Fault::times(1, &path, Action::Truncate(2 << 20)));
    registry.fault(Fault::always(&path, Action::LieAboutRange));
    let env = Env::new(User::ordinary());
    env.skua(&[INSECURE, "fetch", &name]).fails(&["digest"]);
    registry.clear_faults();
    env.skua(&[INSECURE, "fetch", &name]).success();
}

#[test]
fn a_killed_fetch_is_resumed_by_the_next_one() {
    let registry = Registry::start();
    let image = Image::new()
        .layer(Layer::new().file("big", 0o644, large(3)))
        .build();
    let name = registry.push("i", "1", &image);
    let path = format!("/blobs/{}", image.layers[0].digest);
    for user in User::all() {
        let env = Env::new(user);
        registry.clear_faults();
        registry.fault(Fault::times(1, &path, Action::Stall(3 << 20)));
        let fetch = env.spawn(&[INSECURE, "fetch", &name]);
        let part = env.data().join("store/inbox").join(format!(
            "{}.part",
            &image.layers[0].digest["sha256:".len()..]
        ));
        eventually("most of the layer is there", || {
            std::fs::metadata(&part).is_ok_and(|m| m.len() >= 3 << 20)
        });
        fetch.signal(Signal::SIGKILL);
        drop(fetch);
        registry.forget_requests();
        env.skua(&[INSECURE, "fetch", &name]).success();
        let resumed = registry
            .requests()
            .into_iter()
            .find(|r| r.path.ends_with(&path))
            .unwrap();
        assert_eq!(resumed.headers["range"], format!("bytes={}-", 3 << 20));
        assert!(resumed.headers.contains_key("if-range"));
        assert!(!part.exists(), "the kept part is removed");
    }
}

#[test]
fn kept_bytes_that_are_wrong_are_given_up() {
    let registry = Registry::start();
    let image = Image::new()
        .layer(Layer::new().file("big", 0o644, large(4)))
        .build();
    let name = registry.push("i", "1", &image);
    let env = Env::new(User::ordinary());
    let other = registry.push("other", "1", &small());
    env.skua(&[INSECURE, "fetch", &other]).success();
    let hex = &image.layers[0].digest["sha256:".len()..];
    let part = env.data().join("store/inbox").join(format!("{hex}.part"));
    std::fs::write(&part, vec![7; 1 << 20]).unwrap();
    env.give(&part);
    env.skua(&[INSECURE, "fetch", &name]).success();
    assert!(!part.exists());
}

#[test]
fn many_fetches_at_once_download_each_layer_once() {
    let registry = Registry::start();
    let image = Image::new()
        .layer(Layer::new().file("big", 0o644, large(5)))
        .layer(layer("one"))
        .layer(layer("two"))
        .build();
    let name = registry.push("i", "1", &image);
    let env = Env::new(User::ordinary());
    let running: Vec<_> = (0..8)
        .map(|_| env.spawn(&[INSECURE, "fetch", &name]))
        .collect();
    for fetch in running {
        fetch.wait().success().says(image.digest());
    }
    for layer in &image.layers {
        assert_eq!(blob_requests(&registry, &layer.digest), 1);
    }
}

#[test]
fn a_tree_that_is_not_the_diff_id_of_the_config_is_refused() {
    let registry = Registry::start();
    let zeros = format!("sha256:{}", "0".repeat(64));
    let rootfs = serde_json::json!({"type": "layers", "diff_ids": [zeros]});
    let image = Image::new()
        .layer(layer("one"))
        .edit_config("rootfs", rootfs)
        .build();
    let name = registry.push("i", "1", &image);
    for user in User::all() {
        let env = Env::new(user);
        env.skua(&[INSECURE, "fetch", &name])
            .fails(&["layer", "config says"]);
        let trees = env.data().join("store/trees/sha256");
        assert_eq!(std::fs::read_dir(trees).unwrap().count(), 0);
        let inbox = env.data().join("store/inbox");
        assert_eq!(std::fs::read_dir(inbox).unwrap().count(), 0, "{user:?}");
    }
}
