//! Images in the store, from outside: listed, shown, removed, collected, verified, repaired.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use functional::{Built, Entry, Env, Image, Key, Kind, Layer, Registry, Run, User, sha256};
use serde_json::Value;

const INSECURE: &str = "--insecure-options=image";

/// A layer whose files an ordinary user cannot remove without the ids of their owners.
fn stubborn(content: &str) -> Layer {
    let closed = Entry::new("closed", Kind::Directory).mode(0o700);
    Layer::new()
        .entry(closed.owner(7, 8))
        .entry(Entry::new("closed/file", Kind::File(content.into())).owner(7, 8))
        .entry(Entry::new("unwritable", Kind::Directory).mode(0o500))
        .file("unwritable/file", 0o400, content)
}

/// A store with two images that share their lowest layer.
struct Lab {
    env: Env,
    registry: Registry,
    images: [Built; 2],
    names: [String; 2],
}

impl Lab {
    fn new(user: User) -> Self {
        let (env, registry) = (Env::new(user), Registry::start());
        let images = ["1", "2"].map(|content| Image::inspect().layer(stubborn(content)).build());
        let names = [0, 1].map(|at| registry.push(&format!("images/i{at}"), "1", &images[at]));
        let lab = Self {
            env,
            registry,
            images,
            names,
        };
        lab.fetch(0);
        lab.fetch(1);
        lab
    }

    fn skua(&self, words: &[&str]) -> Run {
        self.env.skua(words)
    }

    fn fetch(&self, image: usize) {
        self.skua(&[INSECURE, "fetch", &self.names[image]])
            .success();
    }

    fn runs(&self, image: usize) -> Run {
        let words = [INSECURE, "run", "--rm", "--pull=never", &self.names[image]];
        self.skua(&[&words[..], &["--", "exit", "7"]].concat())
    }

    fn list(&self) -> Vec<Value> {
        let list = self.skua(&["image", "list", "--format=json"]);
        let list = list.success().json();
        assert_eq!(list["version"], 1);
        list["images"].as_array().expect("images").clone()
    }

    fn tree(&self, image: usize, layer: usize) -> PathBuf {
        let diff_id = &self.images[image].layers[layer].diff_id;
        let trees = self.env.data().join("store/trees");
        trees.join(diff_id.replace(':', "/"))
    }

    fn manifest(&self, image: usize) -> PathBuf {
        let blobs = self.env.data().join("store/oci/blobs");
        blobs.join(self.images[image].digest().replace(':', "/"))
    }

    /// Nothing is under way, and nothing was left.
    fn inbox_is_empty(&self) {
        let inbox = self.env.data().join("store/inbox");
        let left: Vec<_> = fs::read_dir(inbox).expect("the inbox").collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn images_are_listed_with_what_they_are_made_of() {
    let lab = Lab::new(User::ordinary());
    let list = lab.list();
    assert_eq!(list.len(), 2);
    for (at, image) in list.iter().enumerate() {
        assert_eq!(image["name"], lab.names[at].as_str());
        assert_eq!(image["manifest"], lab.images[at].digest());
        assert_eq!(image["layers"].as_array().map(Vec::len), Some(2));
        assert!(image["size"].as_u64() > Some(2), "{image}");
        assert_eq!(image["problem"], Value::Null);
    }
    let table = lab.skua(&["image", "list"]).success();
    assert!(table.stdout.starts_with("NAME"), "{}", table.report());
    assert!(table.stdout.contains(&lab.names[1]), "{}", table.report());
}

#[test]
fn the_manifest_is_printed_as_it_was_signed() {
    let lab = Lab::new(User::ordinary());
    let run = lab
        .skua(&["image", "cat-manifest", &lab.names[0]])
        .success();
    assert_eq!(sha256(run.stdout.as_bytes()), lab.images[0].digest());
}

#[test]
fn an_image_that_is_not_there_is_an_error_and_costs_nothing() {
    let lab = Lab::new(User::ordinary());
    let missing = lab.registry.name("images/missing:1");
    for command in ["rm", "verify", "cat-manifest"] {
        lab.skua(&["image", command, &missing])
            .fails(&["images/missing:1", "not in the store"]);
    }
    assert_eq!(lab.list().len(), 2);
}

#[test]
fn a_removed_image_takes_the_layers_that_nothing_else_uses() {
    for user in User::all() {
        let lab = Lab::new(user);
        lab.skua(&["image", "rm", &lab.names[0]]).success();
        assert!(lab.tree(0, 0).exists(), "the shared layer stays");
        assert!(!lab.tree(0, 1).exists(), "the layer is gone for {user:?}");
        assert!(!lab.manifest(0).exists());
        lab.runs(0).fails(&["not in the store"]);
        lab.runs(1).exits(7);
        lab.skua(&["image", "rm", &lab.names[1]]).success();
        assert!(!lab.tree(0, 0).exists());
        assert!(lab.list().is_empty());
        lab.inbox_is_empty();
        lab.fetch(0);
        lab.runs(0).exits(7);
    }
}

#[test]
fn layers_of_a_pod_stay_until_the_pod_is_removed() {
    for user in User::all() {
        let lab = Lab::new(user);
        let words = [INSECURE, "prepare", &lab.names[0], "--", "exit", "7"];
        let pod = lab.skua(&words).success().stdout.trim().to_owned();
        lab.skua(&["image", "rm", &lab.names[0]]).success();
        lab.skua(&["image", "gc"]).success();
        assert!(
            lab.tree(0, 1).exists(),
            "the pod's layer stays for {user:?}"
        );
        lab.skua(&[INSECURE, "run-prepared", &pod]).exits(7);
        lab.skua(&["image", "gc"]).success();
        assert!(lab.tree(0, 1).exists(), "an ended pod keeps its layers");
        lab.skua(&["rm", &pod]).success();
        let would = lab.skua(&["image", "gc", "--dry-run"]).success();
        assert!(
            would.stdout.contains("would remove 1 layers"),
            "{}",
            would.report()
        );
        assert!(lab.tree(0, 1).exists());
        lab.skua(&["image", "gc"]).success();
        assert!(!lab.tree(0, 1).exists());
        lab.inbox_is_empty();
    }
}

#[test]
fn a_prepared_pod_is_judged_by_the_signatures_of_its_image_after_the_name_is_gone() {
    let (env, registry) = (Env::new(User::ordinary()), Registry::start());
    let key = Key::new(1);
    let image = Image::inspect().build();
    let name = registry.push_signed("images/signed", "1", &image, &key);
    env.trust(&registry.name("images"), &key);
    let words = ["prepare", &name, "--", "exit", "7"];
    let pod = env.skua(&words).success().stdout.trim().to_owned();
    env.skua(&["image", "rm", &name]).success();
    env.skua(&["run-prepared", &pod]).exits(7);
}

#[test]
fn a_pod_that_cannot_be_read_keeps_every_layer() {
    let lab = Lab::new(User::ordinary());
    let words = [INSECURE, "prepare", &lab.names[0], "--", "exit", "7"];
    let pod = lab.skua(&words).success().stdout.trim().to_owned();
    let manifest = lab
        .env
        .data()
        .join("pods/prepared")
        .join(&pod)
        .join("pod.json");
    let whole = fs::read(&manifest).expect("pod.json");
    fs::write(&manifest, "{").expect("write");
    for words in [&["image", "rm", &lab.names[1]][..], &["image", "gc"]] {
        lab.skua(words).fails(&["pod.json"]);
    }
    assert_eq!(lab.list().len(), 2, "the name of the image stays too");
    assert!(lab.tree(1, 1).exists());
    fs::write(&manifest, whole).expect("write");
    lab.skua(&["image", "rm", &lab.names[1]]).success();
    assert!(!lab.tree(1, 1).exists());
}

#[test]
fn a_document_with_one_flipped_bit_is_found_and_fetched_again() {
    let lab = Lab::new(User::ordinary());
    let mut bytes = fs::read(lab.manifest(0)).expect("the manifest");
    bytes[10] ^= 1;
    fs::write(lab.manifest(0), bytes).expect("write");
    lab.runs(0).fails(&["corrupt", "fetch it again"]);
    assert!(lab.list()[0]["problem"].is_string());
    lab.skua(&["image", "gc"]).fails(&[&lab.names[0]]);
    lab.runs(1).exits(7);
    lab.fetch(0);
    lab.runs(0).exits(7);
}

#[test]
fn a_changed_layer_is_found_and_unpacked_again() {
    let Some(user) = User::root("a_changed_layer_is_found_and_unpacked_again") else {
        return;
    };
    let lab = Lab::new(user);
    let verify = |image: usize| lab.skua(&["image", "verify", &lab.names[image]]);
    verify(0).success();
    let file = lab.tree(0, 1).join("fs/closed/file");
    fs::write(&file, "evil").expect("write");
    verify(0).fails(&["was changed", "closed/file"]);
    verify(1).success();
    lab.skua(&["image", "rm", &lab.names[0]]).success();
    lab.fetch(0);
    verify(0).success();
    assert_eq!(fs::read_to_string(&file).expect("read"), "1");
}

#[test]
fn what_became_unneeded_a_moment_ago_waits_for_its_grace_period() {
    let lab = Lab::new(User::ordinary());
    fs::remove_dir_all(lab.env.data().join("store/refs/local")).ok();
    let refs = lab.env.data().join("store/refs");
    let host = fs::read_dir(&refs).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(host.join("images/i0/:1")).expect("the name of an image");
    let gc = |grace: &str| lab.skua(&["image", "gc", "--grace-period", grace]);
    gc("1h")
        .success()
        .says("removed 0 layers")
        .says("3 objects have not been unneeded");
    gc("1h").success().says("removed 0 layers");
    assert!(lab.tree(0, 1).exists());
    gc("0s").success().says("removed 1 layers");
    assert!(!lab.tree(0, 1).exists());
    assert!(lab.tree(0, 0).exists());
    gc("soon").fails(&["soon"]);
}

#[test]
fn sizes_tell_what_is_shared_and_what_a_removal_frees() {
    for user in User::all() {
        let lab = Lab::new(user);
        let json = lab
            .skua(&["image", "list", "--format=json"])
            .success()
            .json();
        let number = |image: &Value, key: &str| image[key].as_u64().expect(key);
        for image in json["images"].as_array().expect("images") {
            let (disk, unique) = (number(image, "disk"), number(image, "unique"));
            assert!(unique > 0 && number(image, "shared") > unique, "{image}");
            assert_eq!(disk, unique + number(image, "shared"));
        }
        let of = |at: usize, key: &str| number(&json["images"][at], key);
        let all = of(0, "shared") + of(0, "unique") + of(1, "unique");
        assert_eq!(number(&json, "disk"), all);
        lab.skua(&["image", "rm", &lab.names[1]]).success();
        let json = lab
            .skua(&["image", "list", "--format=json"])
            .success()
            .json();
        assert_eq!(number(&json["images"][0], "shared"), 0);
        lab.inbox_is_empty();
    }
}

#[test]
fn a_name_that_was_mistyped_costs_no_other_image() {
    let lab = Lab::new(User::ordinary());
    let missing = lab.registry.name("images/missing:1");
    lab.skua(&["image", "rm", &lab.names[0], &missing])
        .fails(&["images/missing:1", "not in the store"]);
    assert_eq!(lab.list().len(), 2);
}

#[test]
fn a_changed_layer_is_repaired_from_where_it_came_from() {
    for user in User::all() {
        let lab = Lab::new(user);
        let file = lab.tree(0, 1).join("fs/unwritable/file");
        let verify = |words: &[&str]| {
            lab.skua(&[&[INSECURE, "image", "verify"], words, &[&lab.names[0]]].concat())
        };
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        verify(&[])
            .fails(&["was changed", "unwritable/file"])
            .complains("--repair");
        let run = ["run", "--name=holder", "--pull=never", &lab.names[0]];
        let run = [&[INSECURE], &run[..], &["--", "sleep", "600000"]].concat();
        let pod = lab.env.spawn(&run);
        functional::eventually("the pod runs", || {
            let run = lab.skua(&["status", "--format=json", "holder"]);
            run.code() == Some(0) && run.json()["pod_pid"].is_u64()
        });
        verify(&["--repair"]).fails(&["cannot repair", "using layer"]);
        lab.skua(&["stop", "--force", "holder"]).success();
        assert_ne!(pod.wait().code(), Some(0));
        // A pod that has ended, or has not begun, does not have it mounted.
        verify(&["--repair"])
            .success()
            .says("1 of 2 layers unpacked again");
        verify(&[]).success();
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&file).unwrap());
        assert_eq!(mode & 0o777, 0o400);
        lab.runs(0).exits(7);
        lab.inbox_is_empty();
    }
}

#[test]
fn what_was_changed_without_a_trace_is_found_by_comparing_contents() {
    for user in User::all() {
        let lab = Lab::new(user);
        let verify = |words: &[&str]| {
            lab.skua(&[&[INSECURE, "image", "verify"], words, &[&lab.names[0]]].concat())
        };
        verify(&["--contents"]).success().says("2 layers unchanged");
        let (tree, file) = (lab.tree(0, 1), lab.tree(0, 1).join("fs/unwritable/file"));
        let mtime = fs::metadata(&file).unwrap().modified().unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        fs::write(&file, "X").unwrap();
        fs::File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_modified(mtime)
            .unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
        // As if the disk had done it: the record of the layer is younger than the file.
        let meta = tree.join("meta.json");
        fs::set_permissions(&meta, PermissionsExt::from_mode(0o600)).unwrap();
        let at = fs::metadata(&meta).unwrap();
        let written = format!("{}.{:09}\n", at.ctime(), at.ctime_nsec());
        fs::write(tree.join("written"), written).unwrap();
        verify(&[]).success();
        verify(&["--contents"])
            .fails(&["was changed", "'unwritable/file' has another content"])
            .complains("--contents --repair");
        verify(&["--contents", "--repair"])
            .success()
            .says("1 of 2 layers unpacked again");
        verify(&["--contents"]).success();
        lab.inbox_is_empty();
    }
}

#[test]
fn a_removal_beside_launches_and_fetches_fails_none_of_them() {
    for user in User::all() {
        let lab = Lab::new(user);
        std::thread::scope(|scope| {
            for image in [0, 1] {
                let lab = &lab;
                scope.spawn(move || {
                    for _ in 0..6 {
                        let run = [
                            INSECURE,
                            "run",
                            "--rm",
                            &lab.names[image],
                            "--",
                            "exit",
                            "7",
                        ];
                        lab.skua(&run).exits(7);
                    }
                });
            }
            let lab = &lab;
            scope.spawn(move || {
                for at in 0..12 {
                    // Somebody may have removed it, or be about to fetch it.
                    let _ = lab.skua(&["image", "rm", &lab.names[at % 2]]);
                    lab.skua(&["image", "gc"]).success();
                }
            });
        });
        lab.inbox_is_empty();
    }
}
