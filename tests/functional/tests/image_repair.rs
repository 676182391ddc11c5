//! `skua image verify --repair` after a crash: it heals what is in its way first.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use functional::{Built, Env, Image, Layer, Registry, Run, User};
use nix::sys::signal::Signal;

/// A store with an image of two layers.
struct Lab {
    registry: Registry,
    env: Env,
    image: Built,
    name: String,
}

impl Lab {
    fn new(user: User) -> Self {
        let registry = Registry::start();
        let image = Image::inspect()
            .layer(Layer::new().file("file", 0o644, "content"))
            .build();
        let name = registry.push("i", "1", &image);
        let env = Env::new(user);
        let lab = Self {
            registry,
            env,
            image,
            name,
        };
        lab.skua(&["fetch", &lab.name]).success();
        lab
    }

    fn skua(&self, words: &[&str]) -> Run {
        self.env
            .skua(&[&["--insecure-options=image"], words].concat())
    }

    fn verify(&self, words: &[&str]) -> Run {
        self.skua(&[&["image", "verify"], words, &[&self.name]].concat())
    }

    fn tree(&self, layer: usize) -> PathBuf {
        let hex = &self.image.layers[layer].diff_id["sha256:".len()..];
        self.env.data().join("store/trees/sha256").join(hex)
    }
}

#[test]
fn a_pod_whose_keeper_was_killed_stands_in_no_repairs_way() {
    for user in User::all() {
        let lab = Lab::new(user);
        let run = [
            "--insecure-options=image",
            "run",
            &lab.name,
            "--",
            "ignore",
            "SIGUSR1",
        ];
        let mut pod = lab.env.spawn(&run);
        pod.prints("ready");
        pod.signal(Signal::SIGKILL);
        drop(pod);
        let file = lab.tree(1).join("fs/file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o777)).unwrap();
        lab.verify(&["--repair"])
            .success()
            .says("1 of 2 layers unpacked again");
        lab.verify(&[]).success();
    }
}

#[test]
fn a_repair_that_was_killed_is_finished_by_the_next() {
    let lab = Lab::new(User::ordinary());
    // It had taken the layer away, and the name stands for something else by now.
    fs::rename(lab.tree(1), lab.env.scratch("taken away")).unwrap();
    let other = Image::inspect().build();
    lab.registry.push("i", "1", &other);
    lab.verify(&[]).fails(&[&lab.name, "not in the store"]);
    lab.verify(&["--repair"])
        .success()
        .says("2 layers unchanged");
    lab.skua(&["run", "--pull=never", &lab.name, "--", "read", "/file"])
        .success()
        .says("content");
}

/// As after `cp -a` of the store to another disk.
fn copied(lab: &Lab) {
    let (data, copy) = (lab.env.data(), lab.env.scratch("copy"));
    let mut cp = std::process::Command::new("cp");
    cp.arg("-a").arg(&data).arg(&copy);
    Run::of(cp).success();
    fs::rename(&data, lab.env.scratch("original")).unwrap();
    fs::rename(&copy, &data).unwrap();
}

#[test]
fn in_a_copied_store_everything_counts_as_changed() {
    for user in User::all() {
        let lab = Lab::new(user);
        let file = lab.tree(1).join("fs/file");
        fs::write(&file, "evil").unwrap();
        copied(&lab);
        lab.verify(&[])
            .fails(&["cannot tell", "is a copy", "--contents"])
            .complains("verify --repair");
        lab.verify(&["--contents"])
            .fails(&["was changed", "'file'"]);
        lab.verify(&["--repair"])
            .success()
            .says("2 of 2 layers unpacked again");
        lab.verify(&[]).success();
        assert_eq!(fs::read_to_string(&file).unwrap(), "content");
    }
}

#[test]
fn a_layer_without_a_record_that_can_be_read_is_unpacked_again() {
    for user in User::all() {
        let lab = Lab::new(user);
        let record = lab.tree(1).join("meta.json");
        let path = record.to_str().unwrap();
        for text in [Some(""), Some("{}"), None] {
            for how in [&[][..], &["--contents"]] {
                match text {
                    Some(text) => fs::write(&record, text).unwrap(),
                    None => fs::remove_file(&record).unwrap(),
                }
                lab.verify(how).fails(&[path]).complains("--repair");
                lab.verify(&[how, &["--repair"]].concat()).success();
                lab.verify(how).success().says("2 layers unchanged");
            }
        }
    }
}

#[test]
fn a_store_of_an_older_skua_goes_on_working() {
    let lab = Lab::new(User::ordinary());
    for layer in 0..2 {
        fs::remove_file(lab.tree(layer).join("written")).unwrap();
    }
    let run = ["run", "--pull=never", &lab.name, "--", "read", "/file"];
    lab.skua(&run).success().says("content");
    lab.verify(&[]).fails(&["cannot tell", "an older skua"]);
    lab.verify(&["--contents"])
        .success()
        .says("2 layers unchanged");
}
