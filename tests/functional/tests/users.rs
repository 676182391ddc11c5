//! Who an app is: names and numbers of its image, and images that lie about them.

use functional::{Entry, Env, Image, Kind, Layer, Run, User};
use serde_json::json;

/// An image with one more layer, in a layout directory.
fn image(env: &Env, tag: &str, layer: Layer) -> String {
    let layout = env.scratch("layout");
    Image::inspect()
        .layer(layer)
        .build()
        .write_layout(&layout, tag);
    env.give(&layout);
    format!("oci:{}:{tag}", layout.display())
}

fn run(env: &Env, name: &str, flags: &[&str], question: &[&str]) -> Run {
    let start = ["--insecure-options=image", "run", "--net=none", name];
    env.skua(&[&start, flags, &["--"], question].concat())
}

#[test]
fn a_user_is_a_name_or_a_number_for_every_caller() {
    for user in User::all() {
        let env = Env::new(user);
        let name = image(&env, "1", Layer::new().file("x", 0o644, ""));
        for (given, uid, gid) in [
            ("app", 1000, 1000),
            ("1000", 1000, 1000),
            ("77", 77, 0),
            ("root", 0, 0),
        ] {
            let flag = format!("--user={given}");
            let id = run(&env, &name, &[&flag], &["id"]).success().json();
            assert_eq!(id["uid"], json!([uid, uid, uid]), "{user:?} {given}");
            assert_eq!(id["gid"], json!([gid, gid, gid]), "{user:?} {given}");
        }
        let flags = ["--user=app", "--group=extra"];
        let id = run(&env, &name, &flags, &["id"]).success().json();
        assert_eq!(id["gid"], json!([2000, 2000, 2000]), "{user:?}");
    }
}

#[test]
fn supplementary_groups_are_set_and_no_group_of_the_caller_is_left() {
    let mut users = User::all();
    // Where there is one id only, the caller's groups cannot be changed.
    users.retain(|&user| user != User::Single);
    for user in users {
        let env = Env::new(user);
        let name = image(&env, "1", Layer::new().file("x", 0o644, ""));
        let flags = ["--user=app", "--supplementary-groups=5,extra,root"];
        let id = run(&env, &name, &flags, &["id"]).success().json();
        assert_eq!(id["groups"], json!([0, 5, 2000]), "{user:?}");
        let id = run(&env, &name, &[], &["id"]).success().json();
        assert_eq!(id["groups"], json!([]), "{user:?}");
    }
}

#[test]
fn nothing_that_is_not_a_user_becomes_user_0() {
    let env = Env::new(User::ordinary());
    let passwd = "1000:x:0:0::/:\n-1:x:0:0::/:\nover:x:4294967296:0::/:\nfar:x:70000:0::/:\n";
    let name = image(&env, "1", Layer::new().file("etc/passwd", 0o644, passwd));
    for (given, complaint) in [
        ("4294967296", "4294967296"),
        ("4294967295", "4294967295"),
        ("2147483648", "2147483648"),
        ("-1", "-1"),
        ("over", "over"),
        ("nobody", "nobody"),
        ("far", "70000 is not in the id map"),
        ("2147483647", "2147483647 is not in the id map"),
    ] {
        let flag = format!("--user={given}");
        run(&env, &name, &[&flag], &["exit", "0"]).fails(&[complaint]);
    }
    let id = run(&env, &name, &["--user=1000"], &["id"]).success().json();
    assert_eq!(
        id["uid"],
        json!([1000, 1000, 1000]),
        "a name that is a number is none"
    );
}

#[test]
fn a_hostile_passwd_file_is_an_error_and_not_a_wait() {
    let env = Env::new(User::ordinary());
    let line = "a".repeat(70_000);
    for (tag, kind, complaint) in [
        ("fifo", Kind::Fifo, "is not a regular file"),
        (
            "link",
            Kind::Symlink("/proc/self/environ".to_owned()),
            "is a symbolic link",
        ),
        (
            "host",
            Kind::Symlink("../../../../etc/passwd".to_owned()),
            "is a symbolic link",
        ),
        (
            "large",
            Kind::File(vec![b'\n'; (1 << 20) + 1]),
            "is longer than 1 MiB",
        ),
        (
            "line",
            Kind::File(line.clone().into_bytes()),
            "a line longer than 64 KiB",
        ),
    ] {
        let name = image(
            &env,
            tag,
            Layer::new().entry(Entry::new("etc/passwd", kind)),
        );
        run(&env, &name, &["--user=app"], &["exit", "0"]).fails(&["/etc/passwd", complaint]);
        run(&env, &name, &[], &["exit", "5"]).exits(5);
    }
}
