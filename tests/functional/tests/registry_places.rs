//! `registries.conf`: mirrors, other locations, blocked and insecure registries. What is trusted is the name that was typed.

use functional::registry::{Action, Fault};
use functional::{Built, Env, Image, Key, Layer, Registry, Run, User, binaries, sh};

const INSECURE: &str = "--insecure-options=image";

fn image() -> Built {
    Image::new()
        .layer(Layer::new().file("one", 0o644, "1"))
        .build()
}

/// A `[[registry]]` table with mirrors.
fn rule(prefix: &str, mirrors: &[&str]) -> String {
    let mut text = format!("[[registry]]\nprefix = \"{prefix}\"\n");
    for mirror in mirrors {
        text.push_str(&format!("[[registry.mirror]]\nlocation = \"{mirror}\"\n"));
    }
    text
}

fn configure(env: &Env, text: &str) {
    env.containers("registries.conf", text);
}

#[test]
fn a_mirror_is_asked_in_place_of_the_registry_and_trust_concerns_the_name_typed() {
    let mirror = Registry::start();
    let key = Key::new(1);
    let image = image();
    // Signed for the name, and beside that one signed for the mirror.
    mirror.push("proxy/team/i", "1", &image);
    let signed = functional::Cosign::new().sign(&key, "registry.test/team/i", image.digest());
    mirror.push_signatures("proxy/team/i", image.digest(), &signed);
    let other = Image::new()
        .layer(Layer::new().file("x", 0o644, "2"))
        .build();
    mirror.push_signed("proxy/team/other", "1", &other, &key);
    for user in User::all() {
        let env = Env::new(user);
        configure(&env, &rule("registry.test", &[&mirror.name("proxy")]));
        env.trust("registry.test/team", &key);
        env.skua(&["fetch", "registry.test/team/i:1"])
            .success()
            .says("registry.test/team/i:1@sha256:");
        env.skua(&["fetch", "registry.test/team/other:1"])
            .fails(&["registry.test/team/other:1", "is not trusted"]);
        // The mirror's own name has no rule of trust, whatever it gave us.
        env.skua(&["fetch", &mirror.name("proxy/team/i:1")])
            .fails(&["is not trusted"]);
    }
}

#[test]
fn what_a_mirror_lacks_is_asked_of_the_next_place() {
    let (mirror, registry) = (Registry::start(), Registry::start());
    let key = Key::new(1);
    let image = image();
    let name = registry.push_signed("i", "1", &image, &key);
    let env = Env::new(User::ordinary());
    env.trust(&registry.host(), &key);
    configure(
        &env,
        &rule(&registry.host(), &["127.0.0.1:1", &mirror.host()]),
    );
    env.skua(&["fetch", &name])
        .success()
        .complains("note: ")
        .complains("127.0.0.1:1")
        .complains("the next place is asked");
    assert!(!mirror.requests().is_empty());
    // A mirror without the signatures and without a layer.
    let env = Env::new(User::ordinary());
    env.trust(&registry.host(), &key);
    configure(&env, &rule(&registry.host(), &[&mirror.host()]));
    mirror.push("i", "1", &image);
    let layer = format!("/blobs/{}", image.layers[0].digest);
    mirror.fault(Fault::always(&layer, Action::Status(404, vec![])));
    registry.forget_requests();
    env.skua(&["fetch", &name]).success();
    let asked = registry.requests();
    assert!(asked.iter().any(|r| r.path.ends_with(&layer)), "{asked:#?}");
    assert!(!asked.iter().any(|r| r.path.ends_with("/manifests/1")));
}

#[test]
fn every_place_that_failed_is_named() {
    let (mirror, registry) = (Registry::start(), Registry::start());
    let env = Env::new(User::ordinary());
    configure(
        &env,
        &rule(&registry.host(), &["127.0.0.1:1", &mirror.host()]),
    );
    env.skua(&[INSECURE, "fetch", &registry.name("i:1")])
        .fails(&["127.0.0.1:1", &mirror.host(), &registry.host(), "404"]);
}

#[test]
fn a_mirror_that_breaks_off_in_the_middle_of_a_layer_is_left_there() {
    let (mirror, registry) = (Registry::start(), Registry::start());
    let mut state = 7_u64;
    let big: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()
    })
    .take(1 << 18)
    .flatten()
    .collect();
    let image = Image::new()
        .layer(Layer::new().file("big", 0o644, big))
        .build();
    mirror.push("i", "1", &image);
    let name = registry.push("i", "1", &image);
    let layer = format!("/blobs/{}", image.layers[0].digest);
    mirror.fault(Fault::times(1, &layer, Action::Truncate(1 << 20)));
    mirror.fault(Fault::always(&layer, Action::Status(403, vec![])));
    let env = Env::new(User::ordinary());
    configure(&env, &rule(&registry.host(), &[&mirror.host()]));
    env.skua(&[INSECURE, "fetch", &name]).success();
    let rest = registry.requests();
    let rest: Vec<_> = rest.iter().filter(|r| r.path.ends_with(&layer)).collect();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].headers["range"], format!("bytes={}-", 1 << 20));
    assert!(
        !rest[0].headers.contains_key("if-range"),
        "that was the mirror's"
    );
}

#[test]
fn a_mirror_may_be_for_digests_or_for_tags_only() {
    let image = image();
    for (pull, by_tag, by_digest) in [
        ("pull-from-mirror = \"digest-only\"", false, true),
        ("pull-from-mirror = \"tag-only\"", true, false),
        ("pull-from-mirror = \"all\"", true, true),
    ] {
        let (mirror, registry) = (Registry::start(), Registry::start());
        mirror.push("i", "1", &image);
        let tag = registry.push("i", "1", &image);
        let pinned = registry.name(&format!("i@{}", image.digest()));
        for (name, expected) in [(&tag, by_tag), (&pinned, by_digest)] {
            let env = Env::new(User::ordinary());
            configure(
                &env,
                &format!("{}{pull}\n", rule(&registry.host(), &[&mirror.host()])),
            );
            mirror.forget_requests();
            env.skua(&[INSECURE, "fetch", name]).success();
            assert_eq!(!mirror.requests().is_empty(), expected, "{pull} {name}");
        }
    }
}

#[test]
fn a_location_takes_the_place_of_a_prefix_and_a_wildcard_stands_for_a_domain() {
    let registry = Registry::start();
    let image = image();
    registry.push("inner/deep/i", "1", &image);
    registry.push("i", "1", &image);
    let env = Env::new(User::ordinary());
    let (inner, host) = (registry.name("inner"), registry.host());
    configure(
        &env,
        &format!(
            "[[registry]]\nprefix = 'registry.test/team'\nlocation = '{inner}'\n\
             [[registry]]\nprefix = '*.wild.test'\nlocation = '{host}'\n"
        ),
    );
    env.skua(&[INSECURE, "fetch", "registry.test/team/deep/i:1"])
        .success();
    env.skua(&[INSECURE, "fetch", "a.b.wild.test/i:1"])
        .success();
    let paths: Vec<String> = registry.requests().into_iter().map(|r| r.path).collect();
    assert!(
        paths.contains(&"/v2/inner/deep/i/manifests/1".to_owned()),
        "{paths:?}"
    );
    // A prefix ends where a component of the name does.
    env.skua(&[INSECURE, "fetch", "registry.test/teams/i:1"])
        .fails(&["cannot reach registry.test"]);
}

#[test]
fn a_blocked_registry_is_not_asked() {
    let registry = Registry::start();
    let name = registry.push("i", "1", &image());
    let open = registry.push("open/i", "1", &image());
    let env = Env::new(User::ordinary());
    let host = registry.host();
    configure(
        &env,
        &format!(
            "[[registry]]\nlocation = '{host}'\nblocked = true\n[[registry]]\nlocation = '{host}/open'\n"
        ),
    );
    env.skua(&[INSECURE, "fetch", &name])
        .fails(&[&name, "is blocked by", "registries.conf"]);
    assert_eq!(registry.requests().len(), 0);
    env.skua(&[INSECURE, "fetch", &open]).success();
}

#[test]
fn what_is_not_understood_stops_every_fetch_with_file_and_line() {
    let registry = Registry::start();
    let name = registry.push("i", "1", &image());
    let env = Env::new(User::ordinary());
    for (text, parts) in [
        (
            "[[registry]]\nlocation = 'a.test'\nverify = true\n",
            &["line 3", "verify"][..],
        ),
        (
            "[registries.block]\nregistries = ['a.test']\n",
            &["version 1"],
        ),
        (
            "[[registry]]\nlocation = 'https://a.test'\n",
            &["https://a.test", "scheme"],
        ),
    ] {
        configure(&env, text);
        let parts = [&["registries.conf"], parts].concat();
        env.skua(&[INSECURE, "fetch", &name]).fails(&parts);
        env.skua(&["config"]).fails(&parts);
    }
    assert_eq!(registry.requests().len(), 0);
}

#[test]
fn an_alias_never_stands_for_a_name() {
    let env = Env::new(User::ordinary());
    configure(
        &env,
        "unqualified-search-registries = ['127.0.0.1:1']\nshort-name-mode = 'disabled'\n\
         [aliases]\n'i' = '127.0.0.1:1/i'\n",
    );
    env.skua(&[INSECURE, "fetch", "i"])
        .fails(&["has no registry"]);
}

#[test]
fn drop_ins_replace_rules_and_config_says_what_is_in_force() {
    let registry = Registry::start();
    registry.push("right/i", "1", &image());
    let env = Env::new(User::ordinary());
    let rewrite = |to: &str| {
        format!(
            "[[registry]]\nprefix = 'registry.test'\nlocation = '{}'\n",
            registry.name(to)
        )
    };
    configure(&env, &rewrite("wrong"));
    env.containers("registries.conf.d/90.conf", rewrite("right"));
    env.containers("registries.conf.d/10.conf", rewrite("wrong"));
    env.containers("registries.conf.d/99.conf.rpmsave", rewrite("wrong"));
    env.skua(&[INSECURE, "fetch", "registry.test/i:1"])
        .success();
    env.skua(&["config"])
        .success()
        .says(&format!("registry.test -> {}", registry.name("right")))
        .says("registries.conf.d/90.conf")
        .says("certs.d (absent)");
}

#[test]
fn a_users_own_file_and_a_variable_take_the_place_of_the_systems() {
    let registry = Registry::start();
    registry.push("right/i", "1", &image());
    let env = Env::new(User::ordinary());
    let rewrite = |to: &str| {
        format!(
            "[[registry]]\nprefix = 'registry.test'\nlocation = '{}'\n",
            registry.name(to)
        )
    };
    let fetch = |variable: Option<&std::path::Path>| {
        let mut command = env.program(binaries().join("skua"));
        command.arg("--data-dir").arg(env.data());
        command.args([INSECURE, "fetch", "registry.test/i:1"]);
        command.envs(variable.map(|path| ("CONTAINERS_REGISTRIES_CONF", path)));
        Run::of(command)
    };
    let file = env.write("only.conf", rewrite("right"));
    fetch(Some(&file)).success();
    fetch(Some(&env.scratch("missing.conf")))
        .fails(&["missing.conf", "CONTAINERS_REGISTRIES_CONF"]);
    let own = env.home().join(".config/containers");
    std::fs::create_dir_all(&own).unwrap();
    std::fs::write(own.join("registries.conf"), rewrite("wrong")).unwrap();
    env.give(&env.home());
    fetch(None).fails(&["404"]);
    fetch(Some(&file)).success();
    if !env.user().is_root() {
        std::fs::write(own.join("registries.conf"), rewrite("right")).unwrap();
        fetch(None).success();
    }
}

#[test]
fn privileged_the_files_of_the_system_are_those_of_etc() {
    let Some(root) = User::root("privileged_the_files_of_the_system") else {
        return;
    };
    let registry = Registry::start();
    registry.push("right/i", "1", &image());
    let rule = format!(
        "[[registry]]\\nprefix = \\\"registry.test\\\"\\nlocation = \\\"{}\\\"\\n",
        registry.name("right")
    );
    for user in [root, User::Subordinate] {
        let env = Env::new(user);
        let (uid, gid) = user.ids();
        let skua = binaries().join("skua");
        // Only this command sees these files.
        let text = sh(&format!(
            "unshare --mount sh -ec 'mount -t tmpfs tmpfs /etc/containers; mkdir /etc/containers/registries.conf.d
             printf \"{rule}\" > /etc/containers/registries.conf.d/50.conf; chmod -R a+rX /etc/containers
             exec setpriv --reuid={uid} --regid={gid} --clear-groups env HOME={} {} --data-dir {} {INSECURE} \
             fetch registry.test/i:1'",
            env.home().display(),
            skua.display(),
            env.data().display(),
        ));
        assert!(text.starts_with("registry.test/i:1@"), "{text}");
    }
}

#[test]
fn a_version_that_one_place_names_is_not_asked_for_at_another() {
    let (mirror, registry) = (Registry::start(), Registry::start());
    let image = image();
    let name = registry.push("i", "1", &image);
    mirror.push("i", "1", &image);
    let own = || Action::Version("\"7\"".to_owned());
    mirror.fault(Fault::always("/manifests/1", own()));
    registry.fault(Fault::always("/manifests/1", own()));
    let env = Env::new(User::ordinary());
    for (text, asked, conditional) in [
        (String::new(), &registry, true),
        (rule(&registry.host(), &[&mirror.host()]), &mirror, false),
    ] {
        configure(&env, &text);
        for expected in [false, conditional] {
            asked.forget_requests();
            env.skua(&[INSECURE, "fetch", &name]).success();
            let requests = asked.requests();
            let first = &requests[0];
            assert_eq!(
                first.headers.contains_key("if-none-match"),
                expected,
                "{first:?}"
            );
        }
        // Unchanged, as the digest says: that one request was enough.
        assert_eq!(asked.requests().len(), 1);
    }
}
