//! Limits of disks that are enforced, on the spare disk of the virtual machines of `vm/lane`; elsewhere they are skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use functional::systemd::{Lab, says, under_systemd};
use functional::{User, sh, skip};
use serde_json::Value;

const DELEGATED: [&str; 1] = ["Delegate=yes"];
const DISK: &str = "/dev/vdc";

/// One test at a time: they measure one disk.
static DISK_IN_USE: Mutex<()> = Mutex::new(());

/// A directory on the spare disk, for as long as the guard is held. `None`, said so, where there is no such disk.
fn spare(test: &str) -> Option<(PathBuf, MutexGuard<'static, ()>)> {
    if !under_systemd(test) {
        return None;
    }
    if !Path::new(DISK).exists() {
        skip(test, "there is no spare disk /dev/vdc here");
        return None;
    }
    let alone = DISK_IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    let at = "/run/skua-test-disk";
    sh(&format!(
        "mkdir -p {at}; mountpoint -q {at} || mount {DISK} {at}; mkdir -p {at}/{test}"
    ));
    Some((Path::new(at).join(test), alone))
}

/// What an app with these limits says of its use of the disk.
fn ask(lab: &Lab, pod: &[&str], directory: &Path, words: &[&str]) -> Value {
    let bind = format!("--volume={}:/disk", directory.display());
    let words = lab.run_words(pod, &["--name=a", &bind], &[&["disk"][..], words].concat());
    lab.in_unit(&DELEGATED, &words).success().json()
}

fn milliseconds(answer: &Value) -> u64 {
    answer["ms"].as_u64().unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn privileged_a_rate_of_a_disk_is_enforced_in_each_direction_and_through_the_cache() {
    let test = "privileged_a_rate_of_a_disk_is_enforced_in_each_direction_and_through_the_cache";
    let Some((directory, _alone)) = spare(test) else {
        return;
    };
    let lab = Lab::new(User::Caller);
    let four = (4 << 20).to_string();
    // At a mebibyte in a second four need four; half of that is said to be slow, whatever the machine does beside.
    for (limit, how) in [
        ("wbps=1M", "write"),
        ("wbps=1M", "flush"),
        ("rbps=1M", "read"),
        ("wiops=16", "write"),
        ("riops=16", "read"),
    ] {
        let limit = format!("--io-max={DISK},{limit}");
        let answer = ask(&lab, &[&limit], &directory, &[how, "/disk/file", &four]);
        assert!(milliseconds(&answer) >= 2000, "{limit} {how}: {answer}");
    }
    let free = ask(&lab, &[], &directory, &["write", "/disk/file", &four]);
    assert!(milliseconds(&free) < 2000, "without a limit: {free}");
}

/// The disks of the machine get this scheduler; false where the kernel has no such one.
fn schedule(scheduler: &str) -> bool {
    // Those that are no module of their own are there without it.
    let _ = Command::new("modprobe")
        .args(["--quiet", scheduler])
        .status();
    ["vda", "vdc"].iter().all(|disk| {
        let file = format!("/sys/block/{disk}/queue/scheduler");
        fs::write(file, scheduler).is_ok()
    })
}

/// Where nothing shares a disk out by weight, the file of a weight is there and means nothing.
#[test]
fn privileged_a_share_of_a_disk_is_enforced_by_bfq_and_refused_without_it() {
    let test = "privileged_a_share_of_a_disk_is_enforced_by_bfq_and_refused_without_it";
    let Some((directory, _alone)) = spare(test) else {
        return;
    };
    let lab = Lab::new(User::Caller);
    assert!(schedule("none"), "every kernel has that");
    let words = lab.run_words(&["--io-weight=50"], &[], &["exit", "0"]);
    let refused = lab.in_unit(&DELEGATED, &words);
    refused.fails(&[
        "io.weight",
        "disk vda does not share its time out by weight",
    ]);
    if !schedule("bfq") {
        return skip(test, "this kernel has no bfq");
    }
    let bind = format!("--volume={}:/disk", directory.display());
    let app = |name: &str, weight: &str, file: &str, beside: &str| {
        let flags = [&format!("--name={name}"), weight, bind.as_str()];
        let words = ["disk", "busy", file, "12", beside];
        lab.run_words(&["--name=p"], &flags, &words)
    };
    // A weight counts among the cgroups beside it: here those of two apps.
    let mut words = app("light", "--io-weight=10", "/disk/light", "/disk/heavy");
    let heavy = app("heavy", "--io-weight=1000", "/disk/heavy", "/disk/light");
    words.push("---".to_owned());
    words.extend_from_slice(&heavy[4..]);
    let pod = lab.start_in_unit(&DELEGATED, &words);
    let weight = |app: &str| says(&lab.cgroup("p").join(app), "io.bfq.weight");
    assert_eq!(weight("app-light"), "default 10");
    assert_eq!(weight("app-heavy"), "default 181");
    let answers = pod.wait().success().stdout;
    let read = |file: &str| {
        let line = answers.lines().find(|line| line.contains(file));
        let line = line.unwrap_or_else(|| panic!("{answers}"));
        let answer: Value = serde_json::from_str(line).expect("JSON");
        answer["bytes"].as_u64().expect("a number")
    };
    let (light, heavy) = (read("/disk/light"), read("/disk/heavy"));
    // Equal weights give equal bytes, to a tenth; how far these are apart depends on how much the machine has to do beside.
    assert!(heavy > light * 5 / 4, "{answers}");
    assert!(schedule("none"));
}
