//! Limits where the host has no controller of cgroup version 2 for them: refused with reason and remedy, or given up by name.
//! What they do where they can be had is in `cgroups.rs` and `sessions.rs`.

use std::fs;

use functional::systemd::Lab;
use functional::{User, skip};

/// The host has no controllers: cgroups are of version 1, as on many build machines.
fn without_controllers(test: &str) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let point = mount.and_then(|line| line.split(' ').nth(4));
    let list = point.and_then(|at| fs::read_to_string(format!("{at}/cgroup.controllers")).ok());
    let none = list.is_none_or(|list| !list.contains("memory"));
    if !none {
        skip(test, "cgroup version 2 has controllers here");
    }
    none
}

#[test]
fn every_limit_is_refused_before_anything_runs_where_it_cannot_be_had() {
    if !without_controllers("every_limit_is_refused_before_anything_runs_where_it_cannot_be_had") {
        return;
    }
    for user in User::all() {
        let lab = Lab::new(user);
        for (flag, file) in [
            ("--memory=64M", "memory.max"),
            ("--memory-high=64M", "memory.high"),
            ("--memory-swap-max=0", "memory.swap.max"),
            ("--cpus=0.5", "cpu.max"),
            ("--cpu-weight=50", "cpu.weight"),
            ("--cpuset-cpus=0", "cpuset.cpus"),
            ("--cpuset-mems=0", "cpuset.mems"),
            ("--pids-limit=100", "pids.max"),
            ("--io-max=8:0,rbps=1M", "io.max"),
            ("--io-weight=50", "io.weight"),
        ] {
            for (pod, app, whose) in [
                (&[flag][..], &[][..], "of the pod"),
                (&[], &[flag], "of app inspect"),
            ] {
                let app = [app, &["--name=inspect"]].concat();
                let run = lab.run(pod, &app, &["print", "started"]);
                let what = format!("cannot set {file} {whose}");
                let run = run.fails(&[&what, "version 2"]);
                let run = run.complains("--insecure-options=limits");
                assert!(run.stdout.is_empty(), "something ran\n{}", run.report());
            }
        }
    }
}

#[test]
fn limits_that_are_given_up_by_name_are_recorded_as_not_enforced() {
    if !without_controllers("limits_that_are_given_up_by_name_are_recorded_as_not_enforced") {
        return;
    }
    let lab = Lab::new(User::ordinary());
    let pod = [
        "--insecure-options=limits,image",
        "run",
        "--net=none",
        "--name=p",
    ];
    let words = lab.run_words(&["--memory=64M"], &[], &["exit", "3"]);
    let words: Vec<_> = words[3..].iter().map(String::as_str).collect();
    lab.env.skua(&[&pod[..], &words].concat()).exits(3);
    let status = lab.status("p");
    assert_eq!(status["limits"]["by"], "nothing", "{status}");
    let reason = status["limits"]["reason"].as_str().unwrap();
    assert!(reason.contains("version 2"), "{reason}");
    assert_eq!(
        status["insecure_options"],
        serde_json::json!(["image", "limits"])
    );
    let lines = lab.env.skua(&["status", "p"]).success();
    lines.says("limits=not enforced: ");
}

#[test]
fn without_a_controller_each_user_of_a_pod_has_a_bounded_number_of_processes() {
    let test = "without_a_controller_each_user_of_a_pod_has_a_bounded_number_of_processes";
    if !without_controllers(test) {
        return;
    }
    for user in User::all() {
        let lab = Lab::new(user);
        let bound = |pod: &[&str], app: &[&str]| {
            let limits = lab.run(pod, app, &["limits"]).success().json();
            limits["RLIMIT_NPROC"].clone()
        };
        let asked = bound(&["--name=p"], &[]);
        assert!(
            asked[1].as_u64().is_some_and(|most| most <= 4096),
            "{asked}"
        );
        let status = lab.status("p");
        assert_eq!(status["limits"]["by"], "rlimit", "{status}");
        let own = bound(&[], &["--rlimit=nproc=50"]);
        assert_eq!(own[1], 50, "what was asked for comes first: {own}");
        let none = bound(&["--pids-limit=unlimited"], &[]);
        assert_ne!(none, asked, "the bound can be taken away");
    }
}

#[test]
fn a_limit_that_makes_no_sense_is_refused_as_it_is_typed() {
    let lab = Lab::new(User::ordinary());
    for flag in [
        "--memory=1M",
        "--memory=lots",
        "--cpus=0",
        "--cpu-weight=0",
        "--cpuset-cpus=3-1",
        "--pids-limit=0",
        "--io-max=8:0",
        "--io-max=/dev/null,rbps=1M",
        "--memory-swap=1G",
    ] {
        let name = flag.split('=').next().unwrap();
        lab.run(&[flag], &[], &["exit", "0"]).fails(&[name]);
    }
}
