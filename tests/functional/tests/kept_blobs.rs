//! Blobs of layers that were kept (`--keep-blobs`) serve whenever a layer is unpacked again.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use functional::{Built, Env, Image, Layer, Registry, Run, User, sha256};

const INSECURE: &str = "--insecure-options=image";

/// A store with an image whose blobs were kept.
struct Lab {
    env: Env,
    registry: Registry,
    image: Built,
    name: String,
}

impl Lab {
    fn new(user: User) -> Self {
        let (env, registry) = (Env::new(user), Registry::start());
        let image = Image::inspect()
            .layer(Layer::new().file("one", 0o644, "content"))
            .build();
        let name = registry.push("i", "1", &image);
        let lab = Self {
            env,
            registry,
            image,
            name,
        };
        lab.skua(&["fetch", "--keep-blobs", &lab.name]).success();
        lab.registry.forget_requests();
        lab
    }

    fn skua(&self, words: &[&str]) -> Run {
        self.env.skua(&[&[INSECURE], words].concat())
    }

    fn verify(&self, words: &[&str]) -> Run {
        self.skua(&[&["image", "verify", "--contents"], words, &[&self.name]].concat())
    }

    fn store(&self, below: &str, digest: &str) -> PathBuf {
        let digest = &digest["sha256:".len()..];
        self.env.data().join("store").join(below).join(digest)
    }

    fn blob(&self, layer: usize) -> PathBuf {
        self.store("oci/blobs/sha256", &self.image.layers[layer].digest)
    }

    fn file_one(&self) -> PathBuf {
        let tree = self.store("trees/sha256", &self.image.layers[1].diff_id);
        tree.join("fs/one")
    }

    /// Another content, as if the disk had done it: the record of the layer is younger.
    fn tamper(&self) {
        let tree = self.store("trees/sha256", &self.image.layers[1].diff_id);
        let file = tree.join("fs/one");
        let times = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, "CONTENT").unwrap();
        let file = fs::File::options().write(true).open(&file).unwrap();
        file.set_modified(times).unwrap();
        fs::set_permissions(tree.join("meta.json"), Permissions::from_mode(0o600)).unwrap();
    }

    fn layers_asked_for(&self) -> Vec<String> {
        let layers = self.image.layers.iter().map(|layer| &layer.digest);
        let asked = self.registry.requests();
        let asked_for = |digest: &&String| asked.iter().any(|r| r.path.ends_with(*digest));
        layers.filter(asked_for).cloned().collect()
    }
}

#[test]
fn contents_are_compared_with_kept_blobs_and_nobody_is_asked() {
    for user in User::all() {
        let lab = Lab::new(user);
        lab.verify(&[]).success().says("2 layers unchanged");
        lab.tamper();
        lab.verify(&[]).fails(&["'one' has another content"]);
        assert_eq!(lab.registry.requests().len(), 0);
        lab.verify(&["--repair"])
            .success()
            .says("1 of 2 layers unpacked again");
        assert_eq!(lab.layers_asked_for(), Vec::<String>::new());
        let name = lab.name.clone();
        let Lab { env, .. } = lab;
        // Without any registry.
        env.skua(&["image", "verify", "--contents", &name])
            .success()
            .says("2 layers unchanged");
    }
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(7).unwrap();
}

fn lead_elsewhere(path: &Path) {
    fs::remove_file(path).unwrap();
    symlink("/etc/passwd", path).unwrap();
}

#[test]
fn a_kept_blob_that_is_damaged_is_not_used_and_the_layer_is_asked_for() {
    for damage in [flip as fn(&Path), cut, lead_elsewhere, |path| {
        fs::remove_file(path).unwrap();
    }] {
        let lab = Lab::new(User::ordinary());
        damage(&lab.blob(1));
        lab.verify(&[]).success().says("2 layers unchanged");
        assert_eq!(lab.layers_asked_for(), [lab.image.layers[1].digest.clone()]);
        // It is gone, and comes back when it is wanted.
        assert!(fs::symlink_metadata(lab.blob(1)).is_err());
        lab.skua(&["fetch", "--keep-blobs", &lab.name]).success();
        let bytes = fs::read(lab.blob(1)).unwrap();
        assert_eq!(sha256(&bytes), lab.image.layers[1].digest);
    }
    let lab = Lab::new(User::ordinary());
    flip(&lab.blob(1));
    lab.verify(&[])
        .success()
        .complains("the kept blob of layer")
        .complains("is damaged");
}

#[test]
fn a_layer_that_is_lost_is_unpacked_from_its_kept_blob() {
    let lab = Lab::new(User::ordinary());
    let record = lab.store("trees/sha256", &lab.image.layers[1].diff_id);
    fs::remove_file(record.join("meta.json")).unwrap();
    fs::rename(record.join("fs"), record.join("gone")).unwrap();
    lab.skua(&["run", &lab.name, "--", "exit", "7"]).exits(7);
    assert_eq!(lab.layers_asked_for(), Vec::<String>::new());
}

#[test]
fn of_a_file_with_another_content_it_is_not_only_said_that_its_mode_is_another() {
    for user in User::all() {
        let lab = Lab::new(user);
        lab.tamper();
        let file = lab.file_one();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let other = "'one' has another content, and another mode, owner, time";
        lab.verify(&[]).fails(&[other]);
        lab.verify(&["--repair"]).success();
        let file = lab.file_one();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let run = lab.verify(&[]).fails(&["'one' has another mode, owner"]);
        assert!(!run.stderr.contains("content,"), "{}", run.report());
    }
}
