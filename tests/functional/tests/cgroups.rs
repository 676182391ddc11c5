//! Limits that are enforced, in the delegated cgroup of a systemd unit. These run in the virtual machines of `vm/lane`;
//! elsewhere they are skipped.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use functional::systemd::{Lab, groups_below, processes, says, under_systemd};
use functional::{User, eventually};
use nix::sys::signal::Signal;
use serde_json::json;

const DELEGATED: [&str; 1] = ["Delegate=yes"];

/// What the flags of the next test lead to.
fn every_limit_is_there(group: &Path, own: &Path) {
    for (file, value) in [
        ("memory.max", "268435456"),
        ("memory.high", "201326592"),
        ("memory.swap.max", "16777216"),
        ("cpu.max", "150000 100000"),
        ("cpu.weight", "50"),
        ("cpuset.cpus", "0"),
        ("cpuset.mems", "0"),
        ("pids.max", "100"),
        ("io.max", "254:0 rbps=1048576 wbps=max riops=max wiops=100"),
    ] {
        assert_eq!(says(group, file), value, "{file} of the pod");
    }
    for (file, value) in [
        ("memory.max", "67108864"),
        ("memory.swap.max", "0"),
        ("memory.oom.group", "1"),
        ("cpu.max", "50000 100000"),
        ("pids.max", "20"),
    ] {
        assert_eq!(says(own, file), value, "{file} of the app");
    }
}

/// Bounds within which `pod` is, and nothing more: where limits can be had, what is beyond them is refused all the same.
fn bounds_hold(lab: &Lab, pod: &[&str]) {
    let bounds = "memory = \"256M\"\nmemory-high = \"192M\"\nmemory-swap-max = \"16M\"\ncpus = 1.5\ncpu-weight = 50\n\
                  cpuset-cpus = \"0\"\ncpuset-mems = \"0\"\npids-limit = 100\nio-max = [\"/dev/vda,rbps=1M,wiops=100\"]\n";
    let file = lab.env.config().join("policy.toml");
    fs::write(&file, bounds).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let start = |pod: &[&str]| {
        let words = lab.run_words(pod, &[], &["print", "started"]);
        let run = lab.in_unit(&DELEGATED, &words);
        assert!(run.stdout.is_empty(), "something ran\n{}", run.report());
        run
    };
    start(&pod[1..2]).fails(&["no --memory-high for the pod", "give --memory-high=192M"]);
    let more = [&pod[1..], &["--io-max=/dev/vda,rbps=2M,wiops=100"]].concat();
    let more: Vec<_> = more.into_iter().filter(|flag| *flag != pod[9]).collect();
    start(&more).fails(&["rbps=2M,wiops=100 for the pod: 'io-max' of"]);
}

#[test]
fn privileged_every_limit_is_in_its_file_of_the_pod_or_of_the_app() {
    if !under_systemd("privileged_every_limit_is_in_its_file_of_the_pod_or_of_the_app") {
        return;
    }
    let lab = Lab::new(User::Caller);
    let pod = [
        "--name=p",
        "--memory=256M",
        "--memory-high=192M",
        "--memory-swap-max=16M",
        "--cpus=1.5",
        "--cpu-weight=50",
        "--cpuset-cpus=0",
        "--cpuset-mems=0",
        "--pids-limit=100",
        "--io-max=/dev/vda,rbps=1M,wiops=100",
    ];
    let app = ["--name=a", "--memory=64M", "--cpus=0.5", "--pids-limit=20"];
    bounds_hold(&lab, &pod);
    let words = lab.run_words(&pod, &app, &["trap", "SIGTERM", "0"]);
    let mut run = lab.start_in_unit(&DELEGATED, &words);
    run.prints("ready");

    let group = lab.cgroup("p");
    let own = group.join("app-a");
    every_limit_is_there(&group, &own);
    assert_eq!((processes(&own), processes(&group.join("init"))), (1, 1));
    assert_eq!(
        says(&group, "cgroup.subtree_control"),
        "cpu memory pids",
        "no more than the app needs"
    );
    let unit = group.parent().unwrap();
    assert_eq!(
        says(unit, "cgroup.subtree_control"),
        "cpuset cpu io memory pids"
    );
    assert_eq!(processes(&unit.join("skua-keeper")), 1);
    assert_eq!(
        says(unit, "cgroup.procs"),
        "",
        "the unit's own cgroup has no process"
    );

    lab.env.skua(&["stop", "p"]).success();
    run.wait().success();
    assert!(!group.exists(), "the cgroup of the pod is left");
    let status = lab.status("p");
    assert_eq!(status["limits"]["by"], "cgroup", "{status}");
    assert_eq!(status["oom"], false, "{status}");
    assert!(
        status["usage"]["memory_peak"]
            .as_u64()
            .is_some_and(|peak| peak > 0),
        "{status}"
    );
}

#[test]
fn privileged_a_pod_whose_memory_is_used_up_dies_alone_and_its_status_says_why() {
    if !under_systemd("privileged_a_pod_whose_memory_is_used_up_dies_alone_and_its_status_says_why")
    {
        return;
    }
    let lab = Lab::new(User::Caller);
    let words = lab.run_words(
        &["--name=p", "--memory=32M"],
        &["--name=a"],
        &["memory", "1000000000"],
    );
    let run = lab.in_unit(&DELEGATED, &words).exits(137);
    run.complains("app a was killed: the memory that it may use was used up");
    let status = lab.status("p");
    assert_eq!(status["oom"], true, "{status}");
    assert_eq!(status["exit_status"], 137);
    assert_eq!(
        status["apps"][0]["outcome"],
        json!({"kind": "out-of-memory"})
    );
    let peak = status["usage"]["memory_peak"].as_u64().unwrap();
    assert!((16 << 20..=32 << 20).contains(&peak), "{peak}");
    let lines = lab.env.skua(&["status", "p"]).success();
    lines
        .says("app-a=out of memory")
        .says("limits=by its cgroup");
}

#[test]
fn privileged_the_app_that_used_its_memory_up_is_the_one_that_is_named() {
    if !under_systemd("privileged_the_app_that_used_its_memory_up_is_the_one_that_is_named") {
        return;
    }
    let lab = Lab::new(User::Caller);
    let mut words = lab.run_words(&["--name=p"], &["--name=good"], &["trap", "SIGTERM", "0"]);
    let second = lab.run_words(
        &[],
        &["--name=bad", "--memory=32M"],
        &["memory", "1000000000"],
    );
    words.push("---".to_owned());
    words.extend_from_slice(&second[3..]);
    lab.in_unit(&DELEGATED, &words).exits(137);
    let status = lab.status("p");
    let outcome = |at: usize| status["apps"][at]["outcome"]["kind"].clone();
    assert_eq!(
        (outcome(0), outcome(1)),
        (json!("exited"), json!("out-of-memory"))
    );
}

#[test]
fn privileged_a_fork_bomb_stays_in_its_pod_and_ends_with_it() {
    if !under_systemd("privileged_a_fork_bomb_stays_in_its_pod_and_ends_with_it") {
        return;
    }
    let lab = Lab::new(User::Caller);
    let words = lab.run_words(&["--pids-limit=32"], &[], &["forks", "100"]);
    let answer = lab.in_unit(&DELEGATED, &words).success().json();
    assert_eq!(answer["errno"], "EAGAIN", "{answer}");
    assert!(answer["children"].as_u64().unwrap() < 32, "{answer}");

    // One that does not stop: the machine goes on, and the pod can be killed.
    let words = lab.run_words(&["--name=bomb", "--pids-limit=200"], &[], &["bomb"]);
    let run = lab.start_in_unit(&DELEGATED, &words);
    let group = lab.cgroup("bomb");
    eventually("the bomb has reached its bound", || {
        says(&group, "pids.events").split(' ').nth(1) != Some("0")
    });
    let start = Instant::now();
    lab.env.skua(&["list"]).success();
    lab.env.skua(&["stop", "--force", "bomb"]).success();
    run.wait().exits(137);
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    assert!(!group.exists());
}

#[test]
fn privileged_the_processes_of_a_pod_are_bounded_when_nothing_is_asked_for() {
    if !under_systemd("privileged_the_processes_of_a_pod_are_bounded_when_nothing_is_asked_for") {
        return;
    }
    let lab = Lab::new(User::Caller);
    let words = lab.run_words(&["--name=p"], &[], &["trap", "SIGTERM", "0"]);
    let mut run = lab.start_in_unit(&DELEGATED, &words);
    run.prints("ready");
    let group = lab.cgroup("p");
    assert_eq!(says(&group, "pids.max"), "4096");
    assert_eq!(
        groups_below(&group).len(),
        0,
        "nothing of an app is limited"
    );
    assert_eq!(
        says(group.parent().unwrap(), "cgroup.subtree_control"),
        "pids"
    );
    lab.env.skua(&["stop", "p"]).success();
    run.wait().success();
}

#[test]
fn privileged_an_app_sees_the_cgroups_of_its_pod_and_no_others_and_can_write_none() {
    if !under_systemd(
        "privileged_an_app_sees_the_cgroups_of_its_pod_and_no_others_and_can_write_none",
    ) {
        return;
    }
    let lab = Lab::new(User::Caller);
    for (pod, own) in [
        (&["--memory=64M"][..], "0::/app-inspect\n"),
        (&[], "0::/\n"),
    ] {
        let ask = |words: &[&str]| {
            let words = lab.run_words(pod, &["--name=inspect"], words);
            lab.in_unit(&DELEGATED, &words).success().json()
        };
        assert_eq!(ask(&["read", "/proc/self/cgroup"])["text"], own);
        let seen = ask(&["read", "/sys/fs/cgroup/pids.max"]);
        assert_eq!(
            seen["text"], "4096\n",
            "the root that an app sees is its pod"
        );
        let above = ask(&["read", "/sys/fs/cgroup/cgroup.procs"])["text"].to_string();
        assert!(
            !above.contains("\"0\\n"),
            "a process outside is seen: {above}"
        );
        let write = ask(&["write", "/sys/fs/cgroup/pids.max", "max"]);
        assert_eq!(write["errno"], "EROFS", "{write}");
    }
}

#[test]
fn privileged_what_enters_an_app_is_in_the_cgroup_of_the_app() {
    if !under_systemd("privileged_what_enters_an_app_is_in_the_cgroup_of_the_app") {
        return;
    }
    let lab = Lab::new(User::Caller);
    for (pod, own) in [
        (&["--name=p", "--memory=64M"][..], "0::/app-a\n"),
        (&["--name=q"], "0::/\n"),
    ] {
        let words = lab.run_words(pod, &["--name=a"], &["trap", "SIGTERM", "0"]);
        let mut run = lab.start_in_unit(&DELEGATED, &words);
        run.prints("ready");
        let name = pod[0].split_once('=').unwrap().1;
        let enter = ["enter", name, "--", "/inspect", "read", "/proc/self/cgroup"];
        let seen = lab.env.skua(&enter).success().json();
        assert_eq!(seen["text"], own);
        lab.env.skua(&["stop", name]).success();
        run.wait().success();
    }
}

#[test]
fn privileged_a_killed_keeper_s_cgroup_is_collected() {
    if !under_systemd("privileged_a_killed_keeper_s_cgroup_is_collected") {
        return;
    }
    let lab = Lab::new(User::Caller);
    let words = lab.run_words(&["--name=p", "--memory=64M"], &[], &["sleep", "600"]);
    let mut run = lab.start_in_unit(&DELEGATED, &words);
    run.prints("ready");
    let group = lab.cgroup("p");
    let keeper = lab.status("p")["keeper_pid"].as_i64().unwrap();
    let keeper = nix::unistd::Pid::from_raw(keeper.try_into().unwrap());
    nix::sys::signal::kill(keeper, Signal::SIGKILL).unwrap();
    drop(run);
    lab.env.skua(&["gc", "--grace-period=1h"]).success();
    eventually("the cgroup is gone", || !group.exists());
    let status = lab.status("p");
    assert_eq!(
        (&status["state"], &status["limits"]["by"]),
        (&json!("exited"), &json!("cgroup"))
    );
}

#[test]
fn privileged_limits_are_refused_in_a_unit_that_is_not_delegated_or_not_ours_alone() {
    if !under_systemd(
        "privileged_limits_are_refused_in_a_unit_that_is_not_delegated_or_not_ours_alone",
    ) {
        return;
    }
    let lab = Lab::new(User::Caller);
    let words = lab.run_words(&["--memory=64M"], &[], &["exit", "0"]);
    let run = lab.in_unit(&["Delegate=no"], &words);
    let run = run.fails(&["cannot set memory.max of the pod", "has not delegated it"]);
    run.complains("systemd-run --scope --property=Delegate=yes");

    // A shell that waits for skua is in the unit's cgroup too.
    let line = lab.line(&words).join(" ");
    let mut shell = std::process::Command::new("systemd-run");
    shell.args([
        "--wait",
        "--pipe",
        "--quiet",
        "--property=Delegate=yes",
        "--",
        "sh",
        "-c",
    ]);
    shell.arg(format!("{line}; exit $?"));
    let run = functional::Run::of(shell).fails(&["process ", "beside skua"]);
    run.complains("systemd-run --scope");

    // What was not asked for is bounded in another way there, and said so.
    let words = lab.run_words(&["--name=p"], &[], &["exit", "0"]);
    lab.in_unit(&["Delegate=no"], &words).success();
    let status = lab.status("p");
    assert_eq!(status["limits"]["by"], "rlimit", "{status}");
}

#[test]
fn privileged_a_limit_that_the_kernel_refuses_leaves_nothing() {
    if !under_systemd("privileged_a_limit_that_the_kernel_refuses_leaves_nothing") {
        return;
    }
    let lab = Lab::new(User::Caller);
    for (flag, said) in [
        ("--cpuset-cpus=900", "cpuset.cpus"),
        ("--io-max=240:77,rbps=1M", "io.max"),
    ] {
        let words = lab.run_words(&[flag], &[], &["print", "started"]);
        let run = lab
            .in_unit(&DELEGATED, &words)
            .fails(&["cannot write", said]);
        assert!(!run.stdout.contains("started"), "{}", run.report());
    }
    let pods = lab.env.skua(&["list", "--format=json"]).success().json();
    for pod in pods["pods"].as_array().unwrap() {
        assert_eq!(pod["state"], "exited", "{pod}");
        let name = format!("skua-{}", pod["uuid"].as_str().unwrap());
        let units = fs::read_dir("/sys/fs/cgroup/system.slice")
            .unwrap()
            .flatten();
        let left = units
            .map(|unit| unit.path().join(&name))
            .find(|path| path.exists());
        assert_eq!(left, None);
    }
}
