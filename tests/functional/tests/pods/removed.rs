//! Pods that are removed, collected, and healed after a crash.

use std::fs;
use std::path::{Path, PathBuf};

use functional::{Run, User, eventually, missing_program, skip, trace};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::Lab;

#[test]
fn rm_after_the_run_leaves_nothing_as_every_user() {
    for user in User::all() {
        let lab = Lab::new(user);
        let app = ["mkdir", "/made"];
        lab.pod(&["run", "--rm"], &app).success();
        lab.nothing_left();
    }
}

/// skua in a shell that may open so many files.
fn with_open_files(lab: &Lab, limit: u32, words: &[&str]) -> Run {
    let skua = lab
        .env
        .command(&[&["--insecure-options=image"], words].concat());
    let mut shell = lab.env.program("sh");
    shell.args(["-c", &format!("ulimit -n {limit}; exec \"$@\""), "sh"]);
    shell.arg(skua.get_program()).args(skua.get_args());
    Run::of(shell)
}

#[test]
fn a_tree_deeper_than_the_limit_on_open_files_is_removed() {
    for user in User::all() {
        let lab = Lab::new(user);
        let deep = format!("--working-dir={}", "/d".repeat(600));
        let words = ["run", "--rm", &lab.image, &deep, "--", "exit", "7"];
        let run = with_open_files(&lab, 256, &words).exits(7);
        assert_eq!(run.stderr, "", "{user:?}");
        lab.nothing_left();
    }
}

#[test]
fn a_pod_that_cannot_be_removed_is_kept_and_its_exit_status_is_its_own() {
    let test = "a_pod_that_cannot_be_removed_is_kept";
    if let Some(program) = missing_program(&["strace"]) {
        return skip(test, program);
    }
    let lab = Lab::new(User::Caller);
    let words = [
        "--insecure-options=image",
        "run",
        "--rm",
        &lab.image,
        "--",
        "exit",
        "7",
    ];
    let options = ["-e", "inject=unlinkat:error=EIO"];
    let log = lab.env.scratch("trace");
    let run = Run::of(trace::below_strace(&lab.env, &words, &options, &log)).exits(7);
    run.complains("the pod has ended and is kept: cannot remove the pod's directory")
        .complains("skua gc");
    assert_eq!(lab.in_state("exited-garbage").len(), 1);
    lab.skua(&["gc", "--grace-period=0"]).success();
    lab.nothing_left();
}

/// What is not finished in the data directory.
fn unfinished(lab: &Lab) -> Vec<PathBuf> {
    let entries = fs::read_dir(lab.env.data()).expect("the data directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let known = ["store", "pods", "skeleton"];
    paths
        .filter(|path| !known.iter().any(|name| path.ends_with(name)))
        .collect()
}

#[test]
fn what_a_killed_keeper_or_doctor_had_not_finished_is_collected() {
    let test = "what_a_killed_keeper_or_doctor_had_not_finished_is_collected";
    if let Some(program) = missing_program(&["strace"]) {
        return skip(test, program);
    }
    let lab = Lab::new(User::Caller);
    let log = lab.env.scratch("trace");
    let run = [
        "--insecure-options=image",
        "run",
        &lab.image,
        "--",
        "exit",
        "0",
    ];
    for (words, call) in [(&run[..], "lchown"), (&["doctor"][..], "unshare")] {
        let inject = format!("inject={call}:signal=KILL");
        let options = ["-e", inject.as_str()];
        let command = trace::below_strace(&lab.env, words, &options, &log);
        assert_ne!(Run::of(command).code(), Some(0), "{call}");
        let left = unfinished(&lab);
        assert_eq!(left.len(), 1, "{call}: {left:?}");
        let maker = fs::File::open(&left[0]).expect("open it");
        maker.lock().expect("lock it");
        lab.skua(&["gc", "--grace-period=0"]).success();
        assert_eq!(unfinished(&lab), left, "{call}: its maker lives");
        drop(maker);
        lab.skua(&["gc", "--grace-period=0"]).success();
        assert_eq!(unfinished(&lab), Vec::<PathBuf>::new(), "{call}");
    }
    lab.nothing_left();
}

/// An older skua made directories without locks, and locks of a data directory.
#[test]
fn what_an_older_skua_left_is_collected() {
    for user in User::all() {
        let lab = Lab::new(user);
        let at = |name: &str| lab.env.data().join(name);
        let old = ["skeleton.4711", "doctor-4711"].map(at);
        let others = ["skeleton.mine", "skeleton.4712", "doctor-4712"].map(at);
        for path in old.iter().chain(&others) {
            fs::create_dir_all(path.join("etc")).expect("a directory");
            fs::write(path.join("etc/hosts"), "").expect("a file");
        }
        let locks = ["ids/1879048192", "ids/1879113728"].map(at);
        fs::create_dir(at("ids")).expect("a directory");
        for path in &locks {
            fs::write(path, "").expect("a lock");
        }
        lab.env.give(&lab.env.data());
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
        for path in old.iter().chain(&others[..1]) {
            let directory = fs::File::open(path).expect("open it");
            directory.set_modified(time).expect("set its time");
        }
        let held = locks
            .each_ref()
            .map(|path| fs::File::open(path).expect("open it"));
        held.iter().for_each(|lock| lock.lock().expect("lock it"));
        lab.skua(&["gc"]).success();
        assert!(old.iter().all(|path| !path.exists()), "{user:?}");
        assert!(
            others.iter().all(|path| path.exists()),
            "{user:?}: not old, or not ours"
        );
        assert!(
            locks.iter().all(|path| path.exists()),
            "{user:?}: of living pods"
        );
        drop(held);
        lab.skua(&["gc"]).success();
        assert!(!at("ids").exists(), "{user:?}");
    }
}

#[test]
fn files_of_every_user_of_a_pod_are_removed_as_every_user() {
    for user in User::all() {
        let lab = Lab::new(user);
        let words = ["run", &lab.image, "--user=0", "--", "mkdir", "/made"];
        lab.skua(&words).success();
        let words = ["run", &lab.image, "--user=1000", "--", "mkdir", "/tmp/made"];
        lab.skua(&words).success();
        lab.skua(&["gc", "--grace-period=0"]).success();
        lab.nothing_left();
    }
}

#[test]
fn gc_keeps_what_has_ended_lately_whatever_the_clock_says() {
    let lab = Lab::new(User::ordinary());
    lab.pod(&["run"], &["exit", "0"]).success();
    lab.skua(&["gc"]).success();
    let left = lab.in_state("exited-garbage");
    assert_eq!(left.len(), 1);
    // A clock that was wrong by years when the pod ended.
    let result = left[0].join("result.json");
    let text = fs::read_to_string(&result).expect("result.json");
    let mut value: Value = serde_json::from_str(&text).expect("JSON");
    value["finished"] = 1.into();
    fs::write(&result, value.to_string()).expect("write result.json");
    lab.skua(&["gc", "--grace-period=1m"]).success();
    assert_eq!(lab.in_state("exited-garbage").len(), 1);
    let uuid = left[0]
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a UUID");
    lab.skua(&["gc", "--grace-period=0", "--dry-run"])
        .success()
        .says(uuid);
    assert_eq!(lab.in_state("exited-garbage").len(), 1);
    lab.skua(&["gc", "--grace-period=0"]).success();
    lab.nothing_left();
}

#[test]
fn removing_a_pod_follows_no_link() {
    let lab = Lab::new(User::ordinary());
    let outside = lab.env.write("outside", "kept");
    let link = outside.to_str().expect("UTF-8");
    lab.pod(&["run"], &["symlink", link, "/link"]).success();
    let directory = outside
        .parent()
        .and_then(|path| path.to_str())
        .expect("UTF-8");
    lab.pod(&["run"], &["symlink", directory, "/link"])
        .success();
    lab.skua(&["gc", "--grace-period=0"]).success();
    lab.nothing_left();
    assert_eq!(fs::read_to_string(outside).expect("still there"), "kept");
}

#[test]
fn a_keeper_that_was_killed_is_healed_by_the_next_command() {
    for user in User::all() {
        let lab = Lab::new(user);
        let pod = lab.sleeper(&["--name=web"]);
        let inside = lab.running("web")["pod_pid"].as_u64().expect("a pid");
        pod.signal(Signal::SIGKILL);
        drop(pod);
        let listed = lab.list();
        assert_eq!(
            (&listed[0]["state"], &listed[0]["exit_status"]),
            (&"exited".into(), &254.into())
        );
        eventually("the pod is dead", || {
            !PathBuf::from(format!("/proc/{inside}")).exists()
        });
        lab.skua(&["rm", "web"]).success();
        lab.nothing_left();
    }
}

#[test]
fn what_a_killed_skua_left_is_collected() {
    let lab = Lab::new(User::ordinary());
    lab.pod(&["prepare"], &["exit", "0"]).success();
    let pods = lab.env.data().join("pods");
    let prepared = lab.in_state("prepared").remove(0);
    for (state, id) in [("embryo", "1"), ("prepare", "2"), ("garbage", "3")] {
        let left = pods
            .join(state)
            .join(format!("{id}f2a0b1c-0000-4000-8000-0123456789ab"));
        fs::create_dir(&left).expect("make a pod");
        fs::copy(prepared.join("pod.json"), left.join("pod.json")).expect("copy a manifest");
    }
    lab.env.give(&pods);
    lab.skua(&["gc"]).success();
    for state in ["embryo", "prepare", "garbage"] {
        assert_eq!(lab.in_state(state), Vec::<PathBuf>::new(), "{state}");
    }
    assert_eq!(lab.in_state("prepared").len(), 1);
}

/// Changes the note of how long a prepared pod has waited.
fn waits(pod: &Path, change: impl FnOnce(&mut Value)) {
    let note = pod.join("waiting");
    let text = fs::read_to_string(&note).expect("a note of gc");
    let mut value: Value = serde_json::from_str(&text).expect("JSON");
    change(&mut value);
    fs::write(&note, value.to_string()).expect("write the note");
}

#[test]
fn a_prepared_pod_that_nobody_runs_expires_after_a_week_and_says_so() {
    const WEEK: u64 = 7 * 24 * 3600;
    for user in User::all() {
        let lab = Lab::new(user);
        let prepared = lab.pod(&["prepare", "--name=web"], &["exit", "0"]);
        let uuid = prepared.success().stdout.trim_end().to_owned();
        lab.skua(&["gc", "--grace-period=0"]).success();
        let pod = lab.in_state("prepared").remove(0);
        // One of yesterday is there, whatever happens in an hour.
        waits(&pod, |note| note["age"] = (WEEK - 3600).into());
        lab.skua(&["gc"]).success();
        assert_eq!(lab.in_state("prepared").len(), 1);
        lab.skua(&["gc", "--dry-run", "--expire-prepared=6d"])
            .success()
            .says(&uuid);
        assert_eq!(lab.in_state("prepared").len(), 1);
        // Since another boot, which counts up to the last look.
        waits(&pod, |note| {
            note["boot_id"] = "another".into();
            note["age"] = (WEEK - 1).into();
        });
        lab.skua(&["gc"]).success().complains(&uuid);
        assert_eq!(lab.in_state("prepared").len(), 0);
        for which in [uuid.as_str(), "web"] {
            lab.skua(&["run-prepared", which])
                .fails(&[&uuid, "has expired"])
                .complains("--expire-prepared");
        }
        assert_eq!(lab.status(&uuid)["state"], "garbage");
        // Within the grace period it is still there to say so, and its name is free.
        lab.skua(&["gc"]).success();
        assert_eq!(lab.in_state("garbage").len(), 1);
        lab.pod(&["run", "--rm", "--name=web"], &["exit", "0"])
            .success();
        lab.skua(&["gc", "--grace-period=0"]).success();
        lab.nothing_left();
    }
}

#[test]
fn how_long_a_prepared_pod_may_wait_is_configured() {
    let lab = Lab::new(User::ordinary());
    lab.pod(&["prepare"], &["exit", "0"]).success();
    let config = lab.env.config().join("config.toml");
    fs::write(&config, "expire-prepared = \"0s\"\n").expect("write config.toml");
    lab.skua(&["config"]).success().says("expire-prepared");
    lab.skua(&["gc", "--expire-prepared=1m"]).success();
    assert_eq!(lab.in_state("prepared").len(), 1);
    lab.skua(&["gc", "--grace-period=0"]).success();
    lab.nothing_left();
}
