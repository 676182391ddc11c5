//! Layers of policy files, and files that must not be believed.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::*;

struct Layers(tempfile::TempDir);

impl Layers {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn write(&self, file: &str, text: &str) -> &Self {
        fs::create_dir_all(self.path(file).parent().unwrap()).unwrap();
        fs::write(self.path(file), text).unwrap();
        self
    }

    /// The layers `1`, `2` and `3`; the last is the highest.
    fn load(&self) -> Result<Policy, String> {
        let layers: Vec<PathBuf> = ["1", "2", "3"]
            .iter()
            .map(|layer| self.path(layer))
            .collect();
        Policy::load(&layers).map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            format!("{error}{}", cause.unwrap_or_default())
        })
    }
}

fn scope(prefix: &str, rule: &str) -> String {
    format!("[[scope]]\nprefix = \"{prefix}\"\nrule = \"{rule}\"\n")
}

fn rule_of(policy: &Policy, name: &str) -> &'static str {
    let name = ImageName::parse(name).unwrap();
    policy
        .scope_of(&name.identity())
        .map_or("none", |scope| scope.rule.name())
}

const ANYTHING: &str = "insecure-accept-anything";

#[test]
fn without_a_scope_nothing_runs() {
    let policy = Layers::new().load().unwrap();
    let said = refusal(&policy, NAME, &Evidence::default());
    assert_eq!(
        said,
        format!("image {NAME} is not trusted: no scope of the trust policy has it")
    );
}

#[test]
fn the_longest_prefix_decides_whatever_its_layer() {
    let layers = Layers::new();
    layers
        .write("1/a.toml", &scope("a.example/x/y", "reject"))
        .write("2/b.toml", &scope("a.example", ANYTHING))
        .write("3/c.toml", &scope("a.example/x", "digest-pinned"));
    let policy = layers.load().unwrap();
    assert_eq!(rule_of(&policy, "a.example/x/y/z"), "reject");
    assert_eq!(rule_of(&policy, "a.example/x/z"), "digest-pinned");
    assert_eq!(rule_of(&policy, "a.example/xy"), ANYTHING);
    assert_eq!(rule_of(&policy, "b.example/x"), "none");
}

#[test]
fn a_higher_layer_wins_by_prefix_by_file_and_by_mask() {
    let layers = Layers::new();
    layers
        .write("1/same-prefix.toml", &scope("p.example", ANYTHING))
        .write("2/other-file.toml", &scope("p.example", "reject"))
        .write("1/same-file.toml", &scope("f.example", ANYTHING))
        .write("3/same-file.toml", &scope("unrelated.example", "reject"))
        .write("1/empty.toml", &scope("e.example", ANYTHING))
        .write("2/empty.toml", "")
        .write("2/link.toml", &scope("l.example", ANYTHING));
    symlink("/dev/null", layers.path("3/link.toml")).unwrap();
    let policy = layers.load().unwrap();
    assert_eq!(rule_of(&policy, "p.example/x"), "reject");
    for masked in ["f.example/x", "e.example/x", "l.example/x"] {
        assert_eq!(rule_of(&policy, masked), "none", "{masked}");
    }
}

#[test]
fn only_toml_files_that_are_not_hidden_count() {
    let layers = Layers::new();
    for name in ["a.toml~", ".a.toml", "a.toml.bak", "a"] {
        layers.write(&format!("1/{name}"), "rubbish");
    }
    assert_eq!(layers.load().unwrap().scopes().count(), 0);
}

#[test]
fn a_policy_that_says_nothing_clear_is_an_error() {
    let twice = scope("a.example", "reject") + &scope("docker://A.example/", ANYTHING);
    let cases = [
        (twice.as_str(), "scope 'a.example' is both in"),
        (
            "[[scope]]\nprefix='a.example'\nrule='maybe'",
            "line 3: unknown variant `maybe`",
        ),
        (
            "[[scope]]\nprefix='a.example'\nrule='reject'\nkey='x'",
            "unknown field `key`",
        ),
        ("[[scope]]\nprefix='a.example'", "missing field `rule`"),
        ("[[scope]]\nrule='reject'", "missing field `prefix`"),
        ("[[scopes]]", "unknown field `scopes`"),
        ("scope = 1", "line 1"),
        (
            "[[scope]]\nprefix='a.example'\nprefix='b.example'\nrule='reject'",
            "duplicate key",
        ),
        (
            "[[scope]]\nprefix='nginx'\nrule='reject'",
            "no registry host",
        ),
        (
            "[[scope]]\nprefix='a.example'\nrule='signed'",
            "1 to 64 keys",
        ),
        (
            "[[scope]]\nprefix='a.example'\nrule='reject'\nkeys=['x']",
            "only with rule",
        ),
        (
            "[[scope]]\nprefix='a.example'\nrule='signed'\nkeys=['x']\nthreshold=2",
            "threshold of 2 with 1",
        ),
        (
            "[[scope]]\nprefix='a.example'\nrule='signed'\nkeys=['x']\nthreshold=0",
            "threshold of 0",
        ),
    ];
    for (text, expected) in cases {
        let layers = Layers::new();
        let said = layers.write("1/a.toml", text).load().unwrap_err();
        assert!(
            said.contains(expected) && said.contains("/1/a.toml"),
            "{text}: {said}"
        );
    }
}

#[test]
fn one_prefix_in_two_files_of_a_layer_is_an_error() {
    let layers = Layers::new();
    layers.write("1/a.toml", &scope("a.example", "reject"));
    let said = layers
        .write("1/b.toml", &scope("a.example", "reject"))
        .load()
        .unwrap_err();
    assert!(said.contains("is both in"), "{said}");
}

#[test]
fn what_others_can_write_is_refused() {
    let mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for (what, bits) in [
        ("1/a.toml", 0o664),
        ("1/a.toml", 0o646),
        ("1", 0o775),
        ("1", 0o1777),
    ] {
        let layers = Layers::new();
        layers
            .write("1/a.toml", &scope("a.example", "reject"))
            .load()
            .unwrap();
        mode(&layers.path(what), bits);
        let said = layers.load().unwrap_err();
        assert!(
            said.contains(&format!("its mode {bits:04o} lets others write it")),
            "{said}"
        );
    }
    let layers = Layers::new();
    layers.write("key.pem", &real_text("ed25519.pem"));
    let key = layers.path("key.pem");
    let path = key.display();
    layers.write(
        "1/a.toml",
        &format!("{}keys=['{path}']", scope("*", "signed")),
    );
    let signature = evidence([Item::Bare(real("manifest.ed25519"))]);
    decide(&layers.load().unwrap(), NAME, &signature).unwrap();
    mode(&key, 0o666);
    assert!(refusal(&layers.load().unwrap(), NAME, &signature).contains("lets others write it"));
}

#[test]
fn what_is_no_file_is_refused_without_waiting() {
    let layers = Layers::new();
    fs::create_dir_all(layers.path("1/a.toml")).unwrap();
    assert!(layers.load().unwrap_err().contains("not a regular file"));
    let layers = Layers::new();
    fs::create_dir_all(layers.path("1")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let fifo = layers.path("1/a.toml");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(layers.load().unwrap_err().contains("not a regular file"));
    let layers = Layers::new();
    fs::create_dir_all(layers.path("1")).unwrap();
    symlink("nowhere", layers.path("1/a.toml")).unwrap();
    assert!(layers.load().unwrap_err().contains("cannot read"));
}
