//! skua under a real systemd: units, exit statuses, the journal, login sessions, delegated cgroups. These run in the virtual
//! machines of `vm/lane`; elsewhere they are skipped.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use functional::registry::{Action, Fault};
use functional::systemd::{
    Lab, control_group, journal, line, processes, property, systemctl, under_systemd,
};
use functional::{Env, Image, Key, Registry, Run, User, eventually, systemd};

/// A signed image in the store of `env`; its name.
fn fetched(env: &Env) -> String {
    let (registry, key) = (Registry::start(), Key::new(1));
    let name = registry.push_signed("team/app", "1", &Image::inspect().build(), &key);
    env.trust(&registry.name("team"), &key);
    env.skua(&["fetch", &name]).success();
    name
}

/// A transient service that runs `arguments` of skua, started.
fn service(env: &Env, unit: &str, properties: &[&str], arguments: &[&str]) {
    systemd::service(unit, properties, &line(env, arguments));
}

#[test]
fn privileged_a_service_is_the_keeper_and_its_output_is_in_the_journal() {
    const UNIT: &str = "skua-test-service.service";
    if !under_systemd("privileged_a_service_is_the_keeper_and_its_output_is_in_the_journal") {
        return;
    }
    let env = Env::new(User::Caller);
    let image = fetched(&env);
    let run = ["run", "--net=none", &image, "--", "trap", "SIGTERM", "5"];
    // A unit that failed is kept, and with it how it ended.
    service(&env, UNIT, &[], &run);
    eventually("the app's line is in the journal", || {
        journal(UNIT).contains("ready")
    });

    let main = property(UNIT, "MainPID");
    let pods = env.skua(&["list", "--format=json"]).success().json();
    assert!(
        pods.to_string().contains("\"running\""),
        "no running pod in {pods}"
    );
    let comm = fs::read_to_string(format!("/proc/{main}/comm")).unwrap();
    assert_eq!(
        comm.trim(),
        "skua-stage1",
        "the unit's main process is not the keeper"
    );

    let group = control_group(UNIT);
    assert_eq!(
        processes(&group),
        3,
        "keeper, stage2 and app are the unit's"
    );
    let start = Instant::now();
    systemctl(&["stop", UNIT]).success();
    assert!(
        start.elapsed().as_secs() < 8,
        "an orderly stop took {:?}",
        start.elapsed()
    );
    assert_eq!(processes(&group), 0, "a process of the unit is left");
    assert_eq!(
        property(UNIT, "ExecMainStatus"),
        "5",
        "the app's own status"
    );
    assert!(journal(UNIT).contains("SIGTERM"), "the app saw its signal");
}

#[test]
fn privileged_the_exit_status_of_the_app_is_the_unit_s() {
    if !under_systemd("privileged_the_exit_status_of_the_app_is_the_unit_s") {
        return;
    }
    let env = Env::new(User::Caller);
    let image = fetched(&env);
    let mut command = Command::new("systemd-run");
    command.args([
        "--wait",
        "--pipe",
        "--quiet",
        "--property",
        "Delegate=yes",
        "--",
    ]);
    command.args(line(
        &env,
        &["run", "--net=none", &image, "--", "exit", "7"],
    ));
    Run::of(command).exits(7);
}

#[test]
fn privileged_a_killed_unit_leaves_no_process_and_the_pod_is_collected() {
    const UNIT: &str = "skua-test-killed.service";
    if !under_systemd("privileged_a_killed_unit_leaves_no_process_and_the_pod_is_collected") {
        return;
    }
    let env = Env::new(User::Caller);
    let image = fetched(&env);
    service(
        &env,
        UNIT,
        &["KillMode=process"],
        &["run", "--net=none", &image, "--", "sleep", "600"],
    );
    eventually("keeper, stage2 and app are there", || {
        processes(&control_group(UNIT)) == 3
    });
    let group = control_group(UNIT);

    systemctl(&["kill", "--kill-whom=main", "--signal=KILL", UNIT]).success();
    eventually("the pod died with its keeper", || processes(&group) == 0);
    env.skua(&["gc", "--grace-period=0s"]).success();
    let pods = env.skua(&["list", "--format=json"]).success().json();
    assert!(
        !pods.to_string().contains("\"running\""),
        "a pod still runs in {pods}"
    );
}

#[test]
fn privileged_an_ordinary_user_runs_a_pod_in_a_login_session() {
    if !under_systemd("privileged_an_ordinary_user_runs_a_pod_in_a_login_session") {
        return;
    }
    let env = Env::new(User::Subordinate);
    let image = fetched(&env);
    let words = line(&env, &["run", "--net=none", &image, "--", "exit", "5"]).join(" ");
    let mut command = Command::new("su");
    command.args(["--login", "skua-test-sub", "--command", &words]);
    Run::of(command).exits(5);
}

#[test]
fn privileged_a_unit_of_type_notify_is_active_when_its_apps_have_been_executed() {
    const UNIT: &str = "skua-test-notify.service";
    if !under_systemd("privileged_a_unit_of_type_notify_is_active_when_its_apps_have_been_executed")
    {
        return;
    }
    let lab = Lab::new(User::Caller);
    let mut words = lab.run_words(&["--name=p"], &["--name=one"], &["trap", "SIGTERM", "0"]);
    let second = lab.run_words(&[], &["--name=two"], &["trap", "SIGTERM", "0"]);
    words.push("---".to_owned());
    words.extend_from_slice(&second[3..]);
    systemd::service(
        UNIT,
        &["Type=notify", "NotifyAccess=main"],
        &lab.line(&words),
    );
    assert_eq!(property(UNIT, "ActiveState"), "active", "{}", journal(UNIT));
    let status = property(UNIT, "StatusText");
    assert!(status.ends_with(" runs: one, two"), "{status}");
    eventually("both apps wait for the signal", || {
        journal(UNIT).matches("ready").count() == 2
    });
    systemctl(&["stop", UNIT]).success();
    // It was the main process, and nobody else, that said all this.
    let said = journal(UNIT);
    assert!(!said.contains("notification message from PID"), "{said}");
    assert_eq!(lab.status("p")["exit_status"], 0);
}

#[test]
fn privileged_a_unit_of_type_notify_fails_when_an_app_cannot_be_executed() {
    const UNIT: &str = "skua-test-never-ready.service";
    if !under_systemd("privileged_a_unit_of_type_notify_fails_when_an_app_cannot_be_executed") {
        return;
    }
    let lab = Lab::new(User::Caller);
    let words = lab.run_words(&[], &["--exec=/nothing"], &[]);
    let run = systemd::begin_service(UNIT, &["Type=notify"], &lab.line(&words));
    assert_ne!(run.code(), Some(0), "{}", run.report());
    assert_eq!(property(UNIT, "Result"), "exit-code", "{}", journal(UNIT));
    assert_eq!(property(UNIT, "ExecMainStatus"), "254");
    assert_eq!(property(UNIT, "ActiveEnterTimestampMonotonic"), "0");
    systemctl(&["reset-failed", UNIT]).success();
}

#[test]
fn privileged_a_unit_of_type_notify_is_active_when_its_app_says_so() {
    const UNIT: &str = "skua-test-app-ready.service";
    if !under_systemd("privileged_a_unit_of_type_notify_is_active_when_its_app_says_so") {
        return;
    }
    let lab = Lab::new(User::Caller);
    let steps = ["sleep=3", "send=READY=1|STATUS=warm", "until=SIGTERM"];
    let words = lab.run_words(
        &["--name=p"],
        &["--name=one", "--notify"],
        &[&["notify"], &steps[..]].concat(),
    );
    let start = Instant::now();
    let unit = ["Type=notify", "NotifyAccess=main"];
    systemd::service(UNIT, &unit, &lab.line(&words));
    let took = start.elapsed();
    assert!(took > Duration::from_secs(3), "active after {took:?}");
    eventually("the manager has the app's words", || {
        property(UNIT, "StatusText") == "one: warm"
    });
    systemctl(&["stop", UNIT]).success();
    let app = &lab.status("p")["apps"][0];
    assert!(app["ready"].is_string(), "{app}");
}

/// A service whose app is ready at once, and then does `steps`; the manager wants a sign of life every ten seconds.
fn watched(lab: &Lab, unit: &str, steps: &[&str]) {
    let all = [&["notify", "send=READY=1|WATCHDOG=1"], steps].concat();
    let words = lab.run_words(&["--name=p"], &["--notify"], &all);
    let properties = ["Type=notify", "WatchdogSec=10"];
    systemd::service(unit, &properties, &lab.line(&words));
}

#[test]
fn privileged_a_pod_that_gives_signs_of_life_is_let_live() {
    const UNIT: &str = "skua-test-alive.service";
    if !under_systemd("privileged_a_pod_that_gives_signs_of_life_is_let_live") {
        return;
    }
    let lab = Lab::new(User::Caller);
    watched(&lab, UNIT, &["every=1=WATCHDOG=1"]);
    sleep(Duration::from_secs(25));
    assert_eq!(property(UNIT, "ActiveState"), "active", "{}", journal(UNIT));
    systemctl(&["stop", UNIT]).success();
}

#[test]
fn privileged_a_pod_that_gives_no_more_signs_of_life_is_killed_and_collected() {
    const UNIT: &str = "skua-test-silent.service";
    if !under_systemd("privileged_a_pod_that_gives_no_more_signs_of_life_is_killed_and_collected") {
        return;
    }
    let lab = Lab::new(User::Caller);
    watched(&lab, UNIT, &["until=SIGTERM"]);
    let group = control_group(UNIT);
    eventually("the manager has killed the pod", || {
        property(UNIT, "Result") == "watchdog" && processes(&group) == 0
    });
    lab.env.skua(&["gc", "--grace-period=0s"]).success();
    let pods = lab.env.skua(&["list", "--format=json"]).success().json();
    assert!(!pods.to_string().contains("\"running\""), "{pods}");
    systemctl(&["reset-failed", UNIT]).success();
}

#[test]
fn privileged_a_fetch_may_take_longer_than_the_start_of_its_unit() {
    const UNIT: &str = "skua-test-long-fetch.service";
    if !under_systemd("privileged_a_fetch_may_take_longer_than_the_start_of_its_unit") {
        return;
    }
    let env = Env::new(User::Caller);
    let registry = Registry::start();
    let name = registry.push("team/app", "1", &Image::inspect().build());
    let slowly = Action::Trickle(30_000, Duration::from_secs(1));
    registry.fault(Fault::always("/blobs/", slowly));
    let words = [
        "--insecure-options=image",
        "run",
        &name,
        "--",
        "trap",
        "SIGTERM",
        "0",
    ];
    let start = Instant::now();
    let unit = ["Type=notify", "TimeoutStartSec=8"];
    systemd::service(UNIT, &unit, &line(&env, &words));
    let took = start.elapsed();
    assert!(
        took > Duration::from_secs(9),
        "the fetch took only {took:?}"
    );
    eventually("the app waits for the signal", || {
        journal(UNIT).contains("ready")
    });
    systemctl(&["stop", UNIT]).success();
}
