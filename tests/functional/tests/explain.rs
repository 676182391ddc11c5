//! `skua explain`: what `run` would do, item by item, with who asked for it; and that nothing else is done.

use std::collections::BTreeSet;
use std::path::Path;

use functional::{Env, Image, Run, User};
use serde_json::{Value, json};

/// A layout in a data directory that has it unpacked.
struct Lab {
    env: Env,
    image: String,
}

impl Lab {
    fn new(user: User) -> Self {
        let env = Env::new(user);
        let image = env.layout(
            &Image::inspect()
                .set("User", json!("app"))
                .set("Env", json!(["FROM=image"]))
                .build(),
        );
        Self { env, image }
    }

    fn skua(&self, words: &[&str]) -> Run {
        let words = [&["--insecure-options=image"], words].concat();
        self.env.skua(&words)
    }

    fn explain(&self, pod: &[&str], app: &[&str]) -> Value {
        let image = [self.image.as_str()];
        let words = [&["explain", "--format=json"], pod, &image, app].concat();
        self.skua(&words).success().json()
    }
}

/// The items of a plan of this kind.
fn items<'a>(explained: &'a Value, op: &str) -> Vec<&'a Value> {
    let all = explained["plan"]["items"].as_array().expect("items");
    all.iter().filter(|item| item["op"] == op).collect()
}

fn origin(explained: &Value, op: &str) -> Value {
    let found = items(explained, op);
    assert_eq!(found.len(), 1, "{op}: {found:?}");
    found[0]["origin"].clone()
}

/// Everything below the data directory but locks and the store, which an image came into.
fn pods(env: &Env) -> BTreeSet<String> {
    let find = Run::of({
        let mut find = std::process::Command::new("find");
        find.arg(env.data()).args(["-path", "*/pods/*/*"]);
        find
    });
    find.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn each_item_says_who_asked_for_it() {
    let lab = Lab::new(User::ordinary());
    let plain = lab.explain(&[], &[]);
    for (op, expected) in [
        ("user", "image"),
        ("execute", "image"),
        ("hostname", "built-in"),
        ("seccomp", "built-in"),
        ("capabilities", "built-in"),
        ("stop-signal", "built-in"),
        ("overlay", "image"),
        ("pivot", "built-in"),
    ] {
        assert_eq!(origin(&plain, op), expected, "{op}");
    }
    let pod = ["--hostname=box", "--stop-timeout=3s"];
    let app = [
        "--user=0",
        "--cap-remove=CAP_CHOWN",
        "--environment=TYPED=1",
        "--stop-signal=USR1",
        "--readonly-rootfs",
        "--",
        "id",
    ];
    let typed = lab.explain(&pod, &app);
    for op in [
        "user",
        "execute",
        "hostname",
        "capabilities",
        "stop-signal",
        "read-only-root",
    ] {
        assert_eq!(origin(&typed, op), "command-line", "{op}");
    }
    for (variable, expected) in [
        ("FROM=image", "image"),
        ("TYPED=1", "command-line"),
        ("PATH=", "built-in"),
    ] {
        let variables = items(&typed, "environment");
        let found = variables.iter().find(|item| {
            item["args"]["value"]
                .as_str()
                .expect("text")
                .starts_with(variable)
        });
        assert_eq!(found.expect(variable)["origin"], expected, "{variable}");
    }
}

#[test]
fn what_the_configuration_decides_is_host_policy() {
    let lab = Lab::new(User::ordinary());
    let config = lab.env.config();
    std::fs::write(config.join("config.toml"), "net = \"host\"\n").expect("write");
    lab.env.give(&config);
    let explained = lab.explain(&[], &[]);
    assert_eq!(explained["manifest"]["origins"]["network"], "host-policy");
    let typed = lab.explain(&["--net=none"], &[]);
    assert_eq!(typed["manifest"]["origins"]["network"], "command-line");
}

#[test]
fn nothing_is_started_and_no_pod_is_left_as_every_user() {
    for user in User::all() {
        let lab = Lab::new(user);
        let text = lab
            .skua(&["explain", &lab.image, "--", "exit", "7"])
            .success();
        for part in [
            "the keeper, outside the pod:",
            "the inside, in new namespaces (user, mount, pid, network, ipc, uts, cgroup):",
            "user app [image]",
            "execute /inspect exit 7 [command line]",
            "the keeper, when the pod has ended:",
        ] {
            assert!(text.stdout.contains(part), "{part:?}\n{}", text.report());
        }
        assert_eq!(pods(&lab.env), BTreeSet::new(), "{user:?}");
        let names = std::fs::read_dir(lab.env.data()).expect("the data directory");
        let names: BTreeSet<_> = names.map(|e| e.expect("an entry").file_name()).collect();
        assert_eq!(names, BTreeSet::from(["store".into()]), "{user:?}");
    }
}

#[test]
fn an_image_that_is_missing_is_fetched_only_if_that_is_allowed() {
    let lab = Lab::new(User::ordinary());
    lab.skua(&["explain", "--pull=never", &lab.image])
        .fails(&["is not in the store"]);
    lab.skua(&["explain", &lab.image]).success();
    lab.skua(&["explain", "--pull=never", &lab.image]).success();
}

#[test]
fn who_gets_ambient_capabilities_is_said() {
    let lab = Lab::new(User::ordinary());
    for (user, part) in [
        ("--user=0", "raise nothing as ambient"),
        ("--user=7", "raise as ambient CAP_"),
        ("--user=app", "raise as ambient, if its user is not 0"),
    ] {
        let explained = lab.explain(&[], &["--ambient", user]);
        let text = items(&explained, "ambient")[0]["text"].to_string();
        assert!(text.contains(part), "{user}: {text}");
    }
}

#[test]
fn an_image_that_no_policy_accepts_is_not_explained() {
    let lab = Lab::new(User::ordinary());
    lab.env
        .skua(&["explain", &lab.image])
        .fails(&["is not trusted"]);
}

#[test]
fn what_run_refuses_explain_refuses() {
    let lab = Lab::new(User::ordinary());
    for (words, part) in [
        (&["explain"][..], "required"),
        (&["explain", "--net=nowhere", "IMAGE"], "network"),
        (&["explain", "IMAGE", "--volume=/missing:/x"], "/missing"),
        (
            &["explain", "--uuid-file-save=/tmp/x", "IMAGE"],
            "--uuid-file-save",
        ),
        (&["explain", "--rm", "nosuchpod"], "no image"),
        (&["explain", "nosuchpod"], "no pod 'nosuchpod'"),
        (
            &[
                "explain",
                "IMAGE",
                "---",
                "IMAGE",
                "--name=inspect",
                "---",
                "IMAGE",
                "--name=inspect",
            ],
            "inspect",
        ),
    ] {
        let words: Vec<&str> = words
            .iter()
            .map(|word| match *word {
                "IMAGE" => lab.image.as_str(),
                other => other,
            })
            .collect();
        let run = lab.skua(&words).exits(254);
        assert!(run.stderr.contains(part), "{part:?}\n{}", run.report());
        assert_eq!(pods(&lab.env), BTreeSet::new());
    }
}

#[test]
fn a_pod_that_exists_is_explained_as_it_was_decided() {
    let lab = Lab::new(User::ordinary());
    let uuid = lab
        .skua(&["prepare", "--name=one", &lab.image, "--user=0"])
        .success();
    let uuid = uuid.stdout.trim();
    let file = lab.env.write("uuid", uuid);
    let file = format!("--uuid-file={}", file.display());
    for which in ["one", uuid, &uuid[..8], &file] {
        let explained = lab
            .skua(&["explain", "--format=json", which])
            .success()
            .json();
        assert_eq!(explained["manifest"]["id"], uuid, "{which}");
        assert_eq!(origin(&explained, "user"), "command-line");
    }
    lab.skua(&["explain", "--name=one", &lab.image])
        .fails(&["name 'one' is taken"]);
}

#[test]
fn the_map_of_a_running_pod_is_the_one_that_it_has() {
    for user in User::all() {
        let lab = Lab::new(user);
        let words = [
            "--insecure-options=image",
            "run",
            "--name=p",
            &lab.image,
            "--",
        ];
        let mut pod = lab
            .env
            .spawn(&[&words[..], &["trap", "SIGTERM", "0"]].concat());
        pod.prints("ready");
        let explained = lab
            .skua(&["explain", "--format=json", "p"])
            .success()
            .json();
        let uuid = explained["manifest"]["id"].as_str().expect("a UUID");
        let file = lab.env.data().join("pods/run").join(uuid).join("pid");
        let file: Value =
            serde_json::from_str(&std::fs::read_to_string(file).expect("pid")).expect("JSON");
        assert_eq!(explained["plan"]["id_map"], file["id_map"], "{user:?}");
        pod.signal(nix::sys::signal::Signal::SIGTERM);
        pod.wait().success();
    }
}

#[test]
fn the_number_of_mounts_is_that_of_the_plan() {
    let lab = Lab::new(User::ordinary());
    let explained = lab.explain(&[], &["--user=0"]);
    let planned: BTreeSet<&str> = ["mount", "overlay"]
        .iter()
        .flat_map(|op| items(&explained, op))
        .map(|item| item["args"]["target"]["path"].as_str().unwrap_or("/"))
        .collect();
    let hidden: BTreeSet<&str> = ["mask", "read-only"]
        .iter()
        .flat_map(|op| items(&explained, op))
        .filter_map(|item| item["args"]["path"].as_str())
        .collect();
    let mounts = lab
        .skua(&["run", &lab.image, "--user=0", "--", "mounts"])
        .success()
        .json();
    let found: BTreeSet<&str> = mounts
        .as_array()
        .expect("mounts")
        .iter()
        .map(|mount| mount["target"].as_str().expect("a path"))
        .collect();
    for path in &planned {
        assert!(
            found.contains(path),
            "{path} is planned and not there: {found:?}"
        );
    }
    for path in &found {
        let known = planned.contains(path) || hidden.contains(path);
        assert!(known, "{path} is there and not planned");
        assert!(Path::new(path).is_absolute());
    }
}
