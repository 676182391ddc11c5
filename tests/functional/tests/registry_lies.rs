//! Places of `registries.conf` that serve other bytes than were asked for: they are named and left, and the next one is asked.

use functional::registry::{Action, Fault};
use functional::{Built, Env, Image, Key, Layer, Registry, Run, User, store_snapshot};

const INSECURE: &str = "--insecure-options=image";

/// Two mirrors and the registry, which all have the image; the second mirror and the registry as they should be.
struct Lab {
    liar: Registry,
    mirror: Registry,
    registry: Registry,
    image: Built,
    name: String,
}

impl Lab {
    fn new() -> Self {
        let lab = Self {
            liar: Registry::start(),
            mirror: Registry::start(),
            registry: Registry::start(),
            image: image(),
            name: String::new(),
        };
        let name = [&lab.liar, &lab.mirror, &lab.registry].map(|place| {
            let index = lab.image.index();
            for reference in ["1", &index.digest] {
                place.put_manifest("team/i", reference, &index.media_type, &index.bytes);
            }
            place.push("team/i", "amd64", &lab.image);
            place.name("team/i:1")
        });
        Self {
            name: name[2].clone(),
            ..lab
        }
    }

    /// A user whose images come from these mirrors first.
    fn user(&self, user: User, mirrors: &[&Registry]) -> Env {
        let env = Env::new(user);
        let mut text = format!("[[registry]]\nprefix = '{}'\n", self.registry.host());
        for mirror in mirrors {
            let mirror = mirror.host();
            text.push_str(&format!("[[registry.mirror]]\nlocation = '{mirror}'\n"));
        }
        env.containers("registries.conf", text);
        env
    }

    fn fetch(&self, env: &Env, more: &[&str]) -> Run {
        env.skua(&[&[INSECURE, "fetch"], more, &[&self.name]].concat())
    }

    /// What of the image `registry` was asked for, by the end of its path.
    fn asked(&self, registry: &Registry, what: &str) -> usize {
        let requests = registry.requests();
        requests.iter().filter(|r| r.path.ends_with(what)).count()
    }
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let noise = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()
    });
    noise.take(length / 8).flatten().collect()
}

/// A layer that is kept while it comes, and a small one.
fn image() -> Built {
    Image::inspect()
        .layer(Layer::new().file("large", 0o644, noise(2 << 20)))
        .layer(Layer::new().file("small", 0o644, "small"))
        .build()
}

/// What a place can do to a body, from the outside always the right size or the wrong one.
fn lies(size: usize) -> Vec<(&'static str, Action)> {
    vec![
        ("a flipped bit at the end", Action::FlipBit(size - 1)),
        ("a flipped bit at the beginning", Action::FlipBit(0)),
        ("too long", Action::Append(b"and more".to_vec())),
    ]
}

#[test]
fn a_mirror_that_serves_a_wrong_layer_is_named_and_the_next_place_is_asked() {
    for user in User::all() {
        let lab = Lab::new();
        for layer in &lab.image.layers[1..] {
            for (what, lie) in lies(layer.bytes.len()) {
                lab.liar.clear_faults();
                lab.registry.forget_requests();
                lab.liar.fault(Fault::always(&layer.digest, lie));
                let env = lab.user(user, &[&lab.liar]);
                let run = lab.fetch(&env, &[]);
                let told = run.stderr.clone();
                assert!(run.code() == Some(0), "{what}\n{}", run.report());
                // What is longer than it should be may begin with the right bytes.
                assert!(told.contains(&lab.liar.host()), "{what}: {told}");
                if what != "too long" {
                    assert!(told.contains("serves wrong bytes"), "{what}: {told}");
                    assert!(told.contains(&layer.digest), "{what}: {told}");
                    assert_eq!(lab.asked(&lab.registry, &layer.digest), 1, "{what}");
                }
                env.skua(&[
                    INSECURE,
                    "run",
                    "--pull=never",
                    &lab.name,
                    "--",
                    "exit",
                    "7",
                ])
                .exits(7);
            }
        }
    }
}

#[test]
fn a_mirror_whose_layer_is_short_is_not_continued_on_top_of() {
    let lab = Lab::new();
    let layer = &lab.image.layers[1];
    // Other bytes, and too few of them: the next place is asked for the rest, the whole is wrong, and then for all of it.
    lab.liar.replace_blob(&layer.digest, &vec![7; 1 << 20]);
    let env = lab.user(User::ordinary(), &[&lab.liar]);
    lab.fetch(&env, &[])
        .success()
        .complains(&format!("{}/team/i serves wrong bytes", lab.liar.host()));
    let requests = lab.registry.requests();
    let last = requests.iter().rfind(|r| r.path.ends_with(&layer.digest));
    assert!(!last.unwrap().headers.contains_key("range"), "{last:?}");
    env.skua(&[
        INSECURE,
        "run",
        "--pull=never",
        &lab.name,
        "--",
        "exit",
        "7",
    ])
    .exits(7);
    env.skua(&["image", "verify", &lab.name]).success();
}

#[test]
fn kept_bytes_of_a_liar_are_not_continued() {
    let lab = Lab::new();
    let layer = &lab.image.layers[1];
    let mut wrong = layer.bytes.clone();
    wrong[0] ^= 1;
    // The liar breaks off, and nobody else is there: its bytes are kept.
    lab.liar.replace_blob(&layer.digest, &wrong);
    lab.liar
        .fault(Fault::times(1, &layer.digest, Action::Truncate(3 << 19)));
    lab.liar
        .fault(Fault::always(&layer.digest, Action::Status(403, vec![])));
    lab.registry
        .fault(Fault::always(&layer.digest, Action::Status(403, vec![])));
    let env = lab.user(User::ordinary(), &[&lab.liar]);
    lab.fetch(&env, &[])
        .fails(&[&layer.digest, "refuses access"]);
    let part = env
        .data()
        .join("store/inbox")
        .join(format!("{}.part", &layer.digest["sha256:".len()..]));
    assert_eq!(std::fs::metadata(&part).unwrap().len(), 3 << 19);
    lab.registry.clear_faults();
    lab.registry.forget_requests();
    // Now only the registry delivers.
    lab.fetch(&env, &[]).success();
    let requests = lab.registry.requests();
    let of_layer: Vec<_> = requests
        .iter()
        .filter(|r| r.path.ends_with(&layer.digest))
        .map(|r| r.headers.contains_key("range"))
        .collect();
    assert_eq!(
        of_layer,
        [true, false],
        "continued, found wrong, begun anew"
    );
}

#[test]
fn wrong_documents_are_asked_of_the_next_place() {
    let lab = Lab::new();
    let (manifest, config) = (&lab.image.manifest, &lab.image.config);
    for (what, document) in [("manifest", manifest), ("config", config)] {
        for (how, lie) in lies(document.bytes.len()) {
            lab.liar.clear_faults();
            lab.liar.fault(Fault::always(&document.digest, lie));
            let env = lab.user(User::ordinary(), &[&lab.liar]);
            let run = lab.fetch(&env, &[]);
            assert!(run.code() == Some(0), "{what}, {how}\n{}", run.report());
            if how != "too long" {
                run.complains(&format!("{}/team/i serves wrong bytes", lab.liar.host()))
                    .complains(what)
                    .complains("the next place is asked");
            }
        }
    }
    // By the digest in the name.
    lab.liar.clear_faults();
    lab.liar
        .fault(Fault::always(&manifest.digest, Action::FlipBit(3)));
    let env = lab.user(User::ordinary(), &[&lab.liar]);
    let pinned = lab.registry.name(&format!("team/i@{}", manifest.digest));
    env.skua(&[INSECURE, "fetch", &pinned])
        .success()
        .complains("serves wrong bytes");
}

#[test]
fn when_all_places_lie_each_is_named_and_nothing_of_theirs_is_kept() {
    let lab = Lab::new();
    let layer = &lab.image.layers[1];
    for (at, place) in [&lab.liar, &lab.mirror, &lab.registry]
        .into_iter()
        .enumerate()
    {
        place.fault(Fault::always(&layer.digest, Action::FlipBit(100 + at)));
    }
    for user in User::all() {
        let env = lab.user(user, &[&lab.liar, &lab.mirror]);
        let quiet = ["--quiet", INSECURE, "fetch", &lab.name];
        env.skua(&quiet).fails(&[
            &format!("cannot fetch layer {}", layer.digest),
            &format!("{}/team/i serves wrong bytes", lab.liar.host()),
            &format!("{}/team/i serves wrong bytes", lab.mirror.host()),
            &format!("{}/team/i serves wrong bytes", lab.registry.host()),
        ]);
        // What is right of other layers is kept for the next try.
        let hex = &layer.digest["sha256:".len()..];
        let left = store_snapshot(&env);
        let left: Vec<_> = left
            .keys()
            .filter(|path| path.contains(hex) || path.contains("trees/sha256/"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_liar_is_not_asked_again_in_the_same_fetch() {
    let lab = Lab::new();
    let config = &lab.image.config.digest;
    lab.liar.fault(Fault::always(config, Action::FlipBit(0)));
    let env = lab.user(User::ordinary(), &[&lab.liar, &lab.mirror]);
    lab.fetch(&env, &[]).success();
    for layer in &lab.image.layers {
        assert_eq!(lab.asked(&lab.liar, &layer.digest), 0);
        assert_eq!(lab.asked(&lab.mirror, &layer.digest), 1);
    }
    assert_eq!(
        lab.asked(&lab.registry, config),
        0,
        "the second mirror had it"
    );
}

#[test]
fn blobs_that_are_kept_are_not_those_of_a_liar() {
    let lab = Lab::new();
    let layer = &lab.image.layers[2];
    let env = lab.user(User::ordinary(), &[&lab.liar]);
    lab.fetch(&env, &[]).success();
    lab.liar
        .fault(Fault::always(&layer.digest, Action::FlipBit(5)));
    lab.fetch(&env, &["--keep-blobs"])
        .success()
        .complains("serves wrong bytes");
    let kept = env
        .data()
        .join("store/oci/blobs/sha256")
        .join(&layer.digest["sha256:".len()..]);
    assert_eq!(std::fs::read(kept).unwrap(), layer.bytes);
}

#[test]
fn a_wrong_signature_payload_is_asked_of_the_next_place() {
    let lab = Lab::new();
    let (key, env) = (Key::new(1), lab.user(User::ordinary(), &[&lab.liar]));
    let identity = lab.registry.name("team/i");
    let signatures = functional::Cosign::new().sign(&key, &identity, lab.image.digest());
    let payload = signatures.build().1[0].digest.clone();
    for place in [&lab.liar, &lab.registry] {
        place.push_signatures("team/i", lab.image.digest(), &signatures);
    }
    env.trust(&lab.registry.host(), &key);
    lab.liar.fault(Fault::always(&payload, Action::FlipBit(20)));
    env.skua(&["fetch", &lab.name])
        .success()
        .complains("serves wrong bytes: signature");
}

#[test]
fn a_bomb_in_place_of_a_layer_is_not_mistaken_for_it() {
    let lab = Lab::new();
    let layer = &lab.image.layers[1];
    let zeros = Layer::new().file("zeros", 0o644, vec![0; 64 << 20]);
    let mut bomb = zeros.build().bytes;
    bomb.resize(layer.bytes.len(), 0);
    lab.liar.replace_blob(&layer.digest, &bomb);
    let env = lab.user(User::ordinary(), &[&lab.liar]);
    let config = env.config().join("config.toml");
    std::fs::write(&config, "[image-limits]\nunpacked = '16MiB'\n").unwrap();
    env.give(&config);
    lab.fetch(&env, &[])
        .success()
        .complains("serves wrong bytes")
        .complains(&layer.digest);
    // One that is too much only together with the other layers, which are unpacked by then.
    let noise = noise(layer.bytes.len() / 2);
    let late = Layer::new()
        .file("noise", 0o644, noise)
        .file("zeros", 0o644, vec![0; 14 << 20]);
    let mut bomb = late.build().bytes;
    assert!(bomb.len() < layer.bytes.len());
    bomb.resize(layer.bytes.len(), 0);
    lab.liar.replace_blob(&layer.digest, &bomb);
    let slow = Action::Trickle(64 << 10, std::time::Duration::from_millis(100));
    lab.liar.fault(Fault::always(&layer.digest, slow));
    env.skua(&["image", "rm", &lab.name]).success();
    lab.fetch(&env, &[])
        .success()
        .complains("serves wrong bytes")
        .complains(&layer.digest);
}
