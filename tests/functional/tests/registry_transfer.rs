//! What goes wrong between a registry and us, and what a fetch makes of it: bounded, continued, never wrong.

use std::time::{Duration, SystemTime};

use functional::registry::{Action, Auth, Fault};
use functional::{Built, Env, Image, Layer, Registry, User, eventually};
use nix::sys::signal::Signal;
use serde_json::json;

const INSECURE: &str = "--insecure-options=image";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image with a layer that is larger than what is kept for resuming, and incompressible.
fn large(seed: u64) -> Built {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(4 << 20);
    while bytes.len() < 4 << 20 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.extend(state.to_be_bytes());
    }
    Image::new()
        .layer(Layer::new().file("big", 0o644, bytes))
        .build()
}

fn small() -> Built {
    Image::new()
        .layer(Layer::new().file("one", 0o644, "1"))
        .layer(Layer::new().file("two", 0o644, "2"))
        .build()
}

fn layer_path(image: &Built) -> String {
    format!("/blobs/{}", image.layers[0].digest)
}

fn tokens(registry: &Registry) -> usize {
    let requests = registry.requests();
    requests
        .iter()
        .filter(|r| r.path.starts_with("/token"))
        .count()
}

#[test]
fn a_token_that_ends_in_the_middle_of_a_layer_is_renewed_once() {
    let registry = Registry::start();
    let image = large(1);
    let name = registry.push("some/image", "1", &image);
    registry.require(Auth::Token {
        login: None,
        realm: None,
        uses: 1,
    });
    let path = layer_path(&image);
    // The first is consumed by the refusal of a request without a token that is still good.
    registry.fault(Fault::times(1, &path, Action::Truncate(0)));
    registry.fault(Fault::times(1, &path, Action::Truncate(2 << 20)));
    let env = Env::new(User::ordinary());
    env.skua(&[INSECURE, "fetch", &name]).success();
    let asked: Vec<_> = registry
        .requests()
        .into_iter()
        .filter(|r| r.path.ends_with(&path))
        .map(|r| (r.status, r.headers.get("range").cloned()))
        .collect();
    let resumed = Some(format!("bytes={}-", 2 << 20));
    assert!(asked.contains(&(401, resumed.clone())), "{asked:?}");
    assert_eq!(asked.last(), Some(&(206, resumed)), "{asked:?}");
}

#[test]
fn a_registry_whose_tokens_are_never_good_is_asked_a_few_times() {
    let registry = Registry::start();
    let name = registry.push("i", "1", &small());
    registry.require(Auth::Token {
        login: None,
        realm: None,
        uses: 0,
    });
    let env = Env::new(User::ordinary());
    env.skua(&[INSECURE, "fetch", &name])
        .fails(&["refuses access"]);
    assert!(
        (1..=3).contains(&tokens(&registry)),
        "{}",
        tokens(&registry)
    );
}

#[test]
fn a_date_to_come_back_at_is_heeded() {
    let registry = Registry::start();
    let name = registry.push("i", "1", &small());
    let env = Env::new(User::ordinary());
    // By the registry's own clock, which is years off.
    let fields = vec![
        (
            "Date".to_owned(),
            "Sat, 01 Jan 2000 00:00:00 GMT".to_owned(),
        ),
        (
            "Retry-After".to_owned(),
            "Sat, 01 Jan 2000 00:00:02 GMT".to_owned(),
        ),
    ];
    registry.fault(Fault::times(1, "/manifests/1", Action::Status(503, fields)));
    let start = SystemTime::now();
    let run = env.skua(&[INSECURE, "fetch", &name]).success();
    assert!(
        run.elapsed >= Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_flapping_registry_is_asked_five_times_for_each_thing() {
    let registry = Registry::start();
    let image = large(2);
    let name = registry.push("i", "1", &image);
    let env = Env::new(User::ordinary());
    let path = layer_path(&image);
    for action in [
        Action::Status(500, vec![]),
        Action::Reset(0),
        Action::Status(502, vec![]),
        Action::Reset(1 << 20),
        Action::Status(504, vec![]),
        Action::Status(503, vec![]),
    ] {
        registry.fault(Fault::times(1, &path, action));
    }
    env.skua(&[INSECURE, "fetch", &name]).success();
    let other = registry.push("j", "1", &large(3));
    registry.fault(Fault::always("/j/blobs/", Action::Status(503, vec![])));
    registry.forget_requests();
    env.skua(&[INSECURE, "fetch", &other]).fails(&["503"]);
    let config = registry.requests();
    let config = config.iter().filter(|r| r.path.contains("/j/blobs/"));
    assert_eq!(config.count(), 5);
}

#[test]
fn a_document_that_breaks_off_is_asked_for_again() {
    let registry = Registry::start();
    let image = small();
    let name = registry.push("i", "1", &image);
    let env = Env::new(User::ordinary());
    registry.fault(Fault::times(2, "/manifests/1", Action::Reset(20)));
    registry.fault(Fault::times(1, &image.config.digest, Action::Truncate(9)));
    env.skua(&[INSECURE, "fetch", &name]).success();
    let env = Env::new(User::ordinary());
    registry.fault(Fault::always("/manifests/1", Action::Truncate(20)));
    env.skua(&[INSECURE, "fetch", &name]).fails(&["broke"]);
}

#[test]
fn a_part_that_is_not_the_one_asked_for_is_not_taken() {
    let registry = Registry::start();
    let image = large(4);
    let name = registry.push("i", "1", &image);
    let path = layer_path(&image);
    let size = image.layers[0].bytes.len();
    let env = Env::new(User::ordinary());
    for range in [
        format!("bytes 0-{}/{size}", size - 1),
        format!("bytes {}-{}/{size}", (1 << 20) + 1, size - 1),
        format!("bytes {}-{}/{}", 1 << 20, size - 1, size + 1),
        "bytes */*".to_owned(),
    ] {
        registry.clear_faults();
        registry.fault(Fault::times(1, &path, Action::Truncate(1 << 20)));
        registry.fault(Fault::always(&path, Action::ContentRange(range)));
        env.skua(&[INSECURE, "fetch", &name])
            .fails(&["another part than asked for"]);
    }
    registry.clear_faults();
    env.skua(&[INSECURE, "fetch", &name]).success();
}

#[test]
fn bytes_kept_of_a_version_that_is_gone_are_not_continued() {
    let registry = Registry::start();
    let image = large(5);
    let name = registry.push("i", "1", &image);
    let path = layer_path(&image);
    let env = Env::new(User::ordinary());
    registry.fault(Fault::times(1, &path, Action::Stall(2 << 20)));
    let fetch = env.spawn(&[INSECURE, "fetch", &name]);
    let hex = &image.layers[0].digest["sha256:".len()..];
    let part = env.data().join("store/inbox").join(format!("{hex}.part"));
    eventually("half of the layer is there", || {
        std::fs::metadata(&part).is_ok_and(|m| m.len() >= 2 << 20)
    });
    fetch.signal(Signal::SIGKILL);
    drop(fetch);
    // As after a reboot with another version behind the same URL: the registry answers with the whole.
    let etag = part.with_extension("etag");
    std::fs::write(&etag, "\"another version\"").unwrap();
    registry.forget_requests();
    env.skua(&[INSECURE, "fetch", &name]).success();
    let requests = registry.requests();
    let resumed = requests.iter().find(|r| r.path.ends_with(&path)).unwrap();
    assert_eq!(resumed.headers["if-range"], "\"another version\"");
    assert_eq!(resumed.status, 200);
    assert!(!part.exists() && !etag.exists());
}

#[test]
fn a_registry_that_falls_silent_is_given_half_a_minute_and_then_asked_again() {
    let registry = Registry::start();
    let image = large(6);
    let name = registry.push("i", "1", &image);
    let path = layer_path(&image);
    registry.fault(Fault::times(1, &path, Action::Stall(1 << 20)));
    let env = Env::new(User::ordinary());
    env.skua(&[INSECURE, "fetch", &name]).success();
    let requests = registry.requests();
    let last = requests.iter().rfind(|r| r.path.ends_with(&path)).unwrap();
    assert_eq!(last.headers["range"], format!("bytes={}-", 1 << 20));
}

#[test]
fn a_byte_for_each_connection_is_no_progress() {
    let (mirror, registry) = (Registry::start(), Registry::start());
    let image = large(7);
    registry.push("i", "1", &image);
    mirror.push("i", "1", &image);
    let path = layer_path(&image);
    mirror.fault(Fault::always(&path, Action::Truncate(1)));
    let asked = |registry: &Registry| {
        let requests = registry.requests();
        requests.iter().filter(|r| r.path.ends_with(&path)).count()
    };
    let env = Env::new(User::ordinary());
    env.skua(&[INSECURE, "fetch", &mirror.name("i:1")])
        .fails(&["cannot fetch layer", &mirror.host()]);
    assert!(asked(&mirror) <= 6, "{}", asked(&mirror));
    // The next place is asked for the rest.
    let env = Env::new(User::ordinary());
    let (prefix, location) = (registry.host(), mirror.host());
    let rule = format!(
        "[[registry]]\nprefix = \"{prefix}\"\n[[registry.mirror]]\nlocation = \"{location}\"\n"
    );
    env.containers("registries.conf", &rule);
    env.skua(&[INSECURE, "fetch", &registry.name("i:1")])
        .success();
    assert!(asked(&mirror) <= 12, "{}", asked(&mirror));
    assert_eq!(asked(&registry), 1);
}

#[test]
fn a_layer_that_another_fetch_claims_is_waited_for_and_then_fetched_once_more() {
    let registry = Registry::start();
    let image = large(8);
    let slow = registry.push("slow", "1", &image);
    registry.fault(Fault::always(
        &layer_path(&image),
        Action::Trickle(2048, Duration::from_secs(1)),
    ));
    let env = Env::new(User::ordinary());
    let layout = env.scratch("layout");
    image.write_layout(&layout, "1");
    env.give(&layout);
    let claimed = env.data().join("store/inbox");
    let first = env.spawn(&[INSECURE, "fetch", &slow]);
    eventually("the slow fetch has claimed its layer", || {
        let mut inbox = std::fs::read_dir(&claimed).into_iter().flatten().flatten();
        inbox.any(|entry| entry.file_name().to_string_lossy().starts_with("tree-"))
    });
    let local = format!("oci:{}:1", layout.display());
    let run = env.skua(&[INSECURE, "fetch", &local]).success();
    assert!(run.stderr.contains("waiting for another fetch"), "{run:?}");
    assert!(run.stderr.contains("fetched once more"), "{run:?}");
    // What the slow one has claimed is there by now, and is not made again.
    let id = || {
        let trees = env.data().join("store/trees/sha256");
        let mut trees = std::fs::read_dir(trees).unwrap().flatten();
        std::os::unix::fs::DirEntryExt::ino(&trees.next().unwrap())
    };
    let before = id();
    registry.clear_faults();
    first.signal(Signal::SIGTERM);
    drop(first);
    env.skua(&[INSECURE, "fetch", &slow]).success();
    assert_eq!(id(), before);
}

#[test]
fn an_ipv6_address_is_a_registry() {
    let Some(registry) = Registry::start_on_ipv6() else {
        return functional::skip("an_ipv6_address", "there is no ::1");
    };
    let image = small();
    let name = registry.push("some/i", "1", &image);
    assert!(name.starts_with("[::1]:"), "{name}");
    let env = Env::new(User::ordinary());
    env.skua(&[INSECURE, "fetch", &name])
        .success()
        .says(&format!("{name}@{}", image.digest()));
    env.skua(&[
        INSECURE,
        "fetch",
        &registry.name(&format!("some/i@{}", image.digest())),
    ])
    .success();
}

#[test]
fn indexes_may_be_inside_each_other_four_deep() {
    let registry = Registry::start();
    let image = small();
    registry.push("i", "plain", &image);
    let env = Env::new(User::ordinary());
    let mut inner = image.index();
    for depth in 1..=5 {
        registry.put_manifest("i", &inner.digest, INDEX, &inner.bytes);
        registry.put_manifest("i", &format!("d{depth}"), INDEX, &inner.bytes);
        let name = registry.name(&format!("i:d{depth}"));
        let run = env.skua(&[INSECURE, "fetch", &name]);
        match depth {
            ..=4 => run.success().says(image.digest()),
            _ => run.fails(&["more than 4 indexes"]),
        };
        let document =
            json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [inner.descriptor()]});
        inner = functional::Blob::new(document.to_string().into_bytes(), INDEX);
    }
}

#[test]
fn what_is_no_image_is_refused_with_its_type() {
    let registry = Registry::start();
    let env = Env::new(User::ordinary());
    let image = small();
    let mut layers: Vec<_> = image
        .layers
        .iter()
        .map(functional::Blob::descriptor)
        .collect();
    layers[0]["mediaType"] = json!("application/vnd.example.layer");
    let odd = Image::new()
        .layer(Layer::new().file("one", 0o644, "1"))
        .layer(Layer::new().file("two", 0o644, "2"))
        .edit_manifest("layers", json!(layers))
        .build();
    let name = registry.push("odd", "1", &odd);
    env.skua(&[INSECURE, "fetch", &name])
        .fails(&["layer", "application/vnd.example.layer"]);
    let config = json!({
        "mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": registry.put_blob(b"{}"),
    });
    let artifact = Image::new()
        .edit_manifest("config", config)
        .edit_manifest(
            "artifactType",
            json!("application/vnd.cncf.helm.config.v1+json"),
        )
        .build();
    let name = registry.push("chart", "1", &artifact);
    env.skua(&[INSECURE, "fetch", &name])
        .fails(&["no image that could run", "oci.empty"]);
    let first = json!({"schemaVersion": 1, "name": "x", "tag": "1", "fsLayers": []});
    registry.put_manifest(
        "old",
        "1",
        "application/vnd.docker.distribution.manifest.v1+json",
        first.to_string().as_bytes(),
    );
    env.skua(&[INSECURE, "fetch", &registry.name("old:1")])
        .fails(&["schema version 1"]);
}

#[test]
fn an_unchanged_tag_costs_one_request_without_versions_too() {
    let registry = Registry::start();
    let image = small();
    let index = image.index();
    registry.push("i", "only-blobs", &image);
    for reference in ["1", &index.digest] {
        registry.put_manifest("i", reference, INDEX, &index.bytes);
    }
    registry.fault(Fault::always(
        "/manifests/1",
        Action::Version(String::new()),
    ));
    let name = registry.name("i:1");
    let env = Env::new(User::ordinary());
    env.skua(&[INSECURE, "fetch", &name]).success();
    registry.forget_requests();
    env.skua(&[INSECURE, "fetch", &name])
        .success()
        .says(image.digest());
    let requests = registry.requests();
    assert_eq!(requests.len(), 1, "{requests:#?}");
    assert!(!requests[0].headers.contains_key("if-none-match"));
}
