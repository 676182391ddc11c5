//! `kill -9` at any moment of a pod's life: the next `gc` finds everything and leaves nothing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use functional::{Background, Doomed, Env, Image, User, eventually};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getsid};
use serde_json::Value;

/// An image layout for one user.
struct Lab {
    env: Env,
    image: String,
}

impl Lab {
    fn new(user: User) -> Self {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let lab = Self { env, image };
        lab.env.skua(&lab.words(&["exit", "0"])).success();
        lab
    }

    fn words<'a>(&'a self, app: &[&'a str]) -> Vec<&'a str> {
        [&["--insecure-options=image", "run", &self.image, "--"], app].concat()
    }

    fn pods(&self, state: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.env.data().join("pods").join(state)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// What pods have outside their directories, and what only a crash leaves.
    fn left(&self) -> BTreeSet<String> {
        let mut left = BTreeSet::new();
        for state in ["embryo", "prepare", "run"] {
            left.extend(self.pods(state).iter().map(|pod| pod.display().to_string()));
        }
        for pod in self.pods("exited-garbage") {
            left.extend(
                cgroup(&pod)
                    .filter(|path| path.exists())
                    .map(|path| path.display().to_string()),
            );
            left.extend(living(&pod));
            left.extend(locked_ids(&pod).filter(|_| self.env.user().is_root()));
        }
        left
    }
}

/// The pod's cgroup, whether or not the keeper lived long enough to say where it is.
fn cgroup(pod: &Path) -> impl Iterator<Item = PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let name = format!("skua-{}", pod.file_name().unwrap().to_str().unwrap());
    let points: Vec<PathBuf> = mounts
        .lines()
        .filter(|line| line.contains(" - cgroup2 "))
        .filter_map(|line| Some(Path::new(line.split(' ').nth(4)?).join(&name)))
        .collect();
    let line = fs::read_to_string(pod.join("cgroup")).ok();
    let recorded = line.map(|line| PathBuf::from(line.trim_end()));
    recorded.into_iter().chain(points)
}

/// The lock of root's on the user ids that the pod had.
fn locked_ids(pod: &Path) -> Option<String> {
    let text = fs::read_to_string(pod.join("pid")).ok()?;
    let running: Value = serde_json::from_str(&text).unwrap();
    let map = &running["id_map"]["uids"][0];
    let directory = File::open("/run/skua-ids").ok()?;
    let mut lock = nix::libc::flock {
        l_type: nix::libc::F_WRLCK as _,
        l_whence: nix::libc::SEEK_SET as _,
        l_start: map["host"].as_i64()?,
        l_len: map["count"].as_i64()?,
        l_pid: 0,
    };
    fcntl(&directory, FcntlArg::F_OFD_GETLK(&mut lock)).unwrap();
    let held = i32::from(lock.l_type) != nix::libc::F_UNLCK;
    held.then(|| format!("ids {map} of {}", pod.display()))
}

/// Processes that the file `pid` names and that live.
fn living(pod: &Path) -> Vec<String> {
    let Ok(text) = fs::read_to_string(pod.join("pid")) else {
        return Vec::new();
    };
    let running: Value = serde_json::from_str(&text).unwrap();
    let is_alive = |process: &Value| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", process["pid"])).unwrap_or_default();
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        // A zombie is dead; to bury it is up to the host's init.
        let planned = process["start_time"].as_u64();
        let started = fields.get(19).and_then(|start| start.parse().ok()) == planned;
        started && fields[0] != "Z"
    };
    let all = ["keeper", "pod"]
        .into_iter()
        .filter(|name| is_alive(&running[name]));
    all.map(|name| format!("{name} of {}", pod.display()))
        .collect()
}

#[test]
fn a_keeper_that_is_killed_at_any_moment_leaves_nothing_after_gc() {
    for user in User::all() {
        let lab = Lab::new(user);
        for step in 0..20 {
            let pod = lab.env.spawn(&lab.words(&["sleep", "60"]));
            sleep(Duration::from_millis(step * 7));
            pod.signal(Signal::SIGKILL);
            pod.wait();
            lab.env.skua(&["gc"]).success();
            assert_eq!(
                lab.left(),
                BTreeSet::new(),
                "killed after {} ms as {user:?}",
                step * 7
            );
        }
        lab.env.skua(&lab.words(&["exit", "3"])).exits(3);
    }
}

#[test]
fn a_pod_dies_with_its_keeper() {
    for user in User::all() {
        let lab = Lab::new(user);
        let mut pod = lab.env.spawn(&lab.words(&["sleep", "600"]));
        pod.prints("ready");
        let directory = lab.pods("run").pop().unwrap();
        assert_eq!(living(&directory).len(), 2);
        pod.signal(Signal::SIGKILL);
        eventually("the pod is dead", || living(&directory).is_empty());
        lab.env.skua(&["gc"]).success();
    }
}

#[test]
fn a_pod_whose_pid_1_is_killed_ends_in_order() {
    for user in User::all() {
        let lab = Lab::new(user);
        let mut pod = lab.env.spawn(&lab.words(&["sleep", "60"]));
        pod.prints("ready");
        let directory = lab.pods("run").pop().unwrap();
        let running: Value =
            serde_json::from_str(&fs::read_to_string(directory.join("pid")).unwrap()).unwrap();
        let pid = i32::try_from(running["pod"]["pid"].as_i64().unwrap()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        pod.wait().exits(137);
        assert_eq!(lab.left(), BTreeSet::new(), "{user:?}");
        let ended = lab.pods("exited-garbage");
        let results = ended
            .iter()
            .map(|pod| fs::read_to_string(pod.join("result.json")).unwrap());
        assert!(
            results
                .into_iter()
                .any(|result| result.contains("killed by signal 9"))
        );
    }
}

/// A pod whose inside is stopped when it has left the keeper's session, and is not yet to be killed with the keeper. `None`: it
/// was faster.
fn stopped_early(lab: &Lab) -> Option<(Background, Doomed)> {
    let pod = lab.env.spawn(&lab.words(&["exit", "0"]));
    let keeper = Pid::from_raw(pod.pid());
    let children = format!("/proc/{keeper}/task/{keeper}/children");
    let inside = loop {
        let children = fs::read_to_string(&children).ok()?;
        let child = children.split_whitespace().next();
        let child = child.map(|pid| Pid::from_raw(pid.parse().unwrap()));
        match child {
            Some(child) if getsid(Some(child)) == Ok(child) => break child,
            None if has_state(keeper, &["Z"]) => return None,
            _ => {}
        }
    };
    kill(inside, Signal::SIGSTOP).ok()?;
    eventually("it is stopped", || !has_state(inside, &["R", "S", "D"]));
    let stopped = Doomed(inside);
    has_no_ids(lab, inside)?.then_some((pod, stopped))
}

/// Whether a process is not yet root of the pod: that is when it asks to be killed with the keeper.
fn has_no_ids(lab: &Lab, inside: Pid) -> Option<bool> {
    let at = |name: &str| format!("/proc/{inside}/{name}");
    if !fs::read_link(at("exe")).ok()?.ends_with("skua-stage1") {
        return None;
    }
    if !lab.env.user().is_root() {
        return Some(fs::read_to_string(at("uid_map")).ok()?.is_empty());
    }
    let status = fs::read_to_string(at("status")).ok()?;
    // The real one; the effective one is the pod's from the clone on.
    Some(status.contains("\nUid:\t0\t"))
}

fn has_state(pid: Pid, states: &[&str]) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().unwrap_or_default();
    states.iter().any(|letter| state.starts_with(letter))
}

/// The keeper alone holds the pod's lock: what it has cloned is in nobody's way, also when it is not yet bound to die with it.
#[test]
fn a_pod_whose_keeper_is_killed_before_the_inside_has_its_ids_is_healed_at_once() {
    // One with a single id is that id all along.
    for user in User::all().into_iter().filter(|user| *user != User::Single) {
        let lab = Lab::new(user);
        let mut tries = (0..500).filter_map(|_| stopped_early(&lab));
        let (pod, inside) = tries.next().expect("an inside without ids");
        // Its end is not waited for by its output, which the inside has too.
        drop(pod);
        lab.env.skua(&["gc"]).success();
        assert_eq!(lab.left(), BTreeSet::new(), "{user:?}");
        // Where there is no cgroup, nobody knows of it, and it does nothing more.
        let _ = kill(inside.0, Signal::SIGCONT);
        eventually("the inside is gone", || {
            !has_state(inside.0, &["R", "S", "D", "T"])
        });
        std::mem::forget(inside);
        lab.env.skua(&["gc", "--grace-period=0"]).success();
        for state in ["run", "exited-garbage", "garbage"] {
            assert_eq!(lab.pods(state), Vec::<PathBuf>::new(), "{user:?}: {state}");
        }
    }
}
