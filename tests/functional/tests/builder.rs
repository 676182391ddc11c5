//! The builder of a pod's root, beside which stage2 starts: what pid 1 keeps of the host, and what happens when the builder fails.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use functional::{
    Background, Env, Image, User, binaries, eventually, lax, left_of_networks, private_host,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

const RUN: [&str; 2] = ["--insecure-options=image", "run"];

/// The pods of a state.
fn pods(env: &Env, state: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(env.data().join("pods").join(state));
    let entries = entries.into_iter().flatten();
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

/// Pid 1 of the only pod that runs, as soon as others can find it.
fn pid_1(env: &Env) -> i64 {
    let mut found = None;
    eventually("the pod says who it is", || {
        let pod = pods(env, "run").pop();
        let text = pod.and_then(|pod| fs::read(pod.join("pid")).ok());
        let running = text.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
        found = running.and_then(|running| running["pod"]["pid"].as_i64());
        found.is_some()
    });
    found.expect("a pid")
}

#[test]
fn pid_1_keeps_nothing_of_the_host() {
    if !nix::unistd::geteuid().is_root() {
        functional::skip("pid_1_keeps_nothing_of_the_host", "only root may look");
        return;
    }
    for user in User::all() {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let app = |name| [image.as_str(), name, "--", "sleep", "60"];
        for apps in [
            app("--name=one").to_vec(),
            [&app("--name=one")[..], &["---"], &app("--name=two")].concat(),
        ] {
            let words = [&RUN[..], &["--net=none", "--rm"], &apps].concat();
            let mut pod = env.spawn(&words);
            pod.prints("ready");
            let of_pid_1 = |file| format!("/proc/{}/{file}", pid_1(&env));
            let place = |file| {
                let found = fs::metadata(of_pid_1(file)).expect("its root can be looked at");
                (found.dev(), found.ino())
            };
            assert_eq!(place("cwd"), place("root"), "{user:?} {apps:?}");
            assert_ne!(
                place("root"),
                fs::metadata("/").map(|m| (m.dev(), m.ino())).unwrap()
            );
            let text = fs::read_to_string(of_pid_1("mountinfo")).expect("its mounts");
            let roots = text
                .lines()
                .filter(|line| line.split(' ').nth(4) == Some("/"));
            assert_eq!(roots.count(), 1, "{user:?}\n{text}");
            pod.signal(Signal::SIGTERM);
            pod.wait();
        }
    }
}

/// Pid 1 shares its memory with the builder at that moment: it has to get rid of it before it says anything.
#[test]
fn stage2_that_is_no_program_is_an_error_of_one_line() {
    for user in User::all() {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let programs = env.scratch("programs");
        fs::create_dir(&programs).expect("a directory for programs");
        for name in ["skua-stage1", "skua-worker"] {
            fs::copy(binaries().join(name), programs.join(name)).expect("copy a program");
        }
        let stage2 = env.write("programs/skua-stage2", "no program");
        fs::set_permissions(&stage2, fs::Permissions::from_mode(0o755)).expect("chmod");
        let libexec = format!("--libexec-dir={}", programs.display());
        let words = [&[libexec.as_str()], &RUN[..], &["--net=none", &image]].concat();
        let run = env.skua(&words);
        run.fails(&["cannot execute stage2", "Exec format error"]);
        assert_eq!(pods(&env, "run"), Vec::<PathBuf>::new(), "{user:?}");
    }
}

/// A plugin keeps the builder waiting for the pod's files.
#[test]
fn privileged_a_builder_that_is_killed_ends_its_pod() {
    let Some(root) = private_host("a_builder_that_is_killed") else {
        return;
    };
    let env = Env::new(root);
    let image = env.layout(&Image::inspect().build());
    let (began, go) = (env.scratch("began"), env.scratch("go"));
    let script = format!(
        "#!/bin/sh\n[ $CNI_COMMAND = DEL ] && exit 0\n: > {}\nwhile [ ! -e {} ]; do sleep 0.05; done\necho '{{\"cniVersion\":\"1.0.0\"}}'\n",
        began.display(),
        go.display()
    );
    let plugin = env.write("waits", script);
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).expect("chmod");
    let networks = env.config().join("net.d");
    fs::create_dir_all(&networks).expect("make net.d");
    let conflist = json!({"cniVersion": "1.0.0", "name": "slow", "plugins": [{"type": "waits"}]});
    fs::write(networks.join("slow.conflist"), conflist.to_string()).expect("write a conflist");
    let flags = ["--net=slow"];
    let words = [
        &[lax(&flags), "run"],
        &flags[..],
        &[&image, "--", "exit", "0"],
    ]
    .concat();
    let mut command = env.command(&words);
    command.env("CNI_PATH", env.scratch(""));
    let mut pod = Background::start(command);
    eventually("the plugin runs", || began.exists());
    let pid_1 = pid_1(&env);
    let children = format!("/proc/{pid_1}/task/{pid_1}/children");
    let mut builder = None;
    eventually("pid 1 is stage2 and has a child, the builder", || {
        let line = fs::read_to_string(format!("/proc/{pid_1}/cmdline"));
        let child = fs::read_to_string(&children).unwrap_or_default();
        builder = child.trim().parse().ok();
        line.is_ok_and(|line| line.starts_with("skua-stage2\0")) && builder.is_some()
    });
    kill(Pid::from_raw(builder.expect("a pid")), Signal::SIGKILL).expect("kill it");
    eventually("pid 1 is gone", || {
        let stat = fs::read_to_string(format!("/proc/{pid_1}/stat"));
        stat.is_ok_and(|stat| stat.contains(") Z ")) || !pod.is_running()
    });
    fs::write(&go, "").expect("let the plugin go on");
    let run = pod.wait().exits(254);
    run.complains("what built the root of the pod was ended by SIGKILL")
        .complains("cannot talk to the inside of the pod");
    assert_eq!(pods(&env, "run"), Vec::<PathBuf>::new());
    assert_eq!(left_of_networks(), std::collections::BTreeSet::new());
}
