//! Dead pods whose networks cannot be left, because a plugin is no longer where it was: kept, told of, and given up only when
//! somebody says so.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use functional::{Background, Env, Image, Run, User};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// A plugin that notes what it is called for.
const PLUGIN: &str = r#"#!/bin/sh
cat >/dev/null
echo "$CNI_COMMAND $CNI_CONTAINERID" >>"$0.log"
case $CNI_COMMAND in
ADD) echo '{"cniVersion":"1.0.0","interfaces":[],"ips":[]}' ;;
VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["1.0.0"]}' ;;
esac
"#;

const PLUGINS: [&str; 2] = ["one", "two"];

struct Lab {
    env: Env,
    image: String,
}

impl Lab {
    fn new(test: &str) -> Option<Self> {
        let env = Env::new(User::root(test)?);
        let image = env.layout(&Image::inspect().build());
        let lab = Self { env, image };
        let networks = lab.env.config().join("net.d");
        fs::create_dir_all(&networks).expect("make net.d");
        for name in PLUGINS {
            let plugin = lab.env.write(name, PLUGIN);
            fs::set_permissions(plugin, fs::Permissions::from_mode(0o755)).expect("chmod");
            let list = json!({"cniVersion": "1.0.0", "name": name, "plugins": [{"type": name}]});
            let path = networks.join(format!("{name}.conflist"));
            fs::write(path, list.to_string()).expect("write a conflist");
        }
        Some(lab)
    }

    fn skua(&self, words: &[&str]) -> Run {
        self.env.skua(words)
    }

    /// A pod that runs, in both networks, until it is told to end.
    fn running(&self) -> Background {
        let words = [
            "--insecure-options=image",
            "run",
            "--name=p",
            "--net=one,two",
        ];
        let app = [&self.image, "--", "trap", "SIGTERM", "0"];
        let mut command = self.env.command(&[&words[..], &app].concat());
        command.env("CNI_PATH", self.env.scratch(""));
        let mut pod = Background::start(command);
        pod.prints("ready");
        pod
    }

    /// The UUID of the only pod, whose plugins go away now.
    fn lose_plugins(&self) -> String {
        for plugin in PLUGINS {
            fs::rename(self.plugin(plugin), self.away(plugin)).expect("move it away");
        }
        let pods = self.list();
        assert_eq!(pods.len(), 1, "{pods:?}");
        pods[0]["uuid"].as_str().expect("a UUID").to_owned()
    }

    /// A pod whose keeper was killed, and whose plugins went away then.
    fn dead(&self) -> String {
        let pod = self.running();
        pod.signal(Signal::SIGKILL);
        pod.wait();
        self.lose_plugins()
    }

    /// A pod that has ended.
    fn ended(&self) {
        let image = [&self.image, "--", "exit", "0"];
        let words = ["--insecure-options=image", "run"];
        self.skua(&[&words[..], &image].concat()).success();
    }

    fn list(&self) -> Vec<Value> {
        let list = self.skua(&["list", "--format=json"]).success().json();
        list["pods"].as_array().expect("pods").clone()
    }

    fn plugin(&self, name: &str) -> PathBuf {
        self.env.scratch(name)
    }

    fn away(&self, name: &str) -> PathBuf {
        self.env.scratch(&format!("{name}.away"))
    }

    fn put_back(&self, name: &str) {
        fs::rename(self.away(name), self.plugin(name)).expect("put it back");
    }

    /// What a plugin was called for, of a pod.
    fn calls(&self, plugin: &str, id: &str) -> Vec<String> {
        let log = fs::read_to_string(self.env.scratch(&format!("{plugin}.log")));
        let log = log.unwrap_or_default();
        let of_pod = log.lines().filter_map(|line| line.strip_suffix(id));
        of_pod.map(|call| call.trim_end().to_owned()).collect()
    }
}

#[test]
fn privileged_a_pod_that_cannot_leave_its_networks_is_kept_and_stands_in_no_others_way() {
    let Some(lab) = Lab::new("a_pod_that_cannot_leave_its_networks_is_kept") else {
        return;
    };
    let id = lab.dead();
    lab.ended();
    let parts = [
        id.as_str(),
        "plugin 'one' of network 'one'",
        "plugin 'two' of network 'two'",
    ];
    for words in [&["rm", "p"][..], &["rm", &id], &["gc", "--grace-period=0"]] {
        let run = lab.skua(words).fails(&parts);
        assert!(!run.stderr.contains("is running"), "{}", run.report());
        run.complains("put the plugin back")
            .complains("--abandon-networks");
    }
    let name = ["--insecure-options=image", "run", "--name=p", &lab.image];
    lab.skua(&name)
        .exits(254)
        .complains(&format!("the name 'p' is taken by pod {id}"))
        .complains(&format!("skua rm --abandon-networks {id}"));
    let left = lab.list();
    assert_eq!(left.len(), 1, "the other pod is gone: {left:?}");
    assert_eq!(left[0]["state"], "dead");
    PLUGINS.iter().for_each(|plugin| lab.put_back(plugin));
    // A record of a newer skua is as good as no plugin.
    let pod = lab.env.data().join("pods/run").join(&id);
    let record = pod.join("net/one.json");
    let text = fs::read_to_string(&record).expect("a record");
    let newer = text.replacen("\"version\": 1", "\"version\": 99", 1);
    assert_ne!(newer, text);
    fs::write(&record, newer).expect("write");
    let run = lab
        .skua(&["gc"])
        .fails(&[&id, "net/one.json", "version 99"]);
    run.complains("--abandon-networks");
    fs::write(&record, text).expect("write");
    lab.skua(&["gc", "--grace-period=0"]).success();
    assert!(lab.list().is_empty());
    for plugin in PLUGINS {
        assert_eq!(lab.calls(plugin, &id), ["ADD", "DEL"]);
    }
}

/// Nothing is called left that was not.
#[test]
fn privileged_networks_are_abandoned_only_when_that_is_asked_for_and_each_is_told() {
    let Some(lab) = Lab::new("networks_are_abandoned_only_when_that_is_asked_for") else {
        return;
    };
    let id = lab.dead();
    lab.put_back("two");
    let run = lab.skua(&["rm", "--abandon-networks", "p"]).success();
    let notes: Vec<_> = run.stderr.lines().collect();
    assert_eq!(notes.len(), 1, "{}", run.report());
    for part in [&id, "was not left", "stays taken", "network 'one'"] {
        assert!(notes[0].contains(part), "{part}: {}", run.report());
    }
    assert!(lab.list().is_empty());
    assert_eq!(lab.calls("two", &id), ["ADD", "DEL"], "it could be left");
    assert_eq!(lab.calls("one", &id), ["ADD"]);
    // A pod that runs has networks to use, not to abandon.
    lab.put_back("one");
    let words = ["--insecure-options=image", "run", "--name=q", "--net=none"];
    let app = [&lab.image, "--", "trap", "SIGTERM", "0"];
    let mut pod = lab.env.spawn(&[&words[..], &app].concat());
    pod.prints("ready");
    lab.skua(&["rm", "--abandon-networks", "q"])
        .fails(&["is running"]);
    pod.signal(Signal::SIGTERM);
    pod.wait().success();
}

/// What is in the place of the record stands for a full disk.
#[test]
fn privileged_what_was_not_left_is_told_also_where_it_cannot_be_recorded() {
    let Some(lab) = Lab::new("what_was_not_left_is_told_also_where_it_cannot_be_recorded") else {
        return;
    };
    let pod = lab.running();
    let id = lab.lose_plugins();
    let record = lab.env.data().join("pods/run").join(&id);
    let record = record.join("result.json.new");
    fs::create_dir(&record).expect("mkdir");
    pod.signal(Signal::SIGTERM);
    let run = pod.wait().exits(254);
    let run = run.complains("cannot leave network 'one'");
    let run = run.complains("cannot leave network 'two'");
    run.complains(&format!("cannot record how pod {id} ended"));
    fs::remove_dir(&record).expect("rmdir");
    PLUGINS.iter().for_each(|plugin| lab.put_back(plugin));
    lab.skua(&["gc", "--grace-period=0"]).success();
}
