//! `skua kill`: a signal for a pod, from outside.

use std::os::unix::fs::PermissionsExt as _;

use functional::{Background, Env, Image, User};

/// A pod named `p` of an app that runs these words.
fn pod(env: &Env, words: &[&str]) -> Background {
    let image = env.layout(&Image::inspect().build());
    let first = ["--insecure-options=image", "run", "--name=p", &image, "--"];
    let mut pod = env.spawn(&[&first[..], words].concat());
    pod.prints("ready");
    pod
}

#[test]
fn a_signal_that_cannot_be_passed_on_is_refused() {
    let env = Env::new(User::ordinary());
    let pod = pod(&env, &["trap", "SIGTERM", "0"]);
    for (signal, part) in [
        ("SIGSTOP", "SIGSTOP"),
        ("65", "65"),
        ("0", "0"),
        ("no", "no"),
    ] {
        let flag = format!("--signal={signal}");
        let run = env.skua(&["kill", &flag, "p"]).exits(254);
        assert!(run.stderr.contains(part), "{}", run.report());
    }
    env.skua(&["kill", "missing"]).fails(&["no pod 'missing'"]);
    env.skua(&["kill", "--signal=TERM", "p"]).success();
    pod.wait().success();
    env.skua(&["kill", "p"]).fails(&["is not running"]);
}

#[test]
fn a_signal_reaches_the_app_as_every_user() {
    for user in User::all() {
        let env = Env::new(user);
        for signal in ["SIGUSR1", "SIGHUP", "SIGWINCH"] {
            let pod = pod(&env, &["trap", signal, "6"]);
            env.skua(&["kill", "--signal", signal, "p"]).success();
            pod.wait().exits(6).says(signal);
            env.skua(&["rm", "p"]).success();
        }
    }
}

#[test]
fn without_a_name_it_is_sigkill_and_the_pod_says_so() {
    let env = Env::new(User::ordinary());
    let pod = pod(&env, &["ignore", "SIGTERM"]);
    env.skua(&["kill", "p"]).success();
    pod.wait().exits(137);
    let status = env.skua(&["status", "--format=json", "p"]).success().json();
    assert_eq!(status["state"], "exited", "{status}");
}

#[test]
fn a_pod_that_is_being_started_is_said_to_be() {
    let env = Env::new(User::ordinary());
    let image = env.layout(&Image::inspect().build());
    let slow = env.write("slow", "#!/bin/sh\necho begun\nexec sleep 60\n");
    std::fs::set_permissions(&slow, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let stage1 = format!("--stage1={}", slow.display());
    let words = [
        "--insecure-options=image",
        "run",
        "--name=p",
        &stage1,
        &image,
    ];
    let mut pod = env.spawn(&words);
    pod.prints("begun");
    let list = env.skua(&["list", "--format=json"]).success().json();
    let id = list["pods"][0]["uuid"].as_str().expect("a uuid").to_owned();
    for (command, what) in [
        (&["stop", "p"][..], "stop"),
        (&["stop", "--force", "p"], "stop"),
        (&["kill", "p"], "signal"),
    ] {
        let line = format!("cannot {what} pod {id}: ");
        env.skua(command)
            .fails(&[&line, "the pod is still being started"]);
    }
    pod.signal(nix::sys::signal::Signal::SIGKILL);
    drop(pod);
}
