//! `kill -9` at any moment of a pod's life: the next `gc` finds everything and leaves nothing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use functional::{Env, Image, User, eventually};
use nix::sys::signal::Signal;
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
        for entry in fs::read_dir(self.env.data().join("ids"))
            .into_iter()
            .flatten()
        {
            let path = entry.unwrap().path();
            if File::open(&path).unwrap().try_lock().is_err() {
                left.insert(format!("lock {}", path.display()));
            }
        }
        for pod in self.pods("exited-garbage") {
            left.extend(
                cgroup(&pod)
                    .filter(|path| path.exists())
                    .map(|path| path.display().to_string()),
            );
            left.extend(living(&pod));
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
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
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
