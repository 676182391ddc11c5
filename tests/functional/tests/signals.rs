//! Signals from the caller's side to the apps of a pod, and what a stop is.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use functional::{Background, Env, Image, User};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::json;

/// An image in a layout directory, and an environment.
fn image(image: &Image) -> (Env, String) {
    let env = Env::new(User::ordinary());
    let name = env.layout(&image.build());
    (env, name)
}

const RUN: [&str; 3] = ["--insecure-options=image", "run", "--net=none"];

#[test]
fn signals_that_mean_nothing_to_skua_reach_the_app() {
    let (env, name) = image(&Image::inspect());
    for signal in [
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGHUP,
        Signal::SIGWINCH,
        Signal::SIGALRM,
        Signal::SIGURG,
        Signal::SIGPWR,
    ] {
        let words = ["--", "trap", signal.as_str(), "9"];
        let mut pod = env.spawn(&[&RUN[..], &[&name], &words].concat());
        pod.prints("ready");
        pod.signal(signal);
        pod.wait().exits(9).says(signal.as_str());
    }
}

/// `KillSignal=SIGRTMIN+3` of a unit.
#[test]
fn a_signal_of_real_time_reaches_the_app_and_does_not_end_the_keeper() {
    for user in User::all() {
        let env = Env::new(user);
        let name = env.layout(&Image::inspect().build());
        let mut pod = env.spawn(&[&RUN[..], &[&name, "--", "sleep", "1000"]].concat());
        pod.prints("ready");
        let number = libc::SIGRTMIN() + 3;
        let words = [format!("-{number}"), pod.pid().to_string()];
        let sent = Command::new("kill").args(words).status();
        assert!(sent.expect("kill").success());
        // The exit status of the keeper, not the signal that ended it.
        pod.wait().exits(128 + number);
    }
}

/// What `nohup` ignores, and a shell without job control for what it starts with `&`.
#[test]
fn what_the_caller_ignored_is_neither_passed_on_nor_the_end() {
    for user in User::all() {
        let env = Env::new(user);
        let name = env.layout(&Image::inspect().build());
        let pod = ["--name=p", &name, "--", "ignore", "SIGUSR1"];
        let mut pod = ignoring(&env, &[&RUN[..], &pod].concat());
        let mut entered = ignoring(&env, &["enter", "p", "--", "/inspect", "sleep", "1000"]);
        for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
            for group in [entered.pid(), pod.pid()] {
                killpg(Pid::from_raw(group), signal).expect("killpg");
            }
        }
        std::thread::sleep(Duration::from_millis(500));
        assert!(entered.is_running(), "{user:?}: what entered has ended");
        assert!(pod.is_running(), "{user:?}: the pod has ended");
        // A stop works whatever is ignored.
        entered.signal(Signal::SIGTERM);
        entered.wait().exits(143);
        pod.signal(Signal::SIGTERM);
        pod.wait().exits(143);
    }
}

/// `skua` in a process group of its own, with signals ignored, when it has said `ready`.
fn ignoring(env: &Env, words: &[&str]) -> Background {
    let skua = env.command(words);
    let mut ignoring = env.program("env");
    ignoring
        .arg("--ignore-signal=HUP,INT,QUIT,TERM")
        .arg(skua.get_program())
        .args(skua.get_args())
        .process_group(0);
    let mut started = Background::start(ignoring);
    started.prints("ready");
    started
}

#[test]
fn a_stop_is_the_image_s_stop_signal_whichever_way_it_was_asked_for() {
    let (env, name) = image(&Image::inspect().set("StopSignal", json!("SIGWINCH")));
    for asked in [Signal::SIGTERM, Signal::SIGQUIT] {
        let words = ["--", "trap", "SIGWINCH", "6"];
        let mut pod = env.spawn(&[&RUN[..], &[&name], &words].concat());
        pod.prints("ready");
        pod.signal(asked);
        pod.wait().exits(6);
    }
}

#[test]
fn what_was_interrupted_ends_as_if_it_had_no_launcher() {
    for user in User::all() {
        let env = Env::new(user);
        // Whatever else would stop it.
        let image = Image::inspect().set("StopSignal", json!("SIGUSR1"));
        let name = env.layout(&image.build());
        let run = |words: &[&str]| {
            let mut pod = env.spawn(&[&RUN[..], &[&name, "--"], words].concat());
            pod.prints("ready");
            pod
        };
        let pod = run(&["trap", "SIGINT", "6"]);
        pod.signal(Signal::SIGINT);
        pod.wait().exits(6).says("SIGINT");
        // The default action of SIGINT, and what a shell shows then.
        let pod = run(&["ignore", "SIGUSR1"]);
        pod.signal(Signal::SIGINT);
        pod.wait().exits(130);
        // Twice is a stop.
        let mut pod = run(&["ignore", "SIGINT"]);
        pod.signal(Signal::SIGINT);
        std::thread::sleep(Duration::from_millis(200));
        assert!(pod.is_running());
        pod.signal(Signal::SIGINT);
        let run = pod.wait().exits(128 + Signal::SIGUSR1 as i32);
        assert!(run.elapsed < Duration::from_secs(10), "{}", run.report());
    }
}

/// Shells and `timeout` signal a whole process group.
#[test]
fn what_is_sent_to_the_group_of_the_keeper_comes_once() {
    for user in User::all() {
        let env = Env::new(user);
        let name = env.layout(&Image::inspect().build());
        let mut skua = env.command(&[&RUN[..], &[&name, "--", "ignore", "SIGINT"]].concat());
        skua.process_group(0);
        let mut pod = Background::start(skua);
        pod.prints("ready");
        let group = Pid::from_raw(pod.pid());
        killpg(group, Signal::SIGINT).expect("killpg");
        std::thread::sleep(Duration::from_millis(500));
        assert!(pod.is_running(), "{user:?}: one interrupt was a stop");
        killpg(group, Signal::SIGINT).expect("killpg");
        pod.wait().exits(143);
    }
}

#[test]
fn what_ignores_its_stop_signal_is_killed_after_the_stop_timeout() {
    let (env, name) = image(&Image::inspect());
    let words = [
        "--stop-timeout=1",
        "--name=stubborn",
        &name,
        "--",
        "ignore",
        "SIGTERM",
    ];
    let mut pod = env.spawn(&[&RUN[..], &words].concat());
    pod.prints("ready");
    pod.signal(Signal::SIGTERM);
    let run = pod.wait().exits(137);
    assert!(run.elapsed < Duration::from_secs(10), "{}", run.report());
    let status = env.skua(&["status", "--format=json", "stubborn"]).success();
    assert!(
        status.stdout.contains("\"timed_out\":true")
            || status.stdout.contains("\"timed_out\": true"),
        "{}",
        status.report()
    );
}

#[test]
fn an_app_that_fails_ends_its_pod_and_gives_the_exit_status() {
    let (env, name) = image(&Image::inspect());
    let words = [
        &name,
        "--name=one",
        "--",
        "sleep",
        "1000",
        "---",
        &name,
        "--name=two",
        "--",
        "exit",
        "3",
    ];
    env.skua(&[&RUN[..], &words].concat()).exits(3);
}

#[test]
fn an_app_cannot_end_its_neighbours_through_pid_1() {
    let (env, name) = image(&Image::inspect());
    let words = [
        &name,
        "--name=one",
        "--",
        "sleep",
        "1",
        "---",
        &name,
        "--name=two",
        "--",
        "kill",
        "1",
        "15",
    ];
    env.skua(&[&RUN[..], &words].concat()).success();
}

/// The sender of a signal can be the sender's word: with SI_QUEUE, or another code below 0. And the kernel sends what it was asked for.
#[test]
fn an_app_cannot_pretend_to_be_outside() {
    for user in User::all() {
        let env = Env::new(user);
        let name = env.layout(&Image::inspect().build());
        for forged in [
            &["queue", "1", "15", "-1", "0"][..],
            &["queue", "1", "10", "-1", "0"],
            &["queue", "1", "15", "-60", "0"],
            &["own", "1"],
        ] {
            let neighbour = [&name, "--name=one", "--", "sleep", "1", "---"];
            let app = [&name, "--name=two", "--cap-retain=none", "--"];
            let run = env.skua(&[&RUN[..], &neighbour, &app, forged].concat());
            // It was sent, and the neighbour has slept to its end.
            run.success().says("{\"ok\":true}");
        }
    }
}

#[test]
fn orphans_do_not_keep_a_pod_and_do_not_outlive_it() {
    let (env, name) = image(&Image::inspect());
    let run = env
        .skua(&[&RUN[..], &[&name, "--", "orphan", "60"]].concat())
        .success();
    assert!(run.elapsed < Duration::from_secs(30), "{}", run.report());
}
