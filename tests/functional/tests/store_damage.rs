//! A store that a disk, or somebody, has damaged: noticed where it is used, told with the image's name, repaired by fetching
//! again.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use functional::{Built, Env, Image, Layer, Registry, User};
use serde_json::json;

const INSECURE: &str = "--insecure-options=image";

fn image() -> Built {
    Image::inspect()
        .layer(Layer::new().file("one", 0o644, "1"))
        .edit_config("author", json!("nobody"))
        .edit_manifest("annotations", json!({"org.example.author": "nobody"}))
        .build()
}

fn hex(digest: &str) -> &str {
    &digest["sha256:".len()..]
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[0] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// What a parser has no word against.
fn reword(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    let other = text.replace("nobody", "no-one").replace("s390x", "s390y");
    assert_ne!(other, text);
    fs::write(path, other).unwrap();
}

fn cut(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(1).unwrap();
}

fn become_a_link(path: &Path) {
    remove(path);
    symlink("/etc/passwd", path).unwrap();
}

fn become_a_directory(path: &Path) {
    remove(path);
    fs::create_dir_all(path.join("x")).unwrap();
}

fn become_a_fifo(path: &Path) {
    remove(path);
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
}

fn remove(path: &Path) {
    match fs::symlink_metadata(path).unwrap().is_dir() {
        true => fs::remove_dir_all(path).unwrap(),
        false => fs::remove_file(path).unwrap(),
    }
}

type Damage = (&'static str, fn(&Path));

const OF_FILES: [Damage; 6] = [
    ("flipped", flip),
    ("cut", cut),
    ("a link", become_a_link),
    ("a directory", become_a_directory),
    ("a fifo", become_a_fifo),
    ("gone", remove),
];

struct Lab {
    registry: Registry,
    env: Env,
    name: String,
    image: Built,
}

impl Lab {
    fn new(user: User) -> Self {
        let (registry, image) = (Registry::start(), image());
        registry.push("i", "amd64", &image);
        let index = image.index();
        for reference in ["1", &index.digest] {
            registry.put_manifest("i", reference, &index.media_type, &index.bytes);
        }
        let name = registry.name("i:1");
        let env = Env::new(user);
        env.skua(&[INSECURE, "fetch", &name]).success();
        Self {
            registry,
            env,
            name,
            image,
        }
    }

    fn store(&self, below: &str) -> PathBuf {
        self.env.data().join("store").join(below)
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.store("oci/blobs/sha256").join(hex(digest))
    }

    fn run(&self, words: &[&str]) -> functional::Run {
        let run = [INSECURE, "run"];
        self.env
            .skua(&[&run[..], words, &[&self.name, "--", "exit", "7"]].concat())
    }

    /// Whatever is damaged at `path`: a run says so, a fetch repairs it.
    fn is_noticed_and_repaired(&self, what: &str, path: &Path, damage: Damage) {
        let (kind, damage) = damage;
        eprintln!("{what} is {kind}");
        damage(path);
        if fs::symlink_metadata(path).is_ok_and(|found| !found.is_symlink()) {
            self.env.give(path);
        }
        let run = self.run(&["--pull=never"]);
        assert!(
            run.code() == Some(254),
            "{what} is {kind}\n{}",
            run.report()
        );
        run.fails(&[&self.name]);
        let listed = self.env.skua(&["image", "list", "--format=json"]).success();
        let listed = listed.json();
        for row in listed["images"].as_array().unwrap() {
            assert!(row["problem"].is_string(), "{what} is {kind}: {row}");
        }
        self.env.skua(&[INSECURE, "fetch", &self.name]).success();
        self.run(&["--pull=never"]).exits(7);
        self.env.skua(&["gc", "--grace-period=0"]).success();
        self.env.skua(&["image", "gc"]).success();
    }
}

#[test]
fn damaged_documents_are_noticed_named_and_repaired() {
    let lab = Lab::new(User::ordinary());
    let index = lab.image.index().digest;
    for (what, digest) in [
        ("index", &index),
        ("manifest", &lab.image.manifest.digest),
        ("config", &lab.image.config.digest),
    ] {
        for damage in [("reworded", reword as fn(&Path))].iter().chain(&OF_FILES) {
            lab.is_noticed_and_repaired(what, &lab.blob(digest), *damage);
        }
    }
}

#[test]
fn damaged_trees_are_noticed_named_and_repaired() {
    // Trees of root belong to nobody, so root damages them.
    let users = User::all().into_iter().filter(|user| *user != User::Single);
    for user in users {
        let lab = Lab::new(user);
        let layer = lab.image.layers[1].diff_id.clone();
        let tree = lab.store("trees/sha256").join(hex(&layer));
        for damage in [("gone", remove as fn(&Path)), ("a link", become_a_link)] {
            lab.is_noticed_and_repaired("tree", &tree, damage);
            lab.is_noticed_and_repaired("root of a tree", &tree.join("fs"), damage);
        }
    }
}

#[test]
fn a_damaged_record_of_a_tree_stands_in_nobodys_way() {
    let lab = Lab::new(User::ordinary());
    let layer = lab.image.layers[1].diff_id.clone();
    let record = lab
        .store("trees/sha256")
        .join(hex(&layer))
        .join("meta.json");
    for (kind, damage) in OF_FILES {
        eprintln!("the record is {kind}");
        damage(&record);
        if fs::symlink_metadata(&record).is_ok_and(|found| !found.is_symlink()) {
            lab.env.give(&record);
        }
        lab.run(&["--pull=never"]).exits(7);
        lab.env.skua(&["gc", "--grace-period=0"]).success();
        lab.env.skua(&["image", "gc"]).success();
        lab.env.skua(&["image", "rm", &lab.name]).success();
        lab.env.skua(&[INSECURE, "fetch", &lab.name]).success();
        assert!(fs::symlink_metadata(&record).unwrap().is_file(), "{kind}");
    }
}

fn become_an_empty_directory(path: &Path) {
    remove(path);
    fs::create_dir(path).unwrap();
}

fn become_unreadable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
}

fn lose_its_directory(path: &Path) {
    let parent = path.parent().unwrap();
    remove(parent);
    fs::write(parent, "").unwrap();
}

/// What its image needs nobody knows, so that nothing may go; all other images are listed.
#[test]
fn a_damaged_record_of_a_name_is_noticed_named_and_repaired() {
    let lab = Lab::new(User::ordinary());
    let record = lab.store("refs").join(lab.registry.host()).join("i/:1");
    let other = lab.registry.push("other", "1", &Image::inspect().build());
    let unneeded = Image::inspect().layer(Layer::new().file("u", 0o644, "u"));
    let unneeded = unneeded.build();
    let third = lab.registry.push("third", "1", &unneeded);
    lab.env.skua(&[INSECURE, "fetch", &other]).success();
    let named: [Damage; 8] = [
        ("flipped", flip),
        ("cut", cut),
        ("a link", become_a_link),
        ("a directory", become_a_directory),
        ("an empty directory", become_an_empty_directory),
        ("a fifo", become_a_fifo),
        ("unreadable", become_unreadable),
        ("below a file", lose_its_directory),
    ];
    for (kind, damage) in named {
        eprintln!("the record is {kind}");
        lab.env.skua(&[INSECURE, "fetch", &third]).success();
        let own = lab.store("refs").join(lab.registry.host());
        damage(&record);
        lab.env.give(&own.join("i"));
        let listed = lab.env.skua(&["image", "list"]).says(&other);
        listed.says(&third).fails(&["refs", "i"]);
        let verified = lab.env.skua(&["image", "verify", "--repair", &lab.name]);
        // What only lacks a permission is no damage, and named by its path.
        let named = [lab.name.as_str(), "refs"][usize::from(kind == "unreadable")];
        verified.fails(&[named]);
        // Where the third one's layers end nobody can tell: they may be the damaged one's too.
        lab.env.skua(&["image", "rm", &third]).fails(&["refs", "i"]);
        lab.env.skua(&["image", "gc"]).fails(&["refs", "i"]);
        let layer = &unneeded.layers[1].diff_id;
        let tree = lab.store("trees/sha256").join(hex(layer));
        assert!(tree.exists(), "{kind}");
        lab.env.skua(&[INSECURE, "fetch", &lab.name]).success();
        lab.run(&["--pull=never"]).exits(7);
        lab.env.skua(&["image", "list"]).success().says(&lab.name);
        lab.env.skua(&["image", "gc"]).success();
        assert!(!tree.exists(), "{kind}");
    }
    for damage in [flip, become_a_directory] {
        damage(&record);
        lab.env.give(&record);
        lab.env.skua(&["image", "rm", &lab.name]).success();
        lab.env.skua(&["image", "gc"]).success();
        lab.env.skua(&[INSECURE, "fetch", &lab.name]).success();
    }
}

/// From the path of a local image's record no name follows.
#[test]
fn a_damaged_record_of_a_local_image_is_noticed_and_repaired() {
    for user in User::all() {
        let env = Env::new(user);
        let name = env.layout(&image());
        let records = env.data().join("store/refs/local");
        for (kind, damage) in [
            ("cut", cut as fn(&Path)),
            ("an empty directory", become_an_empty_directory),
        ] {
            env.skua(&[INSECURE, "fetch", &name]).success();
            let record = fs::read_dir(&records).unwrap().next().unwrap();
            let record = record.unwrap().path();
            damage(&record);
            env.give(&record);
            let path = record.to_str().unwrap();
            let parts = [path, "fetch it again, or remove its record"];
            env.skua(&["image", "list"]).fails(&parts);
            env.skua(&["image", "gc"]).fails(&parts);
            let fetched = env.skua(&[INSECURE, "fetch", &name]).success();
            assert!(
                !fetched.stderr.contains("unpacked"),
                "{kind}: nothing was lost"
            );
            env.skua(&["image", "gc"]).success();
        }
    }
}

#[test]
fn damaged_evidence_is_fetched_again() {
    let registry = Registry::start();
    let (key, image) = (functional::Key::new(1), image());
    let name = registry.push_signed("team/i", "1", &image, &key);
    let env = Env::new(User::ordinary());
    env.trust(&registry.name("team"), &key);
    env.skua(&["fetch", &name]).success();
    let evidence = env
        .data()
        .join("store/evidence/sha256")
        .join(hex(image.digest()));
    let files = || -> Vec<PathBuf> {
        let entries = fs::read_dir(&evidence).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let whole = files().len();
    assert_eq!(whole, 2);
    for path in files() {
        for damage in [flip as fn(&Path), cut, remove] {
            damage(&path);
            let run = env.skua(&["run", &name, "--", "exit", "7"]);
            // A signature that is damaged proves nothing: an unsigned image does not run.
            run.exits(254).complains("is not trusted");
            env.skua(&["fetch", &name]).success();
            env.skua(&["run", &name, "--", "exit", "7"]).exits(7);
            assert_eq!(files().len(), whole, "what is damaged is replaced");
        }
    }
}

#[test]
fn a_pod_runs_on_while_what_it_runs_from_is_made_again() {
    for user in User::all() {
        let lab = Lab::new(user);
        let start = [INSECURE, "run", "--net=none", "--name=p", "--pull=never"];
        let words = [&lab.name, "--", "trap", "SIGTERM", "0"];
        let mut pod = lab.env.spawn(&[&start[..], &words].concat());
        pod.prints("ready");
        for layer in &lab.image.layers {
            let tree = lab.store("trees/sha256").join(hex(&layer.diff_id));
            flip(&tree.join("meta.json"));
        }
        lab.env.skua(&["image", "rm", &lab.name]).success();
        lab.env
            .skua(&[INSECURE, "fetch", &lab.name])
            .success()
            .complains("was damaged and is made again");
        let aside = || {
            let inbox = fs::read_dir(lab.store("inbox")).unwrap();
            let names = inbox.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.starts_with("aside-")).count()
        };
        for collect in [&["image", "gc"][..], &["gc", "--grace-period=0"]] {
            // Nothing of this has been read before, not even the program.
            let read = lab
                .env
                .skua(&["enter", "p", "--", "/inspect", "read", "/one"]);
            let read = read.success().json();
            assert_eq!(read["text"], "1", "{read}");
            lab.env.skua(collect).success();
            assert_eq!(aside(), lab.image.layers.len());
        }
        // Others run from the new trees.
        lab.run(&["--pull=never"]).exits(7);
        pod.signal(nix::sys::signal::Signal::SIGTERM);
        pod.wait().success();
        lab.env.skua(&["gc", "--grace-period=0"]).success();
        lab.env
            .skua(&["image", "gc"])
            .success()
            .says("inbox/aside-");
        assert_eq!(aside(), 0);
        lab.run(&["--pull=never"]).exits(7);
    }
}

#[test]
fn a_repair_that_fails_takes_nothing_away() {
    let lab = Lab::new(User::ordinary());
    let layer = &lab.image.layers[1];
    let tree = lab.store("trees/sha256").join(hex(&layer.diff_id));
    // Of two names one goes, so that its fetch looks at the layers.
    let other = lab.registry.push("i", "2", &lab.image);
    lab.env.skua(&[INSECURE, "fetch", &other]).success();
    lab.env.skua(&["image", "rm", &lab.name]).success();
    flip(&tree.join("meta.json"));
    let gone = functional::registry::Action::Status(404, vec![]);
    lab.registry
        .fault(functional::registry::Fault::always(&layer.digest, gone));
    lab.env
        .skua(&[INSECURE, "fetch", &lab.name])
        .fails(&[&layer.digest]);
    // A damaged record stands in nobody's way, and the files are there.
    let run = [INSECURE, "run", "--pull=never", &other, "--", "exit", "7"];
    lab.env.skua(&run).exits(7);
}
