//! A tag that is moved back to an older, validly signed image is not followed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use functional::{Built, Cosign, Env, Image, Key, Registry, User};
use serde_json::json;

/// An image that exits with `status`, made at `created`.
fn image(status: &str, created: Option<&str>) -> Built {
    let image = Image::inspect().cmd(&["exit", status]);
    match created {
        Some(created) => image.edit_config("created", json!(created)).build(),
        None => image.build(),
    }
}

const OLD: &str = "2024-01-01T00:00:00Z";
const NEW: &str = "2025-06-01T12:30:00.5Z";

struct Lab {
    registry: Registry,
    env: Env,
    name: String,
}

impl Lab {
    fn new(user: User) -> Self {
        let (registry, env) = (Registry::start(), Env::new(user));
        env.trust(&registry.host(), &Key::new(1));
        let name = registry.name("team/app:1");
        Self {
            registry,
            env,
            name,
        }
    }

    fn serve(&self, image: &Built) {
        self.registry
            .push_signed("team/app", "1", image, &Key::new(1));
    }

    fn fetch(&self) -> functional::Run {
        self.env.skua(&["fetch", &self.name])
    }

    fn allow(&self) -> functional::Run {
        self.env.skua(&["fetch", "--allow-downgrade", &self.name])
    }

    fn store(&self, below: &str, digest: &str) -> PathBuf {
        let hex = &digest["sha256:".len()..];
        self.env.data().join("store").join(below).join(hex)
    }

    /// All files without which nothing can be told of `image`: signatures, manifest and config.
    fn kept(&self, image: &Built) -> Vec<PathBuf> {
        let evidence = fs::read_dir(self.store("evidence/sha256", image.digest())).unwrap();
        let mut files: Vec<PathBuf> = evidence.map(|entry| entry.unwrap().path()).collect();
        assert!(!files.is_empty());
        for digest in [image.digest(), &image.config.digest] {
            files.push(self.store("oci/blobs/sha256", digest));
        }
        files
    }

    fn has(&self, status: i32) {
        self.env
            .skua(&["run", "--pull=never", &self.name])
            .exits(status);
    }
}

#[test]
fn a_tag_that_moved_back_is_not_followed_until_that_is_allowed() {
    for user in User::all() {
        let lab = Lab::new(user);
        let (old, new) = (image("4", Some(OLD)), image("5", Some(NEW)));
        lab.serve(&new);
        lab.fetch().success();
        lab.serve(&old);
        for words in [
            &["fetch"][..],
            &["run", "--pull=always"],
            &["prepare", "--pull=always"],
            &["lock", "--pull=always"],
        ] {
            lab.env
                .skua(&[words, &[&lab.name]].concat())
                .fails(&[
                    &lab.name,
                    "moved back",
                    old.digest(),
                    OLD,
                    new.digest(),
                    NEW,
                ])
                .complains("--allow-downgrade");
        }
        lab.has(5);
        let run = ["run", "--pull=always", "--allow-downgrade", &lab.name];
        lab.env.skua(&run).exits(4);
        lab.has(4);
        lab.serve(&new);
        lab.fetch().success();
        lab.has(5);
    }
}

#[test]
fn where_dates_do_not_tell_what_the_tag_stood_for_before_is_older() {
    for created in [None, Some("1970-01-01T00:00:00Z"), Some("not a date")] {
        let lab = Lab::new(User::ordinary());
        let (first, second, third) = (
            image("4", created),
            image("5", created),
            image("6", created),
        );
        for image in [&first, &second, &third] {
            lab.serve(image);
            lab.fetch().success();
        }
        for back in [&first, &second] {
            lab.serve(back);
            lab.fetch()
                .fails(&[back.digest(), "stood for before", third.digest()]);
        }
        lab.has(6);
        lab.allow().success();
        lab.has(5);
        // Forward again: what came after the image that was gone back to is forgotten.
        lab.serve(&third);
        lab.fetch().success();
        lab.serve(&second);
        lab.fetch().fails(&["moved back"]);
    }
}

#[test]
fn a_newer_image_is_followed_though_the_tag_has_had_it_before() {
    let lab = Lab::new(User::ordinary());
    let (old, new) = (image("4", Some(OLD)), image("5", Some(NEW)));
    for (image, status) in [(&old, 4), (&new, 5)] {
        lab.serve(image);
        lab.fetch().success();
        lab.has(status);
    }
    lab.serve(&old);
    lab.allow().success();
    lab.serve(&new);
    lab.fetch().success();
    lab.has(5);
}

#[test]
fn an_image_whose_key_was_revoked_holds_nobody_back() {
    let lab = Lab::new(User::ordinary());
    let (old, new) = (image("4", Some(OLD)), image("5", Some(NEW)));
    lab.env.trust(&lab.registry.host(), &Key::new(2));
    lab.registry
        .push_signed("team/app", "1", &new, &Key::new(2));
    lab.fetch().success();
    lab.serve(&old);
    lab.fetch().fails(&["moved back"]);
    let stolen = lab.env.write("stolen.pem", Key::new(2).public_pem());
    let prefix = lab.registry.host();
    let rm = ["trust", "rm", "--prefix", &prefix, stolen.to_str().unwrap()];
    lab.env.skua(&rm).success();
    lab.fetch().success();
    lab.has(4);
}

#[test]
fn a_digest_another_tag_and_a_forgotten_name_are_not_held_back() {
    let lab = Lab::new(User::ordinary());
    let (old, new) = (image("4", Some(OLD)), image("5", Some(NEW)));
    lab.serve(&new);
    lab.fetch().success();
    lab.serve(&old);
    let pinned = lab.registry.name(&format!("team/app@{}", old.digest()));
    lab.env.skua(&["run", &pinned]).exits(4);
    lab.registry.push("team/app", "old", &old);
    lab.env
        .skua(&["run", &lab.registry.name("team/app:old")])
        .exits(4);
    lab.fetch().fails(&["moved back"]);
    lab.env.skua(&["image", "rm", &lab.name]).success();
    lab.fetch().success();
    lab.has(4);
}

#[test]
fn a_signed_index_that_leads_back_is_not_followed() {
    let lab = Lab::new(User::ordinary());
    let (old, new) = (image("4", Some(OLD)), image("5", Some(NEW)));
    let serve = |image: &Built| {
        lab.registry.push("team/app", "amd64", image);
        let index = image.index();
        for reference in ["1", &index.digest] {
            lab.registry
                .put_manifest("team/app", reference, &index.media_type, &index.bytes);
        }
        let identity = lab.registry.name("team/app");
        let signatures = Cosign::new().sign(&Key::new(1), &identity, &index.digest);
        lab.registry
            .push_signatures("team/app", &index.digest, &signatures);
    };
    serve(&new);
    lab.fetch().success();
    serve(&old);
    lab.fetch()
        .fails(&["moved back", old.digest(), new.digest()]);
    lab.has(5);
}

#[test]
fn an_archive_cannot_move_a_name_back_either() {
    let lab = Lab::new(User::ordinary());
    let (old, new) = (image("4", Some(OLD)), image("5", Some(NEW)));
    lab.serve(&new);
    lab.fetch().success();
    let layout = lab.env.scratch("layout");
    old.write_layout(&layout, "1");
    let identity = lab.registry.name("team/app");
    let signatures = Cosign::new().sign(&Key::new(1), &identity, old.digest());
    old.write_layout_signatures(&layout, &signatures);
    lab.env.give(&layout);
    let source = format!("oci:{}:1", layout.display());
    lab.env
        .skua(&["fetch", "--as", &lab.name, &source])
        .fails(&["moved back"]);
    lab.has(5);
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[0] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(9).unwrap();
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

fn close(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
}

type Damage = (&'static str, fn(&Path));

/// What happens to files; nothing is closed to root.
fn damages(user: User) -> Vec<Damage> {
    let mut all: Vec<Damage> = vec![("flipped", flip), ("cut", cut), ("gone", remove)];
    if user != User::Caller || !nix::unistd::geteuid().is_root() {
        all.push(("closed", close));
    }
    all
}

#[test]
fn what_is_damaged_in_the_store_is_repaired_before_a_tag_moves() {
    let users = User::all().into_iter().filter(|user| *user != User::Single);
    for user in users {
        let lab = Lab::new(user);
        let (old, new) = (image("4", Some(OLD)), image("5", Some(NEW)));
        lab.serve(&new);
        lab.fetch().success();
        lab.serve(&old);
        for path in lab.kept(&new) {
            for (kind, damage) in damages(user) {
                eprintln!("{} is {kind}", path.display());
                damage(&path);
                let repair = format!("image verify --repair {}", lab.name);
                lab.fetch()
                    .fails(&["cannot tell whether", &lab.name, "moved back"])
                    .complains(&repair)
                    .complains("--allow-downgrade");
                lab.env
                    .skua(&["image", "verify", "--repair", &lab.name])
                    .success();
                lab.has(5);
                lab.fetch().fails(&["was moved back", new.digest()]);
            }
        }
    }
}

#[test]
fn the_same_image_repairs_what_is_damaged_and_an_older_one_is_taken_where_that_is_allowed() {
    let lab = Lab::new(User::ordinary());
    let (old, new) = (image("4", Some(OLD)), image("5", Some(NEW)));
    lab.serve(&new);
    lab.fetch().success();
    for path in lab.kept(&new) {
        for (kind, damage) in damages(User::ordinary()) {
            eprintln!("{} is {kind}", path.display());
            damage(&path);
            lab.fetch().success();
            lab.has(5);
        }
    }
    for path in lab.kept(&new) {
        lab.serve(&old);
        flip(&path);
        lab.fetch().fails(&["cannot tell whether"]);
        lab.allow().success();
        lab.has(4);
        lab.serve(&new);
        lab.fetch().success();
        lab.has(5);
    }
}

#[test]
fn a_damaged_record_of_a_tag_is_replaced_where_that_is_allowed() {
    let lab = Lab::new(User::ordinary());
    let (old, new) = (image("4", Some(OLD)), image("5", Some(NEW)));
    let record = lab.env.data().join("store/refs");
    let record = record.join(lab.registry.host()).join("team/app/:1");
    let forget = format!("image rm {}", lab.name);
    for words in [&["fetch", "--allow-downgrade"][..], &["image", "rm"]] {
        lab.serve(&new);
        lab.allow().success();
        lab.serve(&old);
        flip(&record);
        lab.fetch()
            .fails(&["cannot tell whether", &lab.name])
            .complains(&forget);
        lab.env.skua(&[words, &[&lab.name]].concat()).success();
        lab.fetch().success();
        lab.has(4);
    }
}

#[test]
fn a_detached_signature_that_is_damaged_lets_nothing_older_in() {
    let user = User::ordinary();
    let (env, key) = (Env::new(user), Key::new(1));
    let (old, new) = (image("4", Some(OLD)), image("5", Some(NEW)));
    let name = "registry.example/t/a:1";
    let public = env.write("key.pub", key.minisign_public());
    let trust = ["trust", "add", "--prefix", "registry.example/t"];
    env.skua(&[&trust[..], &[public.to_str().unwrap()]].concat())
        .success();
    let fetch = |file: &str, image: &Built| {
        let layout = env.scratch(file);
        image.write_layout(&layout, "1");
        env.give(&layout);
        let signature = env.write(
            &format!("{file}.minisig"),
            key.minisign(&image.manifest.bytes, "by hand"),
        );
        let source = format!("oci:{}:1", layout.display());
        let signature = format!("--signature={}", signature.display());
        env.skua(&["fetch", "--as", name, &signature, &source])
    };
    fetch("new", &new).success();
    fetch("old", &old).fails(&["was moved back"]);
    let evidence = env.data().join("store/evidence/sha256");
    let evidence = evidence.join(&new.digest()["sha256:".len()..]);
    for (kind, damage) in damages(user)
        .into_iter()
        .filter(|(kind, _)| *kind != "gone")
    {
        eprintln!("{kind}");
        let mut files = fs::read_dir(&evidence).unwrap();
        damage(&files.next().unwrap().unwrap().path());
        fetch("old", &old).fails(&["cannot tell whether", name]);
        fetch("new", &new).success();
        fetch("old", &old).fails(&["was moved back"]);
    }
}
