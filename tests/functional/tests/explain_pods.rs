//! `skua explain` of pods that run and of pods that have ended: each item with who asked for it, in both forms, and what the
//! networks have answered.

use functional::{Background, Env, Image, User, eventually, private_host};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// A layout, and pods of it that run until they are told to end.
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

    fn start(&self, pod: &[&str], app: &[&str]) -> Background {
        let first = ["--insecure-options=image", "run", "--name=p"];
        let image = [self.image.as_str()];
        let last = ["--", "trap", "SIGTERM", "0"];
        let mut pod = self
            .env
            .spawn(&[&first[..], pod, &image, app, &last].concat());
        pod.prints("ready");
        pod
    }

    fn explain(&self) -> (Value, String) {
        let json = self.env.skua(&["explain", "--format=json", "p"]).success();
        let text = self.env.skua(&["explain", "p"]).success();
        (json.json(), text.stdout)
    }
}

/// The items of a kind: their text and origin, as both forms have them.
fn items(explained: &(Value, String), op: &str) -> Vec<(String, String)> {
    let (document, text) = explained;
    let all = document["plan"]["items"].as_array().expect("items");
    let of_kind = all.iter().filter(|item| item["op"] == op);
    let one = |item: &Value| {
        let said = item["text"].as_str().expect("text").to_owned();
        let origin = item["origin"].as_str().expect("an origin");
        let origin = origin.replace('-', " ");
        let line = format!("  {said} [{origin}]\n");
        assert!(text.contains(&line), "{line:?} is not in\n{text}");
        (said, origin)
    };
    of_kind.map(one).collect()
}

/// An item of this kind has this in its text, and this origin.
fn check(explained: &(Value, String), expected: &[(&str, &str, &str)]) {
    for (op, part, origin) in expected {
        let found = items(explained, op);
        let is = |(text, by): &(String, String)| text.contains(part) && by == origin;
        assert!(found.iter().any(is), "{op} {part:?} [{origin}]: {found:?}");
    }
}

const POD: [&str; 5] = [
    "--interactive",
    "--stop-timeout=7s",
    "--sysctl=kernel.sem=32000 1024000000 500 32000",
    "--shm-size=1M",
    "--volume=t,kind=tmpfs",
];

const APP: [&str; 12] = [
    "--name=a",
    "--user=0",
    "--device=/dev/zero:/dev/nothing/else",
    "--mount=volume=t,target=/t",
    "--unmask=/proc/keys",
    "--nice=19",
    "--oom-score-adj=500",
    "--rlimit=nofile=100",
    "--umask=027",
    "--cap-retain=CAP_CHOWN",
    "--environment=TYPED=1",
    "--readonly-rootfs",
];

/// What these flags lead to, and what every pod has, whatever the user and the network.
const EXPECTED: [(&str, &str, &str); 40] = [
    ("find-cgroup", "systemctl", "built in"),
    ("make-cgroup", "recorded in the file cgroup", "built in"),
    ("pass-controllers", "pids", "built in"),
    ("set-limit", "pids.max", "built in"),
    ("make-namespaces", "mount", "built in"),
    ("map-ids", "user ids (", "built in"),
    ("become-root", "user and group 0", "built in"),
    ("write-file", "apps/a/app.json", "built in"),
    ("write-file", "apps/a/seccomp.bpf", "built in"),
    ("write-file", "pid", "built in"),
    ("stage-mount", "size=1048576", "command line"),
    ("stage-mount", "v-t", "command line"),
    ("overlay", "the root of app a", "image"),
    ("mount", "/dev/nothing/else", "command line"),
    ("mount", "/t of app a", "command line"),
    ("sysctl", "kernel.sem", "command line"),
    ("mask", "/proc/kcore", "built in"),
    ("read-only", "/proc/sys", "built in"),
    ("leave-unmasked", "/proc/keys of app a", "command line"),
    ("read-only-root", "app a", "command line"),
    ("fill-files", "hosts", "built in"),
    ("execute-stage2", "descriptors", "built in"),
    ("wait", "pass signals on to stage2", "built in"),
    ("harden", "pid 1", "built in"),
    ("session", "session keyring", "built in"),
    ("streams", "are the caller's", "command line"),
    ("rlimit", "RLIMIT_NOFILE to 100", "command line"),
    ("umask", "0027", "command line"),
    ("nice", "19", "command line"),
    ("oom-score-adj", "500", "command line"),
    ("user", "user 0", "command line"),
    ("capabilities", "CAP_CHOWN", "command line"),
    ("no-new-privileges", "no new privileges", "built in"),
    ("landlock", "nothing writable but /proc", "built in"),
    ("seccomp", "built-in seccomp filter", "built in"),
    ("environment", "TYPED=1", "command line"),
    ("environment-of-user", "HOME and USER", "command line"),
    ("keep-capabilities", "CAP_KILL", "built in"),
    ("stop-timeout", "7 seconds", "command line"),
    ("remove-cgroup", "skua-", "built in"),
];

#[test]
fn each_item_of_a_running_and_of_an_ended_pod_says_who_asked_for_it() {
    for user in User::all() {
        let lab = Lab::new(user);
        let pod = lab.start(&POD, &APP);
        let running = lab.explain();
        check(&running, &EXPECTED);
        let of_user: &[_] = match user.is_root() {
            true => &[
                ("take-ids", "no other pod has", "built in"),
                ("make-device", "read and written", "command line"),
                ("open-tree", "device made for the pod", "command line"),
                ("map-mounts", "owners of layers", "built in"),
            ],
            false => &[("mount", "device /dev/zero", "command line")],
        };
        check(&running, of_user);
        let single = running.0["manifest"]["id_map"]["kind"] == "single";
        let nested = items(&running, "nest");
        assert_eq!(nested.len(), usize::from(single), "{nested:?}");
        pod.signal(Signal::SIGTERM);
        pod.wait().success();
        let ended = lab.explain();
        assert_eq!(ended.1, running.1, "{user:?}: what was decided has changed");
        assert_eq!(ended.0["plan"], running.0["plan"], "{user:?}");
    }
}

#[test]
fn what_an_insecure_option_leaves_out_is_said_to_be_the_command_line_s() {
    let lab = Lab::new(User::ordinary());
    for (option, flag, op, part) in [
        ("paths", "", "leave-unmasked", "all of /proc and /sys"),
        ("landlock", "", "landlock", "no Landlock domain"),
        (
            "seccomp",
            "--seccomp=unconfined",
            "seccomp",
            "no seccomp filter",
        ),
        ("capabilities", "", "capabilities", "CAP_SYS_ADMIN"),
        // Who may mount has no domain for files.
        (
            "image",
            "--cap-add=CAP_SYS_ADMIN",
            "landlock",
            "no Landlock domain",
        ),
    ] {
        let insecure = format!("--insecure-options=image,{option}");
        let flags: &[&str] = if flag.is_empty() { &[] } else { &[flag] };
        let line = |form| [&[&insecure, "explain", form, &lab.image], flags].concat();
        let json = lab.env.skua(&line("--format=json")).success().json();
        let text = lab.env.skua(&line("--format=text")).success().stdout;
        let first = text.lines().next().expect("a line");
        let named = first.contains(" (--insecure-options=image") && first.contains(option);
        assert!(named, "{option}: {first}");
        let items = json["plan"]["items"].as_array().expect("items");
        let item = items.iter().find(|item| item["op"] == op).expect(op);
        let said = item["text"].as_str().expect("text");
        assert!(said.contains(part), "{option}: {item}");
        assert_eq!(item["origin"], "command-line", "{option}: {item}");
        let line = format!("  {said} [command line]\n");
        assert!(text.contains(&line), "{option}: {line:?} is not in\n{text}");
        let masks = items.iter().any(|item| item["op"] == "mask");
        assert_eq!(masks, option != "paths", "{option}");
    }
}

#[test]
fn privileged_the_addresses_of_a_pod_are_explained_while_it_runs_and_afterwards() {
    let test = "privileged_the_addresses_of_a_pod_are_explained_while_it_runs_and_afterwards";
    let Some(root) = private_host(test) else {
        return;
    };
    let lab = Lab::new(root);
    let net = [
        "--net=default:IP=10.209.0.77",
        "--publish=127.0.0.1:18099:80/udp",
    ];
    let line = [&["explain", "--format=json"], &net[..], &[&lab.image]].concat();
    let line = [&["--insecure-options=image"], &line[..]].concat();
    let draft = lab.env.skua(&line).success().json();
    let pod = lab.start(&net, &[]);
    let explained = lab.explain();
    let expected = [
        (
            "load-network",
            "conflist of network default (built in)",
            "command line",
        ),
        (
            "hold-network",
            "network namespace of the pod",
            "command line",
        ),
        (
            "add-network",
            "eth0, recorded in net/default.json: 10.209.0.77/16",
            "command line",
        ),
        (
            "publish-port",
            "80/udp of the pod as 127.0.0.1 port 18099",
            "command line",
        ),
        (
            "fill-files",
            "resolv.conf (what the networks say",
            "built in",
        ),
        ("del-network", "del network default", "command line"),
    ];
    check(&explained, &expected);
    pod.signal(Signal::SIGTERM);
    pod.wait().success();
    let ended = lab.explain();
    check(&ended, &expected);
    let of = |explained: &Value| {
        let items = explained["plan"]["items"].as_array().expect("items");
        let added = items.iter().find(|item| item["op"] == "add-network");
        added.expect("a network")["args"]["addresses"].clone()
    };
    assert_eq!(of(&explained.0), json!(["10.209.0.77/16"]));
    assert_eq!(of(&ended.0), json!(["10.209.0.77/16"]));
    assert_eq!(of(&draft), Value::Null, "nothing is known before the start");
    let status = lab.env.skua(&["status", "p"]).success();
    status
        .says("state=exited")
        .says("network=default 10.209.0.77/16");
}

/// Also of a pod whose keeper was killed, by what `gc` writes.
#[test]
fn privileged_the_addresses_of_a_pod_outlive_its_keeper() {
    let test = "privileged_the_addresses_of_a_pod_outlive_its_keeper";
    let Some(root) = private_host(test) else {
        return;
    };
    let lab = Lab::new(root);
    let mut pod = lab.start(&["--net=default"], &[]);
    let before = lab.explain();
    check(
        &before,
        &[("add-network", ": 10.209.0.2/16", "command line")],
    );
    pod.signal(Signal::SIGKILL);
    eventually("the keeper is gone", || !pod.is_running());
    drop(pod);
    eventually("gc heals the pod", || {
        lab.env.skua(&["gc", "--grace-period=1h"]).success();
        let status = lab.env.skua(&["status", "p", "--format=json"]).json();
        status["state"] == "exited"
    });
    check(
        &lab.explain(),
        &[("add-network", ": 10.209.0.2/16", "command line")],
    );
}
