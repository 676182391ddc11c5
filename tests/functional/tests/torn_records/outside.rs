//! What a pod whose records are torn has outside its directory: a cgroup, and its place in networks.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use functional::{User, left_of_networks, private_host, skip};

use crate::{Lab, nothing_left, tear, uuid};

#[test]
fn privileged_the_cgroup_of_a_dead_pod_is_found_by_its_name_and_no_other_is_killed() {
    let Some(root) = User::root("the_cgroup_of_a_dead_pod") else {
        return;
    };
    let lab = Lab::new(root);
    let pod = lab.killed(&[]);
    let Ok(line) = fs::read_to_string(pod.join("cgroup")) else {
        return skip("torn_records", "there are no cgroups of version 2");
    };
    let own = PathBuf::from(line.trim_end());
    assert!(own.is_dir(), "{own:?}");
    // What the path may be cut off to.
    let others = PathBuf::from(own.to_str().unwrap().split_at(line.len() - 4).0);
    fs::create_dir(&others).unwrap();
    let mut bystander = Command::new("sleep").arg("60").spawn().unwrap();
    fs::write(others.join("cgroup.procs"), bystander.id().to_string()).unwrap();
    fs::write(pod.join("cgroup"), others.to_str().unwrap()).unwrap();
    let gc = lab.skua(&["gc", "--grace-period=0s"]);
    let lives = bystander.try_wait().unwrap().is_none();
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    let removed = fs::remove_dir(&others);
    gc.success();
    assert!(lives, "a process of another cgroup was killed");
    removed.unwrap();
    assert!(!own.exists(), "{own:?}");
    assert!(lab.pods().is_empty());
}

#[test]
fn privileged_a_network_whose_record_is_torn_is_left_as_far_as_the_manifest_tells() {
    let Some(root) = private_host("a_network_whose_record_is_torn") else {
        return;
    };
    let lab = Lab::new(root);
    let flags = ["--net=default"];
    let pod = lab.killed(&flags);
    assert!(!left_of_networks().is_empty());
    tear(&pod.join("net/default.json"), 2);
    nothing_left(&lab, "net/default.json");
    // Only the record had the addresses, by which rules are found; a power failure leaves none.
    let mut left = left_of_networks();
    left.retain(|line| !line.starts_with("-A CNI-FORWARD"));
    assert!(left.is_empty(), "left {left:?}");
    // Nobody knows any more which network that was.
    let pod = lab.killed(&flags);
    tear(&pod.join("net/default.json"), 0);
    tear(&pod.join("pod.json"), 0);
    lab.skua(&["status", &uuid(&pod)])
        .success()
        .says("network 'default' was not left");
    nothing_left(&lab, "net/default.json, pod.json");
}
