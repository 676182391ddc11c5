//! Which pods a command line means: names, the beginnings of UUIDs, and pods that are not there.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;

use functional::{Env, Image, Run, User};
use serde_json::Value;

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

    /// The UUID of a pod that is prepared.
    fn prepare(&self, flags: &[&str]) -> String {
        let prepare = ["--insecure-options=image", "prepare"];
        let words = [&prepare[..], flags, &[self.image.as_str()]].concat();
        self.env.skua(&words).success().stdout.trim().to_owned()
    }

    /// The UUIDs of all pods.
    fn all(&self) -> Vec<String> {
        let list = self.env.skua(&["list", "--format=json"]).success().json();
        let pods = list["pods"].as_array().expect("pods").iter();
        let uuid = |pod: &Value| pod["uuid"].as_str().expect("a UUID").to_owned();
        pods.map(uuid).collect()
    }

    fn run(&self) -> Run {
        let words = ["--insecure-options=image", "run", "--rm", &self.image];
        self.env.skua(&[&words[..], &["--", "exit", "7"]].concat())
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn the_beginning_of_a_uuid_counts_from_eight_characters_on_for_every_command() {
    for user in User::all() {
        let lab = Lab::new(user);
        let uuid = lab.prepare(&[]);
        for length in [1, 2, 7] {
            let short = &uuid[..length];
            for words in [
                &["rm", short][..],
                &["stop", short],
                &["kill", short],
                &["status", short],
                &["cat-manifest", short],
                &["enter", short],
                &["run-prepared", short],
            ] {
                let run = lab.env.skua(words).fails(&["there is no pod", short]);
                run.complains("from eight characters on");
            }
        }
        assert_eq!(lab.all(), [uuid.as_str()]);
        lab.env.skua(&["cat-manifest", &uuid[..8]]).success();
        lab.env.skua(&["rm", &uuid[..8]]).success();
        assert!(lab.all().is_empty());
    }
}

#[test]
fn a_pod_that_is_not_there_keeps_nobody_from_the_others() {
    for user in User::all() {
        let lab = Lab::new(user);
        let [one, two, other] = [0; 3].map(|_| lab.prepare(&[]));
        let words = ["rm", "nosuch", &one, "--name=nor-this", &two, &one];
        lab.env
            .skua(&words)
            .exits(254)
            .complains("there is no pod 'nosuch'")
            .complains("there is no pod 'nor-this'");
        assert_eq!(lab.all(), [other.as_str()]);
        let pods: Vec<_> = ["one", "two"]
            .iter()
            .map(|name| {
                let words = ["--insecure-options=image", "run", "--net=none"];
                let name = format!("--name={name}");
                let app = [&name, lab.image.as_str(), "--", "trap", "SIGTERM", "0"];
                let mut pod = lab.env.spawn(&[&words[..], &app].concat());
                pod.prints("ready");
                pod
            })
            .collect();
        lab.env
            .skua(&["kill", "--signal=TERM", "nosuch", "one"])
            .fails(&["there is no pod 'nosuch'"]);
        lab.env
            .skua(&["stop", "nosuch", "two"])
            .fails(&["there is no pod 'nosuch'"]);
        for pod in pods {
            pod.wait().success();
        }
    }
}

#[test]
fn a_data_directory_that_others_can_write_is_refused() {
    for user in User::all() {
        let lab = Lab::new(user);
        let uuid = lab.prepare(&["--name=p"]);
        let data = lab.env.data();
        for bits in [0o770, 0o707, 0o1777] {
            mode(&data, bits);
            let mode = format!("mode {bits:04o}");
            let part = ["refusing data directory", &mode];
            lab.run().fails(&part);
            for words in [
                &["list"][..],
                &["run-prepared", &uuid],
                &["rm", "p"],
                &["image", "list"],
                &["gc"],
                &["fetch", &lab.image],
            ] {
                lab.env.skua(words).fails(&part);
            }
        }
        // A link is what it leads to.
        let real = data.with_file_name("elsewhere");
        fs::rename(&data, &real).expect("rename");
        symlink(&real, &data).expect("a link");
        lab.run().fails(&["refusing data directory"]);
        mode(&real, 0o755);
        lab.run().exits(7);
        lab.env.skua(&["rm", "p"]).success();
    }
}

#[test]
fn privileged_a_data_directory_of_another_user_is_refused() {
    let Some(root) = User::root("privileged_a_data_directory_of_another_user_is_refused") else {
        return;
    };
    let lab = Lab::new(root);
    lab.run().exits(7);
    chown(lab.env.data(), Some(54321), None).expect("chown");
    let parts = ["refusing data directory", "belongs to user 54321"];
    lab.run().fails(&parts).complains("--data-dir");
    let trust = ["trust", "test", &lab.image];
    lab.env.skua(&trust).fails(&parts);
    // What does not believe it can still be asked.
    lab.env.skua(&["config"]).success();
    chown(lab.env.data(), Some(0), None).expect("chown");
    lab.run().exits(7);
    // Root's, for everybody to run from.
    let ordinary = Lab::new(User::ordinary());
    fs::create_dir(ordinary.env.data()).expect("a directory");
    mode(&ordinary.env.data(), 0o755);
    ordinary.env.skua(&["list"]).success();
}

#[test]
fn a_flag_of_a_pod_that_is_given_twice_is_refused() {
    let lab = Lab::new(User::ordinary());
    let [one, two] = ["one", "two"].map(|name| lab.env.scratch(name).display().to_string());
    for (flag, first, last) in [
        ("--net", "none", "host"),
        ("--name", "a", "b"),
        ("--hostname", "a", "b"),
        ("--uuid-file-save", &one, &two),
        ("--locked", &one, &two),
        ("--stage1", &one, &two),
        ("--memory", "1G", "2G"),
        ("--pull", "never", "always"),
        ("--stop-timeout", "1s", "2s"),
    ] {
        for command in ["run", "prepare", "explain"] {
            let flags = [first, last].map(|value| format!("{flag}={value}"));
            let words = ["--insecure-options=image", command, &flags[0], &flags[1]];
            let run = lab.env.skua(&[&words[..], &[&lab.image]].concat());
            run.fails(&[flag, "cannot be used multiple times"]);
        }
    }
    assert!(lab.all().is_empty());
    // An alias can be overruled, and what is a list grows.
    let data = format!("--data-dir={}", lab.env.scratch("other").display());
    lab.env.skua(&[&data, "list"]).success();
    let words = [
        "--insecure-options=image",
        "--quiet",
        "--quiet",
        "run",
        "--rm",
    ];
    let lists = [
        "--sysctl=net.ipv4.ip_forward=0",
        "--sysctl=net.ipv4.tcp_sack=1",
    ];
    let app = [lab.image.as_str(), "--", "exit", "7"];
    lab.env.skua(&[&words[..], &lists, &app].concat()).exits(7);
}
