//! Where registries really are, by `registries.conf` and its drop-ins.

use std::path::{Path, PathBuf};

use super::*;

fn load(text: &str) -> Result<Registries, RegistriesError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("registries.conf");
    std::fs::write(&file, text).unwrap();
    Registries::load(&Layers {
        directories: Vec::new(),
        only: Some(file),
    })
}

/// `host/repository` of each place, with `!` where it is insecure.
fn places(registries: &Registries, name: &str) -> Vec<String> {
    let found = registries.places(&Reference::parse(name).unwrap()).unwrap();
    let shown = |place: Place| {
        let mark = if place.insecure { "!" } else { "" };
        format!("{}/{}{mark}", place.host, place.repository)
    };
    found.into_iter().map(shown).collect()
}

const MANY: &str = r#"
unqualified-search-registries = ["quay.io"]
short-name-mode = "enforcing"
[aliases]
"debian" = "docker.io/library/debian"
[[registry]]
prefix = "example.com"
location = "inner.test:5000/mirror-of-example"
[[registry]]
prefix = "example.com/team/app/"
insecure = true
[[registry]]
prefix = "*.wild.example"
[[registry.mirror]]
location = "wild-mirror.test"
[[registry]]
prefix = "*.far.wild.example/x"
location = "far.test/y"
[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "hub.test/proxy"
insecure = true
[[registry.mirror]]
location = "digests.test"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.test"
pull-from-mirror = "tag-only"
[[registry]]
location = "pinned.test"
mirror-by-digest-only = true
[[registry.mirror]]
location = "m.test"
"#;

#[test]
fn a_name_leads_to_the_places_of_the_longest_prefix() {
    let registries = load(MANY).unwrap();
    let digest = format!("@sha256:{}", "a".repeat(64));
    for (name, expected) in [
        ("other.test/a", &["other.test/a"][..]),
        (
            "example.com/a/b",
            &["inner.test:5000/mirror-of-example/a/b"],
        ),
        ("example.com/team/app", &["example.com/team/app!"]),
        ("example.com/team/app/sub", &["example.com/team/app/sub!"]),
        (
            "example.com/team/apples",
            &["inner.test:5000/mirror-of-example/team/apples"],
        ),
        ("example.com.evil.test/a", &["example.com.evil.test/a"]),
        ("example.com:5000/a", &["example.com:5000/a"]),
        ("wild.example/a", &["wild.example/a"]),
        (
            "a.b.wild.example/a",
            &["wild-mirror.test/a", "a.b.wild.example/a"],
        ),
        ("awild.example/a", &["awild.example/a"]),
        (
            "other.test/a.wild.example/b",
            &["other.test/a.wild.example/b"],
        ),
        ("a.far.wild.example/x/z", &["far.test/y/z"]),
        (
            "docker.io/debian:12",
            &[
                "hub.test/proxy/library/debian!",
                "tags.test/library/debian",
                "docker.io/library/debian",
            ],
        ),
        ("pinned.test/a", &["pinned.test/a"]),
    ] {
        assert_eq!(places(&registries, name), expected, "{name}");
    }
    assert_eq!(
        places(&registries, &format!("docker.io/debian{digest}")),
        [
            "hub.test/proxy/library/debian!",
            "digests.test/library/debian",
            "docker.io/library/debian"
        ]
    );
    assert_eq!(
        places(&registries, &format!("pinned.test/a{digest}")),
        ["m.test/a", "pinned.test/a"]
    );
}

#[test]
fn only_the_place_that_the_name_says_is_its_own() {
    let registries = load(MANY).unwrap();
    let own = |name: &str| -> Vec<bool> {
        let found = registries.places(&Reference::parse(name).unwrap());
        found.unwrap().iter().map(|place| place.own).collect()
    };
    assert_eq!(own("docker.io/debian"), [false, false, true]);
    assert_eq!(own("example.com/a"), [false]);
    assert_eq!(own("other.test/a"), [true]);
}

#[test]
fn a_blocked_name_is_refused_and_a_longer_prefix_opens_it_again() {
    let registries = load(
        "[[registry]]\nlocation = 'bad.test'\nblocked = true\n[[registry]]\nlocation = 'bad.test/good'\n",
    )
    .unwrap();
    let refused = registries.places(&Reference::parse("bad.test/x").unwrap());
    assert!(matches!(refused, Err(RegistriesError::Blocked { .. })));
    assert_eq!(places(&registries, "bad.test/good/x"), ["bad.test/good/x"]);
}

#[test]
fn what_is_not_understood_is_an_error() {
    for (text, part) in [
        ("[[registry]]\nlocation = 'a.test'\nsigned = true", "signed"),
        (
            "[[registry]]\nlocation = 'a.test'\nblocked = 'yes'",
            "boolean",
        ),
        ("default-policy = 'deny'", "default-policy"),
        ("[registries.search]\nregistries = ['a.test']", "version 1"),
        (
            "[[registry]]\nblocked = true",
            "neither prefix nor location",
        ),
        ("[[registry]]\nlocation = 'https://a.test'", "scheme"),
        ("[[registry]]\nlocation = 'a.test/x:1'", "tag"),
        ("[[registry]]\nprefix = 'a.test/x:1'", "tag"),
        ("[[registry]]\nprefix = 'a.test/x@sha256:00'", "digest"),
        ("[[registry]]\nlocation = 'nohost'", "host[:port]"),
        ("[[registry]]\nlocation = 'A.test'", "host[:port]"),
        ("[[registry]]\nlocation = 'a.test/../b'", "host[:port]"),
        ("[[registry]]\nlocation = '*.a.test'", "'*'"),
        ("[[registry]]\nprefix = 'x.*.test'", "'*'"),
        ("[[registry]]\nprefix = '*'", "'*'"),
        (
            "[[registry]]\nlocation='a.test'\n[[registry.mirror]]\nlocation=''",
            "empty",
        ),
        (
            "[[registry]]\nlocation='a.test'\n[[registry.mirror]]\nlocation='m.test'\npull-from-mirror='never'",
            "never",
        ),
        (
            "[[registry]]\nlocation='a.test'\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation='m.test'\npull-from-mirror='all'",
            "beside",
        ),
        (
            "[[registry]]\nlocation='a.test'\n[[registry]]\nlocation='a.test'\nblocked=true",
            "differ",
        ),
        ("[[registry]\n", "line 1"),
    ] {
        let error = load(text).unwrap_err();
        let line = crate::wire::error_line(&error);
        assert!(line.contains(part), "{text}: {line}");
        assert!(line.contains("registries.conf"), "{line}");
    }
}

#[test]
fn later_files_replace_earlier_ones_and_the_users_file_hides_the_systems() {
    let root = tempfile::tempdir().unwrap();
    let [system, user] = ["system", "user"].map(|name| root.path().join(name));
    let write = |directory: &Path, name: &str, prefix: &str, location: &str| {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = format!("[[registry]]\nprefix = '{prefix}'\nlocation = '{location}'\n");
        std::fs::write(path, text).unwrap();
    };
    let at = |name: &str| {
        let layers = Layers {
            directories: vec![system.clone(), user.clone()],
            only: None,
        };
        places(&Registries::load(&layers).unwrap(), name)
    };
    assert_eq!(at("a.test/x"), ["a.test/x"]);
    write(&system, "registries.conf", "a.test", "main.test");
    assert_eq!(at("a.test/x"), ["main.test/x"]);
    write(
        &system,
        "registries.conf.d/20.conf",
        "a.test",
        "twenty.test",
    );
    write(&system, "registries.conf.d/10.conf", "a.test", "ten.test");
    write(
        &system,
        "registries.conf.d/99.conf.bak",
        "a.test",
        "no.test",
    );
    write(&system, "registries.conf.d/00.conf", "b.test", "zero.test");
    assert_eq!(at("a.test/x"), ["twenty.test/x"]);
    assert_eq!(at("b.test/x"), ["zero.test/x"]);
    write(
        &user,
        "registries.conf.d/05.conf",
        "a.test",
        "user-five.test",
    );
    assert_eq!(at("a.test/x"), ["user-five.test/x"]);
    assert_eq!(at("b.test/x"), ["zero.test/x"]);
    write(&user, "registries.conf", "c.test", "user.test");
    assert_eq!(at("b.test/x"), ["b.test/x"]);
    assert_eq!(at("c.test/x"), ["user.test/x"]);
}

#[test]
fn a_file_that_was_named_must_be_there_and_is_the_only_one() {
    let missing = Layers {
        directories: Vec::new(),
        only: Some(PathBuf::from("/nonexistent/registries.conf")),
    };
    let error = Registries::load(&missing).unwrap_err();
    assert!(matches!(error, RegistriesError::Missing(_)), "{error}");
    let nothing = Layers {
        only: Some(PathBuf::from("/dev/null")),
        ..missing
    };
    assert!(Registries::load(&nothing).is_ok());
}

#[test]
fn rules_are_shown_in_one_line() {
    let shown: Vec<String> = load(MANY)
        .unwrap()
        .summary()
        .map(|(line, _)| line)
        .collect();
    assert!(shown.contains(&"example.com -> inner.test:5000/mirror-of-example".to_owned()));
    assert!(shown.contains(&"example.com/team/app (insecure)".to_owned()));
    assert!(shown.contains(&"*.wild.example -> wild-mirror.test".to_owned()));
    assert!(shown.contains(
        &"docker.io -> hub.test/proxy (insecure), digests.test (digest-only), tags.test (tag-only), docker.io".to_owned()
    ));
}
