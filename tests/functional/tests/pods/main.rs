//! Pods from outside: found, listed, waited for, stopped, prepared; in `removed.rs` removed, collected, and healed after a crash, and in `links.rs`
//! where a link leads elsewhere.

mod links;
mod removed;

use std::fs;
use std::path::PathBuf;

use functional::{Background, Env, Image, Registry, Run, User, eventually};
use nix::sys::signal::Signal;
use serde_json::Value;

/// An environment with the image of the test suite in its store.
struct Lab {
    env: Env,
    image: String,
}

impl Lab {
    fn new(user: User) -> Self {
        let registry = Registry::start();
        let image = registry.push("demo/inspect", "1", &Image::inspect().build());
        let env = Env::new(user);
        let lab = Self { env, image };
        lab.skua(&["fetch", &lab.image]).success();
        lab
    }

    fn skua(&self, words: &[&str]) -> Run {
        self.env
            .skua(&[&["--insecure-options=image"], words].concat())
    }

    /// `skua COMMAND FLAGS IMAGE -- WORDS`.
    fn pod(&self, command: &[&str], words: &[&str]) -> Run {
        self.skua(&[command, &[&self.image, "--"], words].concat())
    }

    /// A pod that runs until it is told to end.
    fn sleeper(&self, flags: &[&str]) -> Background {
        let words = [
            &["--insecure-options=image", "run"],
            flags,
            &[&self.image, "--", "trap", "SIGTERM", "0"],
        ];
        let mut pod = self.env.spawn(&words.concat());
        pod.prints("ready");
        pod
    }

    fn list(&self) -> Vec<Value> {
        let list = self.skua(&["list", "--format=json"]).success().json();
        assert_eq!(list["version"], 1);
        list["pods"].as_array().expect("pods").clone()
    }

    fn status(&self, pod: &str) -> Value {
        self.skua(&["status", "--format=json", pod])
            .success()
            .json()
    }

    fn in_state(&self, state: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.env.data().join("pods").join(state))
            .into_iter()
            .flatten();
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    }

    fn nothing_left(&self) {
        for state in [
            "embryo",
            "prepare",
            "prepared",
            "run",
            "exited-garbage",
            "garbage",
        ] {
            assert_eq!(self.in_state(state), Vec::<PathBuf>::new(), "{state}");
        }
    }

    /// Waits until the pod of this name runs, and gives its status.
    fn running(&self, name: &str) -> Value {
        let mut found = Value::Null;
        eventually("the pod runs", || {
            let run = self.skua(&["status", "--format=json", name]);
            let runs = run.code() == Some(0) && run.json()["pod_pid"].is_u64();
            if runs {
                found = run.json();
            }
            runs
        });
        found
    }
}

#[test]
fn a_pod_is_found_by_uuid_by_its_beginning_by_name_and_by_file() {
    let lab = Lab::new(User::ordinary());
    let file = lab.env.scratch("uuid");
    let save = format!("--uuid-file-save={}", file.display());
    lab.pod(&["run", "--name=web", &save], &["exit", "3"])
        .exits(3);
    let uuid = fs::read_to_string(&file)
        .expect("the UUID")
        .trim_end()
        .to_owned();
    let by_file = format!("--uuid-file={}", file.display());
    for words in [
        &[uuid.as_str()][..],
        &[&uuid[..8]],
        &["web"],
        &["--name=web"],
        &[&by_file],
    ] {
        let run = lab
            .skua(&[&["status", "--format=json"], words].concat())
            .success();
        let status = run.json();
        assert_eq!(status["uuid"], uuid.as_str());
        assert_eq!(
            (&status["state"], &status["exit_status"]),
            (&"exited".into(), &3.into())
        );
        assert_eq!(status["apps"][0]["exit_status"], 3);
    }
    let manifest = lab.skua(&["cat-manifest", &uuid]).success().json();
    assert_eq!(
        (&manifest["id"], &manifest["name"]),
        (&uuid.as_str().into(), &"web".into())
    );
    assert_eq!(manifest["insecure_options"][0], "image");
}

#[test]
fn the_beginning_of_several_uuids_is_refused_with_all_of_them() {
    let lab = Lab::new(User::ordinary());
    let prepared = lab.pod(&["prepare"], &["exit", "0"]).success();
    let uuid = prepared.stdout.trim_end().to_owned();
    // Another one that begins as it does.
    let last = if uuid.ends_with('0') { "1" } else { "0" };
    let twin = format!("{}{last}", &uuid[..uuid.len() - 1]);
    let directory = lab.env.data().join("pods/prepared");
    let manifest = fs::read_to_string(directory.join(&uuid).join("pod.json")).expect("a manifest");
    fs::create_dir(directory.join(&twin)).expect("a directory");
    let manifest = manifest.replace(&uuid, &twin);
    fs::write(directory.join(&twin).join("pod.json"), manifest).expect("written");
    lab.env.give(&directory.join(&twin));
    let uuids = [uuid, twin];
    lab.skua(&["status", &uuids[0][..8]])
        .fails(&[&uuids[0], &uuids[1]]);
    lab.skua(&["status", &uuids[0][..7]])
        .fails(&["there is no pod"])
        .complains("from eight characters on");
    let all: Vec<&str> = uuids.iter().map(String::as_str).collect();
    lab.skua(&[&["rm"], all.as_slice()].concat()).success();
    lab.nothing_left();
}

#[test]
fn a_running_pod_is_listed_cannot_be_removed_and_stops_in_order() {
    for user in User::all() {
        let lab = Lab::new(user);
        let pod = lab.sleeper(&["--name=web"]);
        let status = lab.running("web");
        assert_eq!(status["state"], "running");
        assert_eq!(status["keeper_pid"], pod.pid());
        let listed = lab.list();
        assert_eq!((listed.len(), &listed[0]["name"]), (1, &"web".into()));
        let refused = lab.skua(&["rm", "web"]).fails(&["is running"]);
        lab.skua(&["stop", "web"]).success();
        // As the hint says, so that `rm` may follow.
        let id = status["uuid"].as_str().expect("an id");
        let told = ["stop", "status --wait"].map(|word| format!("'skua {word} {id}'"));
        assert!(
            told.iter().all(|told| refused.stderr.contains(told)),
            "{}",
            refused.report()
        );
        lab.skua(&["status", "--wait", id]).success();
        pod.wait().success();
        assert_eq!(lab.status("web")["state"], "exited");
        lab.skua(&["stop", "web"]).fails(&["is not running"]);
        lab.skua(&["enter", "web"]).fails(&["is not running"]);
        lab.skua(&["rm", "web"]).success();
        lab.nothing_left();
    }
}

#[test]
fn a_pod_that_is_stopped_by_force_is_dead_at_once() {
    let lab = Lab::new(User::ordinary());
    let pod = lab.sleeper(&["--name=web", "--stop-timeout=1h"]);
    lab.running("web");
    lab.skua(&["stop", "--force", "web"]).success();
    assert_ne!(pod.wait().code(), Some(0));
}

#[test]
fn status_waits_for_the_end() {
    let lab = Lab::new(User::ordinary());
    let pod = lab.sleeper(&["--name=web"]);
    lab.running("web");
    let words = [
        "--insecure-options=image",
        "status",
        "--wait",
        "--format=json",
        "web",
    ];
    let mut waiting = lab.env.spawn(&words);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(waiting.is_running());
    pod.signal(Signal::SIGTERM);
    pod.wait().success();
    let status = waiting.wait().success().json();
    assert_eq!(
        (&status["state"], &status["exit_status"]),
        (&"exited".into(), &0.into())
    );
}

#[test]
fn two_living_pods_cannot_have_one_name_and_a_dead_one_does_not_keep_it() {
    let lab = Lab::new(User::ordinary());
    lab.pod(&["run", "--name=web"], &["exit", "0"]).success();
    let pod = lab.sleeper(&["--name=web"]);
    let uuid = lab.running("web")["uuid"]
        .as_str()
        .expect("a UUID")
        .to_owned();
    lab.pod(&["run", "--name=web"], &["exit", "0"])
        .fails(&["'web' is taken", &uuid]);
    drop(pod);
    lab.pod(&["run", "--name=web"], &["exit", "0"]).success();
}

#[test]
fn a_prepared_pod_runs_later_and_only_if_it_is_still_trusted() {
    let lab = Lab::new(User::ordinary());
    let prepare = || {
        lab.pod(&["prepare"], &["exit", "4"])
            .success()
            .stdout
            .trim_end()
            .to_owned()
    };
    let (first, second) = (prepare(), prepare());
    assert_eq!(lab.status(&first)["state"], "prepared");
    lab.skua(&["run-prepared", &first]).exits(4);
    lab.skua(&["run-prepared", &first])
        .fails(&["is not prepared", "it has ended"]);
    lab.env
        .skua(&["run-prepared", &second])
        .fails(&["is not trusted"]);
    assert_eq!(lab.status(&second)["state"], "prepared");
}

#[test]
fn what_cannot_be_handed_over_leaves_nothing() {
    let lab = Lab::new(User::ordinary());
    let missing = ["run", "--stage1=/nowhere/stage1"];
    lab.pod(&missing, &["exit", "0"])
        .fails(&["cannot execute /nowhere/stage1"]);
    let file = ["run", "--uuid-file-save=/proc/nowhere"];
    lab.pod(&file, &["exit", "0"]).fails(&["/proc/nowhere"]);
    lab.nothing_left();
}

#[test]
fn a_manifest_that_cannot_be_read_is_told_and_stops_nobody_else() {
    let lab = Lab::new(User::ordinary());
    lab.pod(&["run", "--name=good"], &["exit", "0"]).success();
    lab.pod(&["run", "--name=bad"], &["exit", "0"]).success();
    let bad = lab.status("bad")["uuid"]
        .as_str()
        .expect("a UUID")
        .to_owned();
    let manifest = lab
        .env
        .data()
        .join("pods/exited-garbage")
        .join(&bad)
        .join("pod.json");
    fs::write(&manifest, "{\"version\":99}").expect("write pod.json");
    assert_eq!(lab.list().len(), 2);
    lab.skua(&["list"]).success().says("version 99");
    lab.status("good");
    lab.skua(&["cat-manifest", &bad]).fails(&["version 99"]);
    lab.skua(&["rm", &bad]).success();
}

#[test]
fn fifty_pods_at_once_all_succeed() {
    let lab = Lab::new(User::ordinary());
    let words = [
        "--insecure-options=image",
        "run",
        &lab.image,
        "--",
        "exit",
        "0",
    ];
    let pods: Vec<Background> = (0..50).map(|_| lab.env.spawn(&words)).collect();
    for pod in pods {
        pod.wait().success();
    }
    assert_eq!(lab.in_state("exited-garbage").len(), 50);
    assert_eq!(lab.in_state("run").len(), 0);
}

#[test]
fn what_is_known_at_the_start_is_told_while_it_runs_and_however_it_ends() {
    for user in User::all() {
        let lab = Lab::new(user);
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            let pod = lab.sleeper(&["--name=web"]);
            let running = lab.running("web");
            let (started, by) = (&running["started"], &running["limits"]["by"]);
            assert!(started.is_string() && by.is_string(), "{running}");
            assert!(
                running["finished"].is_null() && started.as_str() >= running["created"].as_str()
            );
            let table = lab.skua(&["status", "web"]).success();
            let line = format!("started={}", started.as_str().unwrap());
            assert!(table.stdout.contains(&line), "{}", table.report());
            assert!(table.stdout.contains("\nlimits="), "{}", table.report());
            pod.signal(signal);
            match signal {
                Signal::SIGTERM => drop(pod.wait().success()),
                _ => drop(pod),
            }
            let ended = lab.status("web");
            assert_eq!(ended["state"], "exited", "{ended}");
            for key in ["started", "limits"] {
                assert_eq!(ended[key], running[key], "{ended}");
            }
            lab.skua(&["rm", "web"]).success();
        }
    }
}
