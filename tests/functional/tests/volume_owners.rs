//! Whose a new volume is: an app that is not user 0 can have one to write to.

use functional::{Env, Image, Run, User};
use serde_json::json;

/// An image layout for one user.
struct Lab {
    env: Env,
    image: String,
}

impl Lab {
    fn new(user: User) -> Self {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        Self { env, image }
    }

    /// Whether its pods have one id, which all their users are.
    fn one_id(&self) -> bool {
        let words = ["explain", "--format=json", &self.image, "--", "exit"];
        let words = [&["--insecure-options=image"], &words[..]].concat();
        let explained = self.env.skua(&words).success().json();
        explained["manifest"]["id_map"]["kind"] == "single"
    }

    /// Runs `words` as `user` with `volume` on `/data`.
    fn run(&self, volume: &str, mount: &str, user: &str, words: &[&str]) -> Run {
        let volume = format!("--volume=d,{volume}");
        let mount = format!("--mount=volume=d,target=/data{mount}");
        let user = format!("--user={user}");
        let start = ["--insecure-options=image", "run", &volume, &self.image];
        let app = [&mount[..], &user, "--"];
        self.env.skua(&[&start[..], &app, words].concat())
    }
}

#[test]
fn who_owns_a_volume_writes_to_it_and_nobody_else_needs_to() {
    for user in User::all() {
        let lab = Lab::new(user);
        for kind in ["empty", "tmpfs"] {
            let volume = format!("kind={kind},mode=700,uid=1000,gid=1001");
            let run =
                |user: &str, words: &[&str]| lab.run(&volume, "", user, words).success().json();
            let stat = run("1000:1001", &["stat", "/data"]);
            assert_eq!(
                (&stat["uid"], &stat["gid"], &stat["mode"]),
                (&json!(1000), &json!(1001), &json!("0700")),
                "{user:?} {kind}: {stat}"
            );
            let written = run("1000:1001", &["write", "/data/x", "hello"]);
            assert_eq!(written["ok"], true, "{user:?} {kind}: {written}");
            if !lab.one_id() {
                let refused = run("7", &["write", "/data/x", "hello"]);
                assert_eq!(refused["errno"], "EACCES", "{user:?} {kind}: {refused}");
            }
        }
    }
}

#[test]
fn a_volume_has_its_owner_also_where_every_app_mounts_it_read_only() {
    for user in User::all() {
        let lab = Lab::new(user);
        for kind in ["kind=empty,uid=1000", "kind=tmpfs,uid=1000"] {
            let run = lab.run(kind, ",readonly=true", "1000", &["stat", "/data"]);
            let stat = run.success().json();
            assert_eq!(stat["uid"], 1000, "{user:?} {kind}: {stat}");
        }
    }
}

#[test]
fn a_volume_is_not_given_to_who_is_not_in_the_pod() {
    for user in User::all() {
        let lab = Lab::new(user);
        if lab.one_id() {
            continue;
        }
        for (kind, who) in [
            ("kind=empty,uid=70000", "user 70000"),
            ("kind=tmpfs,gid=2147483647", "group 2147483647"),
        ] {
            let run = lab.run(kind, "", "0", &["exit", "0"]);
            let said = format!("cannot give volume d to {who}, which is not in the id map");
            run.fails(&[&said]);
        }
    }
}
