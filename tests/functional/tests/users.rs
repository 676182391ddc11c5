//! Who an app is: names and numbers of its image, and images that lie about them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

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

/// As a variable of a shell that is not set leaves them: the image's user must not become root by it.
#[test]
fn an_empty_user_group_or_directory_is_refused() {
    let env = Env::new(User::ordinary());
    let layout = env.layout(&Image::inspect().set("User", json!("app")).build());
    for (flag, hint) in [
        ("--user=", "--user"),
        ("--user=:0", "--user"),
        ("--user=:", "--user"),
        ("--group=", "--group"),
        ("--supplementary-groups=", "--supplementary-groups"),
        ("--supplementary-groups=5,", "--supplementary-groups"),
        ("--working-dir=", "--working-dir"),
    ] {
        run(&env, &layout, &[flag], &["id"]).fails(&[hint, "is named"]);
    }
    let id = run(&env, &layout, &[], &["id"]).success().json();
    assert_eq!(id["uid"], json!([1000, 1000, 1000]));
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
fn privileged_no_group_of_the_caller_is_left() {
    let Some(root) = User::root("privileged_no_group_of_the_caller_is_left") else {
        return;
    };
    for user in [root, User::Subordinate] {
        let env = Env::new(user);
        let name = image(&env, "1", Layer::new().file("x", 0o644, ""));
        let words = ["--insecure-options=image", "run", &name, "--", "id"];
        let command = env.command(&words);
        let (uid, gid) = user.ids();
        let mut with_groups = Command::new("setpriv");
        with_groups
            .args(["--reuid", &uid.to_string(), "--regid", &gid.to_string()])
            .args(["--groups", "4242"])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(env.home());
        let id = Run::of(with_groups).success().json();
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

#[test]
fn the_keys_of_the_caller_are_out_of_reach() {
    let env = Env::new(User::ordinary());
    let name = image(&env, "1", Layer::new().file("x", 0o644, ""));
    let start = [
        "--insecure-options=image,seccomp",
        "run",
        "--net=none",
        name.as_str(),
        "--seccomp=unconfined",
        "--",
    ];
    let keyctl = libc::SYS_keyctl.to_string();
    // KEYCTL_GET_KEYRING_ID of the session keyring, not made for the purpose.
    let question = ["syscall", keyctl.as_str(), "0", "-3", "0"];
    // The two pods have a caller with a session keyring, which both of them would get.
    let inspect = env.write("inspect", functional::inspect_bytes());
    fs::set_permissions(&inspect, fs::Permissions::from_mode(0o755)).expect("chmod");
    let pod = env.command(&[&start[..], &question].concat());
    let mut twice = env.program(inspect);
    twice.args(["in-session", "sh", "-c", "\"$@\" && \"$@\"", "sh"]);
    twice.arg(pod.get_program()).args(pod.get_args());
    let run = Run::of(twice).success();
    let keyring = |line: &str| {
        let answer: serde_json::Value = serde_json::from_str(line).expect("an answer");
        answer["result"].as_i64().expect("a serial")
    };
    let keyrings: Vec<i64> = run.stdout.lines().map(keyring).collect();
    assert_eq!(keyrings.len(), 2, "{}", run.report());
    assert_ne!(keyrings[0], keyrings[1], "each app has one of its own");
}

/// newuidmap is set-id, which does nothing there: it refused, and all that was said of it was to look into `/etc/subuid`.
#[test]
fn who_may_get_no_new_privileges_is_told_why_there_are_no_ids() {
    let test = "who_may_get_no_new_privileges_is_told_why_there_are_no_ids";
    if functional::missing_program(&["setpriv"]).is_some()
        || !User::all().contains(&User::Subordinate)
    {
        return functional::skip(
            test,
            "needs setpriv, and root, who makes a user with subordinate ids",
        );
    }
    let env = Env::new(User::Subordinate);
    let image = image(&env, "1", Layer::new());
    let without = |words: &[&str]| {
        let skua = env.command(words);
        let mut command = env.program("setpriv");
        command.arg("--no-new-privs").arg(skua.get_program());
        command.args(skua.get_args());
        Run::of(command)
    };
    let words = [
        "--insecure-options=image",
        "run",
        "--net=none",
        &image,
        "--",
        "exit",
        "0",
    ];
    env.skua(&words).success();
    without(&words)
        .fails(&["newuidmap"])
        .complains("NoNewPrivileges=no");
    without(&["doctor"]).says("NoNewPrivileges=no");
}
