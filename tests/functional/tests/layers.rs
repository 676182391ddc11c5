//! What layers mean inside a pod, and what hostile ones achieve: nothing. The unpacker's own tests have the many cases;
//! here are the classes, through the whole of skua, as every kind of user.

use functional::{Entry, Env, Image, Kind, Layer, Registry, Run, User, sha256};
use serde_json::Value;

/// Runs the image and asks `inspect` something.
fn ask(env: &Env, registry: &Registry, image: &Image, words: &[&str]) -> Run {
    let name = registry.push("layers/image", "1", &image.build());
    let run = [
        "--insecure-options=image",
        "run",
        "--pull=always",
        &name,
        "--",
    ];
    env.skua(&[&run[..], words].concat())
}

fn tree(run: Run) -> serde_json::Map<String, Value> {
    let value = run.success().json();
    value.as_object().expect("a tree").clone()
}

#[test]
fn whiteouts_and_opaque_directories_hide_what_is_below_them() {
    let image = Image::inspect()
        .layer(
            Layer::new()
                .directory("d")
                .file("d/gone", 0o644, "1")
                .file("d/kept", 0o644, "2")
                .directory("o")
                .file("o/gone", 0o644, "3")
                .directory("w")
                .file("w/gone", 0o644, "4"),
        )
        .layer(
            Layer::new()
                .file("d/.wh.gone", 0o644, "")
                .directory("o")
                .file("o/.wh..wh..opq", 0o644, "")
                .file("o/new", 0o644, "5")
                .file(".wh.w", 0o644, ""),
        );
    let registry = Registry::start();
    for user in User::all() {
        let env = Env::new(user);
        let tree = tree(ask(&env, &registry, &image, &["tree", "/"]));
        for path in ["/d/kept", "/o/new"] {
            assert!(tree.contains_key(path), "{path} is missing for {user:?}");
        }
        for path in ["/d/gone", "/o/gone", "/w", "/d/.wh.gone", "/o/.wh..wh..opq"] {
            assert!(!tree.contains_key(path), "{path} is there for {user:?}");
        }
    }
}

#[test]
fn owners_modes_links_and_odd_kinds_are_as_recorded() {
    let long = "n".repeat(150);
    let layer = Layer::new()
        .directory("x")
        .entry(
            Entry::new("x/owned", Kind::File(b"o".to_vec()))
                .mode(0o4710)
                .owner(7, 8),
        )
        .entry(Entry::new("x/fifo", Kind::Fifo).mode(0o620))
        .file(&format!("x/{long}"), 0o600, "long")
        .hardlink("x/second", "x/owned")
        .symlink("x/link", "/etc/passwd")
        .entry(Entry::new("x/null", Kind::CharacterDevice(1, 3)).mode(0o666))
        .entry(Entry::new("x/disk", Kind::BlockDevice(8, 0)).mode(0o666));
    let image = Image::inspect().layer(layer);
    let registry = Registry::start();
    for user in User::all() {
        let env = Env::new(user);
        let tree = tree(ask(&env, &registry, &image, &["tree", "/x"]));
        let owned = &tree["/x/owned"];
        assert_eq!(owned["mode"], "4710", "{user:?}");
        assert_eq!(owned["links"], 2, "{user:?}");
        let squashed = user == User::Single || (user == User::Caller && !user.is_root());
        if !squashed {
            assert_eq!(
                (&owned["uid"], &owned["gid"]),
                (&7.into(), &8.into()),
                "{user:?}"
            );
        }
        assert_eq!(tree["/x/fifo"]["type"], "fifo", "{user:?}");
        assert_eq!(tree["/x/link"]["target"], "/etc/passwd", "{user:?}");
        assert!(tree.contains_key(&format!("/x/{long}")), "{user:?}");
        for path in ["/x/null", "/x/disk"] {
            assert!(!tree.contains_key(path), "{path} was made for {user:?}");
        }
    }
}

/// Layers that must be refused, and what the error must name.
fn hostile() -> Vec<(&'static str, Layer, &'static str)> {
    let file = || Kind::File(b"evil".to_vec());
    let layer = || Layer::new().directory("d");
    vec![
        (
            "a name with ..",
            layer().entry(Entry::new("d/../../evil", file())),
            "evil",
        ),
        (
            "a PAX name with ..",
            layer().entry(Entry::new("x", file()).pax("path", b"../evil")),
            "evil",
        ),
        (
            "a hard link out of the root",
            layer().hardlink("d/l", "../../../etc/passwd"),
            "d/l",
        ),
        (
            "a hard link to nothing",
            layer().hardlink("d/l", "missing"),
            "d/l",
        ),
        (
            "a whiteout of ..",
            layer().file("d/.wh...", 0o644, ""),
            ".wh...",
        ),
        (
            "a whiteout of .",
            layer().file("d/.wh..", 0o644, ""),
            ".wh..",
        ),
        (
            "a whiteout without a name",
            layer().file("d/.wh.", 0o644, ""),
            ".wh.",
        ),
        (
            "a size that lies",
            layer().entry(Entry::new("l", Kind::Symlink("t".into())).pax("size", b"9")),
            "",
        ),
        (
            "an archive that ends early",
            Layer::raw(layer().file("d/f", 0o644, vec![b'x'; 2000]).build_tar()[..2048].to_vec()),
            "",
        ),
    ]
}

#[test]
fn hostile_layers_are_refused_and_leave_nothing() {
    for (what, layer, named) in hostile() {
        let registry = Registry::start();
        let env = Env::new(User::ordinary());
        let image = Image::inspect().layer(layer);
        let run = ask(&env, &registry, &image, &["exit", "0"]).fails(&[named]);
        let list = env.skua(&["image", "list", "--format=json"]).success();
        assert!(
            !list.stdout.contains("layers/image"),
            "{what}\n{}",
            list.report()
        );
        let diff_id = &image.build().layers[1].diff_id;
        let tree = env
            .data()
            .join("store/trees")
            .join(diff_id.replace(':', "/"));
        assert!(!tree.exists(), "{what} left a tree\n{}", run.report());
    }
}

#[test]
fn writing_through_links_stays_inside_the_root() {
    let outside = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let target = outside.path().display().to_string();
    let layer = Layer::new()
        .symlink("out", &target)
        .file("out/evil", 0o644, "evil")
        .symlink("up", "../../../../../..")
        .file(&format!("up{target}/evil"), 0o644, "evil")
        .symlink("file", &format!("{target}/evil"))
        .file("file", 0o644, "mine");
    let image = Image::inspect().layer(layer);
    let registry = Registry::start();
    for user in User::all() {
        let env = Env::new(user);
        // Refused or contained: either is right.
        let _ = ask(&env, &registry, &image, &["exit", "0"]);
        let left: Vec<_> = std::fs::read_dir(outside.path()).expect("read").collect();
        assert!(left.is_empty(), "{left:?} as {user:?}");
    }
}

#[test]
fn terminal_escapes_in_names_are_not_printed() {
    let layer = Layer::new().entry(Entry::new("a\x1b[31m/../b", Kind::File(Vec::new())));
    let image = Image::inspect().layer(layer);
    let env = Env::new(User::ordinary());
    let run = ask(&env, &Registry::start(), &image, &["exit", "0"]).fails(&[]);
    assert!(!run.stderr.contains('\x1b'), "{}", run.report());
}

#[test]
fn a_layer_that_is_not_what_the_config_says_is_refused() {
    let other = sha256(b"another layer");
    let rootfs = serde_json::json!({"type": "layers", "diff_ids": [other]});
    let image = Image::inspect().edit_config("rootfs", rootfs);
    let env = Env::new(User::ordinary());
    ask(&env, &Registry::start(), &image, &["exit", "0"]).fails(&["digest"]);
}

#[test]
fn an_opaque_root_hides_all_layers_below_it() {
    let registry = Registry::start();
    let top = Layer::new().file(".wh..wh..opq", 0o644, "");
    let image = Image::new()
        .layer(Layer::new().file("gone", 0o644, "1"))
        .layer(top.file("inspect", 0o755, functional::inspect_bytes()))
        .entrypoint(&["/inspect"]);
    for user in User::all() {
        let env = Env::new(user);
        let tree = tree(ask(&env, &registry, &image, &["tree", "/"]));
        assert!(
            tree.contains_key("/inspect") && !tree.contains_key("/gone"),
            "{user:?}"
        );
    }
}

#[test]
fn a_layer_that_is_there_twice_is_stacked_once() {
    let registry = Registry::start();
    let twice = || Layer::new().file("twice", 0o644, "1");
    let hides = Layer::new().file(".wh.twice", 0o644, "");
    let image = Image::inspect().layer(twice()).layer(hides).layer(twice());
    for user in User::all() {
        let env = Env::new(user);
        let tree = tree(ask(&env, &registry, &image, &["tree", "/"]));
        assert!(tree.contains_key("/twice"), "{user:?}");
    }
}
