//! skua under a real systemd: units, exit statuses, the journal, login sessions, delegated cgroups. These run in the virtual
//! machines of `vm/lane`; elsewhere they are skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use functional::{Env, Image, Key, Registry, Run, User, skip};

/// Pid 1 is systemd and we are root: what every test here needs.
fn under_systemd(test: &str) -> bool {
    let systemd = fs::read_to_string("/proc/1/comm").is_ok_and(|name| name.trim() == "systemd");
    if !systemd {
        skip(
            test,
            "systemd is not pid 1 here; see tests/functional/vm/lane",
        );
    }
    systemd && User::root(test).is_some()
}

/// A signed image in the store of `env`; its name.
fn fetched(env: &Env) -> String {
    let (registry, key) = (Registry::start(), Key::new(1));
    let name = registry.push_signed("team/app", "1", &Image::inspect().build(), &key);
    env.trust(&registry.name("team"), &key);
    env.skua(&["fetch", &name]).success();
    name
}

/// The words of `skua … run --net=none …`, for a unit.
fn words(env: &Env, arguments: &[&str]) -> Vec<String> {
    let command = env.command(arguments);
    let program = std::iter::once(command.get_program());
    program
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

fn systemctl(arguments: &[&str]) -> Run {
    let mut command = Command::new("systemctl");
    command.args(arguments);
    Run::of(command)
}

/// One property of a unit.
fn property(unit: &str, name: &str) -> String {
    systemctl(&["show", "--value", "--property", name, unit])
        .success()
        .stdout
        .trim()
        .to_owned()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        sleep(Duration::from_millis(100));
    }
}

/// A transient service that runs `arguments`, started.
fn service(env: &Env, unit: &str, properties: &[&str], arguments: &[&str]) {
    let mut command = Command::new("systemd-run");
    command
        .arg("--unit")
        .arg(unit)
        .args(["--property", "Type=exec", "--property", "Delegate=yes"]);
    for property in properties {
        command.arg("--property").arg(property);
    }
    command.arg("--").args(words(env, arguments));
    Run::of(command).success();
}

fn journal(unit: &str) -> String {
    let mut command = Command::new("journalctl");
    command.args(["--no-pager", "--output=cat", "--unit", unit]);
    Run::of(command).stdout
}

/// The cgroup of a unit; a unit that has ended has none.
fn control_group(unit: &str) -> PathBuf {
    PathBuf::from(format!("/sys/fs/cgroup{}", property(unit, "ControlGroup")))
}

/// The processes of a cgroup and of those below it, by the kernel's count; one that is gone has none.
fn processes(group: &Path) -> usize {
    let mut found = 0;
    let mut directories = vec![group.to_owned()];
    while let Some(directory) = directories.pop() {
        let listed = fs::read_to_string(directory.join("cgroup.procs"));
        found += listed.map_or(0, |text| text.lines().count());
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        directories.extend(
            entries
                .map(|entry| entry.path())
                .filter(|path| path.is_dir()),
        );
    }
    found
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
    wait_until("the app's line is in the journal", || {
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
        start.elapsed() < Duration::from_secs(8),
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
    command.args(words(
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
    wait_until("keeper, stage2 and app are there", || {
        processes(&control_group(UNIT)) == 3
    });
    let group = control_group(UNIT);

    systemctl(&["kill", "--kill-whom=main", "--signal=KILL", UNIT]).success();
    wait_until("the pod died with its keeper", || processes(&group) == 0);
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
    let line = words(&env, &["run", "--net=none", &image, "--", "exit", "5"]).join(" ");
    let mut command = Command::new("su");
    command.args(["--login", "skua-test-sub", "--command", &line]);
    Run::of(command).exits(5);
}
