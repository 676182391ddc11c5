//! Root's pods belong to another user: what the kernel counts for them counts for the pod and not for root, who can do all with them
//! that a unit with few capabilities needs.

use std::process::Command;

use functional::{
    Background, Env, Image, Run, User, binaries, missing_program, private_host, skip,
};
use nix::sys::signal::Signal;

const PREFIX: &[&str] = &["--insecure-options=image", "run", "--net=none"];

/// What root gets on the host: the answer to a question about what an app has used up.
fn asked_outside(question: &[&str]) -> serde_json::Value {
    let mut command = Command::new(binaries().join("inspect"));
    command.args(question);
    Run::of(command).success().json()
}

/// Runs `question` on the host while an app of user 0 has used up `what`.
fn while_used_up(env: &Env, what: &str, outside: impl FnOnce()) {
    let image = env.layout(&Image::inspect().build());
    let words = [&image, "--", "exhaust", what];
    let mut pod = Background::start(env.command(&[PREFIX, &words].concat()));
    pod.prints("ready");
    outside();
    pod.signal(Signal::SIGTERM);
    pod.wait().exits(143);
}

#[test]
fn privileged_what_an_app_uses_up_is_not_root_s() {
    let Some(root) = User::root("privileged_what_an_app_uses_up_is_not_root_s") else {
        return;
    };
    let env = Env::new(root);
    while_used_up(&env, "inotify", || {
        let call = libc::SYS_inotify_init1.to_string();
        let made = asked_outside(&["syscall", &call, "0"]);
        assert_eq!(made["ok"], true, "{made}");
    });
    while_used_up(&env, "signals", || {
        let mut target = Command::new("sleep").arg("60").spawn().expect("sleep");
        let (pid, signal) = (target.id().to_string(), libc::SIGRTMIN().to_string());
        let code = libc::SI_QUEUE.to_string();
        let sent = asked_outside(&["queue", &pid, &signal, &code, &pid]);
        let _ = target.kill();
        let _ = target.wait();
        assert_eq!(sent["ok"], true, "{sent}");
    });
}

/// All of a machine's containers have 3072 together.
#[test]
fn an_app_has_no_more_terminals_than_its_own() {
    for user in User::all() {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let words = [&image, "--", "exhaust", "terminals"];
        let mut pod = env.spawn(&[PREFIX, &words].concat());
        pod.prints("ready");
        assert!(pod.output().starts_with("256\n"), "{}", pod.output());
        pod.signal(Signal::SIGTERM);
        pod.wait().exits(143);
    }
}

/// The capabilities that the hardened unit leaves to root, as `setpriv` names them, but for `without`.
fn of_the_hardened_unit(without: &str) -> String {
    let unit = include_str!("../../../dist/systemd/hardened.service");
    let line = unit
        .lines()
        .find_map(|l| l.strip_prefix("CapabilityBoundingSet="));
    let names = line.expect("its capabilities").to_lowercase();
    let names = names.split(' ').map(|name| name.replace("cap_", "+"));
    let kept: Vec<_> = names.filter(|name| name[1..] != *without).collect();
    format!("--bounding-set=-all,{}", kept.join(","))
}

/// skua with these capabilities alone.
fn limited(env: &Env, capabilities: &str, words: &[&str]) -> Command {
    let skua = env.command(words);
    let mut command = env.program("setpriv");
    command.args(["--no-new-privs", "--inh-caps=-all", capabilities]);
    command.arg(skua.get_program()).args(skua.get_args());
    command
}

#[test]
fn privileged_the_capabilities_of_the_hardened_unit_are_enough_and_without_kill_there_is_no_pod() {
    let test = "privileged_the_capabilities_of_the_hardened_unit_are_enough_and_without_kill_there_is_no_pod";
    let Some(root) = User::root(test) else { return };
    if let Some(program) = missing_program(&["setpriv"]) {
        return skip(test, program);
    }
    let env = Env::new(root);
    let image = env.layout(&Image::inspect().build());
    let below = |without, app: &[&str]| {
        let words = [PREFIX, &[&image, "--"], app].concat();
        limited(&env, &of_the_hardened_unit(without), &words)
    };
    let mut pod = Background::start(below("", &["trap", "SIGTERM", "5"]));
    pod.prints("ready");
    pod.signal(Signal::SIGTERM);
    pod.wait().exits(5);
    Run::of(below("kill", &["exit", "0"]))
        .fails(&["root lacks CAP_KILL"])
        .complains("hardened.service");
}

/// Who is in a namespace may open it; others only with a capability that plugins do not need.
#[test]
fn privileged_a_network_needs_no_right_to_trace() {
    let test = "privileged_a_network_needs_no_right_to_trace";
    let Some(root) = private_host(test) else {
        return;
    };
    if let Some(program) = missing_program(&["setpriv"]) {
        return skip(test, program);
    }
    let env = Env::new(root);
    let image = env.layout(&Image::inspect().build());
    let prefix = ["--insecure-options=image", "run", "--net=default"];
    let words = [&prefix[..], &[&image, "--", "interfaces"]].concat();
    let capabilities = of_the_hardened_unit("") + ",+net_admin,+net_raw";
    let run = Run::of(limited(&env, &capabilities, &words)).success();
    assert_eq!(run.json()["eth0"]["up"], true, "{}", run.report());
}

/// Root of a container, or of a unit with `PrivateUsers=`, is nobody in the range of pods.
#[test]
fn privileged_root_without_the_ids_of_pods_is_told_so() {
    let test = "privileged_root_without_the_ids_of_pods_is_told_so";
    let Some(root) = User::root(test) else { return };
    if let Some(program) = missing_program(&["unshare"]) {
        return skip(test, program);
    }
    let env = Env::new(root);
    let image = env.layout(&Image::inspect().build());
    let words = [PREFIX, &["--rm", &image, "--", "exit", "0"]].concat();
    env.skua(&words).success();
    let skua = env.command(&words);
    let mut command = env.program("unshare");
    command.args(["--user", "--map-root-user"]);
    command.arg(skua.get_program()).args(skua.get_args());
    Run::of(command)
        .fails(&["cannot become user ", "Invalid argument"])
        .complains("PrivateUsers=");
    let list = env.skua(&["list", "--format=json"]).success().json();
    assert_eq!(list["pods"], serde_json::json!([]), "{list}");
}
