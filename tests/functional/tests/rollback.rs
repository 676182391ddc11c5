//! A tag that is moved back to an older, validly signed image is not followed.

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
