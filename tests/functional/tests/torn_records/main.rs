//! What a power failure leaves of the records of pods, which were not brought to the disk: files that are empty, or cut off.
//! Everything that a pod has is torn here, one file at a time; no command is stuck, and nothing is left. In `outside.rs`: what
//! a pod has outside its directory.

mod outside;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use functional::{Env, Image, Run, User, eventually, missing_program, skip};
use nix::sys::signal::Signal;
use serde_json::Value;

const STATES: [&str; 6] = [
    "embryo",
    "prepare",
    "prepared",
    "run",
    "exited-garbage",
    "garbage",
];

/// An environment with one image in its store.
struct Lab {
    env: Env,
    image: String,
}

impl Lab {
    fn new(user: User) -> Self {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let lab = Self { env, image };
        lab.skua(&["fetch", &lab.image]).success();
        lab
    }

    fn skua(&self, words: &[&str]) -> Run {
        self.env
            .skua(&[&["--insecure-options=image"], words].concat())
    }

    fn pods(&self) -> Vec<PathBuf> {
        let in_state = |state| fs::read_dir(self.env.data().join("pods").join(state));
        let entries = STATES.into_iter().flat_map(in_state).flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    fn only_pod(&self) -> PathBuf {
        let mut pods = self.pods();
        assert_eq!(pods.len(), 1, "{pods:?}");
        pods.remove(0)
    }

    /// A pod that runs, and whose keeper is killed.
    fn killed(&self, flags: &[&str]) -> PathBuf {
        let run = ["--insecure-options=image", "run"];
        let app = [self.image.as_str(), "--", "sleep", "600"];
        let mut pod = self.env.spawn(&[&run[..], flags, &app].concat());
        pod.prints("ready");
        let path = self.only_pod();
        eventually("stage2 says who the app is", || {
            fs::read_dir(path.join("status")).is_ok_and(|found| found.count() > 0)
        });
        pod.signal(Signal::SIGKILL);
        pod.wait();
        eventually("nobody holds the pod", || {
            File::open(&path).unwrap().try_lock().is_ok()
        });
        path
    }

    /// A pod that has ended, and that `gc` has seen.
    fn ended(&self) -> PathBuf {
        self.skua(&["run", &self.image, "--", "exit", "3"]).exits(3);
        self.skua(&["gc"]).success();
        self.only_pod()
    }

    /// A pod that waits, and that `gc` has seen.
    fn prepared(&self, flags: &[&str]) -> PathBuf {
        let app = [self.image.as_str(), "--", "exit", "5"];
        self.skua(&[&["prepare"], flags, &app].concat()).success();
        self.skua(&["gc"]).success();
        self.only_pod()
    }

    /// What is not done as long as a prepared pod may need any layer.
    fn keeps_images(&self, pod: &Path) {
        let hint = format!("skua rm {}", uuid(pod));
        for words in [&["image", "rm", &self.image][..], &["image", "gc"]] {
            let refused = self.skua(words).fails(&["cannot tell which images pod"]);
            refused.complains(&hint);
        }
    }

    /// What never fails because of what became of a dead pod. These do not heal it.
    fn collects_images(&self) {
        self.skua(&["image", "gc"]).success();
        self.skua(&["image", "rm", &self.image]).success();
        self.skua(&["fetch", &self.image]).success();
    }

    /// What never fails because of what became of a pod that nobody holds.
    fn looks(&self, uuid: &str, torn: &str) {
        let list = self.skua(&["list"]).success().says(uuid);
        let status = self.skua(&["status", uuid]).success().says(uuid);
        for run in [&list, &status] {
            assert!(run.stderr.is_empty(), "{torn}\n{}", run.report());
        }
        if torn.contains("pod.json") {
            list.says("record is lost");
            status.says("record is lost");
        }
        let other = ["run", "--name=web", "--rm", &self.image, "--", "exit", "0"];
        self.skua(&other).success();
    }
}

fn uuid(pod: &Path) -> String {
    pod.file_name().unwrap().to_str().unwrap().to_owned()
}

/// The plain files below `directory` that are not an app's, relative to it.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut ahead = vec![directory.to_owned()];
    while let Some(next) = ahead.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let (path, kind) = entry
                .and_then(|entry| Ok((entry.path(), entry.file_type()?)))
                .unwrap();
            let apps_own = path.ends_with("rootfs") || path.ends_with("volumes");
            if kind.is_dir() && !apps_own {
                ahead.push(path);
            } else if kind.is_file() {
                found.push(path.strip_prefix(directory).unwrap().to_owned());
            }
        }
    }
    found
}

/// Leaves a part of a file: nothing, or the first half.
fn tear(file: &Path, parts: u64) {
    let length = fs::metadata(file).unwrap().len();
    let left = length.checked_div(parts).unwrap_or(0);
    let file = File::options().write(true).open(file).unwrap();
    file.set_len(left).unwrap();
}

/// Looks at the pod of a UUID; what was torn of it is for messages.
type Check<'a> = &'a dyn Fn(&str, &str);

/// Tears each file of `pod` in turn, wholly and by half, and all of them; each of `checks` sees what was torn. The pod is as it
/// was before, each time.
fn each_torn(lab: &Lab, pod: &Path, checks: [Check<'_>; 2]) {
    let kept = lab.env.scratch("kept");
    let copy = |from: &Path, to: &Path| {
        let copied = Command::new("cp").arg("-a").args([from, to]).status();
        assert!(copied.unwrap().success());
    };
    copy(pod, &kept);
    let all = files(pod);
    let mut cases: Vec<Vec<PathBuf>> = all.iter().map(|file| vec![file.clone()]).collect();
    cases.push(all);
    for files in cases {
        for (parts, check) in [0, 2]
            .into_iter()
            .flat_map(|parts| checks.map(|check| (parts, check)))
        {
            for left in lab.pods() {
                fs::remove_dir_all(left).unwrap();
            }
            copy(&kept, pod);
            files.iter().for_each(|file| tear(&pod.join(file), parts));
            check(&uuid(pod), &format!("{files:?} torn, {parts}"));
        }
    }
}

fn nothing_left(lab: &Lab, torn: &str) {
    let gc = lab.skua(&["gc", "--grace-period=0s"]);
    let left = lab.pods();
    assert!(
        gc.code() == Some(0) && left.is_empty(),
        "{torn}: left {left:?}\n{}",
        gc.report()
    );
}

#[test]
fn a_dead_pod_of_which_a_file_is_torn_is_healed_seen_and_removed() {
    for user in User::all() {
        let lab = Lab::new(user);
        let pod = lab.killed(&[]);
        let names = files(&pod);
        for name in ["pod.json", "pid"] {
            assert!(names.contains(&name.into()), "{names:?}");
        }
        let used = |uuid: &str, torn: &str| {
            lab.collects_images();
            lab.skua(&["stop", "--force", uuid])
                .fails(&["is not running"]);
            lab.looks(uuid, torn);
            lab.skua(&["status", "--wait", uuid]).success();
            lab.skua(&["rm", uuid]).success();
        };
        each_torn(&lab, &pod, [&used, &|_, torn| nothing_left(&lab, torn)]);
    }
}

#[test]
fn an_ended_pod_of_which_a_file_is_torn_is_seen_and_removed() {
    for user in User::all() {
        let lab = Lab::new(user);
        let pod = lab.ended();
        let names = files(&pod);
        for name in ["pod.json", "result.json", "ended"] {
            assert!(names.contains(&name.into()), "{names:?}");
        }
        let used = |uuid: &str, torn: &str| {
            lab.collects_images();
            lab.looks(uuid, torn);
            lab.skua(&["gc"]).success();
            let note = fs::read_to_string(pod.join("ended")).expect("it is kept");
            serde_json::from_str::<Value>(&note).expect("a note that is whole");
            if torn.contains("result.json") {
                let status = lab.skua(&["status", uuid]).success();
                status.says("record is lost").lacks("exit-status");
            }
            lab.skua(&["rm", uuid]).success();
        };
        each_torn(&lab, &pod, [&used, &|_, torn| nothing_left(&lab, torn)]);
    }
}

#[test]
fn a_prepared_pod_whose_manifest_is_torn_is_garbage_and_one_whose_note_is_torn_still_runs() {
    for user in User::all() {
        let lab = Lab::new(user);
        let pod = lab.prepared(&["--name=job"]);
        let used = |uuid: &str, torn: &str| {
            lab.looks(uuid, torn);
            if torn.contains("pod.json") {
                lab.keeps_images(&pod);
                lab.skua(&["run-prepared", uuid]).fails(&["cannot parse"]);
                lab.skua(&["rm", uuid]).success();
            } else {
                lab.skua(&["gc"]).success();
                lab.skua(&["run-prepared", "job"]).exits(5);
            }
        };
        let collected = |uuid: &str, torn: &str| {
            if torn.contains("pod.json") {
                lab.skua(&["gc", "--dry-run"]).success().says(uuid);
                nothing_left(&lab, torn);
                lab.skua(&["image", "gc"]).success();
            }
        };
        each_torn(&lab, &pod, [&used, &collected]);
    }
}

#[test]
fn what_may_still_be_used_is_kept_when_a_manifest_cannot_be_read() {
    for user in User::all() {
        let lab = Lab::new(user);
        // Of a skua that writes other fields, as it may be.
        let pod = lab.prepared(&["--name=web"]);
        fs::write(pod.join("pod.json"), "{\"version\": 1, \"apps\": 7}").unwrap();
        lab.skua(&["image", "gc"]).fails(&["cannot parse"]);
        lab.skua(&["prepare", "--name=web", &lab.image])
            .fails(&["cannot tell the name of pod"])
            .complains(&format!("skua rm {}", uuid(&pod)));
        lab.skua(&["gc", "--grace-period=0s"]).success();
        assert_eq!(lab.only_pod(), pod);
        lab.skua(&["rm", &uuid(&pod)]).success();
        // Of a pod that runs.
        let run = ["--insecure-options=image", "run", &lab.image];
        let sleeper = [&run[..], &["--", "trap", "SIGTERM", "0"]].concat();
        let mut sleeper = lab.env.spawn(&sleeper);
        sleeper.prints("ready");
        tear(&lab.only_pod().join("pod.json"), 2);
        lab.skua(&["image", "gc"]).fails(&["cannot parse"]);
        lab.skua(&["prepare", "--name=web", &lab.image])
            .fails(&["cannot tell the name of pod"]);
        lab.skua(&["gc", "--grace-period=0s"]).success();
        lab.skua(&["list"]).success().says("running");
        lab.skua(&["stop", &uuid(&lab.only_pod())]).success();
        sleeper.wait().success();
    }
}

#[test]
fn a_note_that_cannot_be_read_keeps_no_other_pod_from_being_collected() {
    for user in User::all() {
        let lab = Lab::new(user);
        let bad = lab.ended();
        for _ in 0..2 {
            lab.skua(&["run", &lab.image, "--", "exit", "0"]).success();
        }
        lab.skua(&["gc"]).success();
        fs::remove_file(bad.join("ended")).unwrap();
        fs::create_dir(bad.join("ended")).unwrap();
        sleep(Duration::from_millis(2100));
        let gc = ["gc", "--grace-period=1s"];
        lab.skua(&[&gc[..], &["--dry-run"]].concat())
            .fails(&["cannot read", "/ended"]);
        assert_eq!(lab.pods().len(), 3);
        lab.skua(&gc).fails(&["cannot read", "/ended"]);
        assert_eq!(lab.only_pod(), bad);
        nothing_left(&lab, "a note that is a directory");
    }
}

/// Starts `skua WORDS`, which waits before it opens `path` for the first time.
fn late(lab: &Lab, path: &Path, words: &[&str]) -> functional::Background {
    let mut command = lab.env.program("strace");
    let skua = lab
        .env
        .command(&[&["--insecure-options=image"], words].concat());
    command
        .args(["--quiet=all", "--output=/dev/null", "-P"])
        .arg(path)
        .args(["-e", "inject=openat:delay_enter=2000000:when=1"])
        .arg(skua.get_program())
        .args(skua.get_args())
        .stdin(Stdio::null());
    functional::Background::start(command)
}

#[test]
fn a_pod_that_is_started_while_its_name_is_read_keeps_it() {
    if let Some(program) = missing_program(&["strace"]) {
        return skip("torn_records", &format!("{program} is not installed"));
    }
    let lab = Lab::new(User::ordinary());
    let app = [lab.image.as_str(), "--", "trap", "SIGTERM", "0"];
    lab.skua(&[&["prepare", "--name=web"], &app[..]].concat())
        .success();
    let manifest = lab.only_pod().join("pod.json");
    let looks = [
        late(&lab, &manifest, &["status", "--name=web"]),
        late(&lab, &manifest, &["list"]),
        late(&lab, &manifest, &["prepare", "--name=web", &lab.image]),
    ];
    sleep(Duration::from_millis(700));
    let mut pod = lab
        .env
        .spawn(&["--insecure-options=image", "run-prepared", "web"]);
    pod.prints("ready");
    let [status, list, prepare] = looks.map(functional::Background::wait);
    status.success().says("state=running");
    list.success().says("web").lacks("cannot");
    prepare.fails(&["the name 'web' is taken by pod"]);
    lab.skua(&["stop", "web"]).success();
    pod.wait().success();
}
