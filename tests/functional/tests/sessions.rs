//! An ordinary user with a login session of systemd: where limits can be had, where not, and what to do then. These run in
//! the virtual machines of `vm/lane`; elsewhere they are skipped.

use functional::systemd::{Lab, processes, says, under_systemd};
use functional::{Run, User};
use serde_json::json;

const DELEGATED: [&str; 1] = ["Delegate=yes"];

#[test]
fn privileged_a_login_session_has_no_limits_and_is_told_how_to_get_them() {
    if !under_systemd("privileged_a_login_session_has_no_limits_and_is_told_how_to_get_them") {
        return;
    }
    let lab = Lab::new(User::Subordinate);
    let words = lab.run_words(&["--memory=64M"], &[], &["print", "started"]);
    let line = lab.line(&words);
    let run = Run::of(lab.login(&line)).fails(&["cannot set memory.max of the pod", "session-"]);
    assert!(run.stdout.is_empty(), "something ran\n{}", run.report());
    run.complains("systemd-run --scope --property=Delegate=yes")
        .complains("--user");
}

#[test]
fn privileged_an_ordinary_user_s_scope_limits_memory_and_processes() {
    if !under_systemd("privileged_an_ordinary_user_s_scope_limits_memory_and_processes") {
        return;
    }
    let lab = Lab::new(User::Subordinate);
    let words = lab.run_words(
        &["--name=p", "--memory=32M"],
        &[],
        &["memory", "1000000000"],
    );
    let run = lab.in_unit(&DELEGATED, &words).exits(137);
    run.complains("the memory that it may use was used up");
    let status = lab.status("p");
    assert_eq!(status["oom"], true, "{status}");
    assert_eq!(
        status["apps"][0]["outcome"],
        json!({"kind": "out-of-memory"})
    );

    let words = lab.run_words(&["--pids-limit=32"], &[], &["forks", "100"]);
    let answer = lab.in_unit(&DELEGATED, &words).success().json();
    assert_eq!(answer["errno"], "EAGAIN", "{answer}");
}

#[test]
fn privileged_a_controller_that_the_user_s_manager_does_not_have_is_named() {
    if !under_systemd("privileged_a_controller_that_the_user_s_manager_does_not_have_is_named") {
        return;
    }
    let lab = Lab::new(User::Subordinate);
    let words = lab.run_words(&["--cpuset-cpus=0"], &[], &["exit", "0"]);
    let run = lab
        .in_unit(&DELEGATED, &words)
        .fails(&["controller cpuset is not passed on"]);
    run.complains("user@.service");
}

#[test]
fn privileged_a_pod_of_the_user_s_manager_is_entered_from_a_scope_and_not_from_a_login_shell() {
    let test =
        "privileged_a_pod_of_the_user_s_manager_is_entered_from_a_scope_and_not_from_a_login_shell";
    if !under_systemd(test) {
        return;
    }
    let lab = Lab::new(User::Subordinate);
    let words = lab.run_words(
        &["--name=p", "--memory=64M"],
        &["--name=a"],
        &["trap", "SIGTERM", "0"],
    );
    let mut run = lab.start_in_unit(&DELEGATED, &words);
    run.prints("ready");
    let group = lab.cgroup("p");
    assert_eq!(says(&group, "memory.max"), "67108864");
    assert_eq!(processes(&group.join("app-a")), 1);

    let enter = ["enter", "p", "--", "/inspect", "read", "/proc/self/cgroup"].map(str::to_owned);
    let refused = Run::of(lab.login(&lab.line(&enter))).fails(&["cannot enter the pod"]);
    refused.complains("systemd-run --user --scope skua enter");
    let seen = lab.in_unit(&[], &enter).success().json();
    assert_eq!(seen["text"], "0::/app-a\n");

    let stop = ["stop", "p"].map(str::to_owned);
    Run::of(lab.login(&lab.line(&stop))).success();
    run.wait().success();
    assert!(!group.exists(), "the cgroup of the pod is left");
}

#[test]
fn privileged_a_pod_outlives_the_login_when_the_user_lingers() {
    if !under_systemd("privileged_a_pod_outlives_the_login_when_the_user_lingers") {
        return;
    }
    let lab = Lab::new(User::Subordinate);
    let user = lab.env.user().login();
    let linger = |how: &str| {
        let mut command = std::process::Command::new("loginctl");
        command.args([how, user]);
        Run::of(command).success();
    };
    linger("enable-linger");
    let words = lab.run_words(
        &["--name=p", "--memory=64M"],
        &[],
        &["trap", "SIGTERM", "0"],
    );
    let mut line: Vec<String> = [
        "systemd-run",
        "--user",
        "--quiet",
        "--unit=skua-linger",
        "--property=Delegate=yes",
        "--",
    ]
    .map(str::to_owned)
    .into();
    line.extend(lab.line(&words));
    Run::of(lab.login(&line)).success();
    let group = lab.cgroup("p");
    assert!(
        group
            .to_string_lossy()
            .contains("skua-linger.service/skua-"),
        "{}",
        group.display()
    );
    assert_eq!(says(&group, "memory.max"), "67108864");
    let stop = ["systemctl", "--user", "stop", "skua-linger"].map(str::to_owned);
    Run::of(lab.login(&stop)).success();
    assert_eq!(lab.status("p")["exit_status"], 0);
    linger("disable-linger");
}
