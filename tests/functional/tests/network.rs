//! The network of a pod: none, the host's, and CNI networks that are joined, used and left without a trace.
//!
//! The privileged tests run in a network and mount namespace that plays the host: the machine's own network, leases and
//! rules are never touched, and tests do not see each other's.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use functional::{
    Env, Image, Run, User, eventually, hear, lax, left_of_networks, private_host, sh,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// A pod's image, and the flags before the command that let it run.
struct Local {
    env: Env,
    image: String,
}

impl Local {
    fn new(user: User) -> Self {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        Self { env, image }
    }

    /// `run FLAGS… IMAGE -- WORDS…`
    fn words<'a>(&'a self, flags: &[&'a str], words: &[&'a str]) -> Vec<&'a str> {
        let run = [lax(flags), "run"];
        [&run[..], flags, &[self.image.as_str(), "--"], words].concat()
    }

    fn run(&self, flags: &[&str], words: &[&str]) -> Run {
        self.env.skua(&self.words(flags, words))
    }

    fn pods(&self, state: &str) -> Vec<PathBuf> {
        let directory = self.env.data().join("pods").join(state);
        let entries = fs::read_dir(directory).into_iter().flatten();
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    }

    fn conflist(&self, name: &str, plugins: &Value) {
        let directory = self.env.config().join("net.d");
        fs::create_dir_all(&directory).expect("make net.d");
        let text = json!({"cniVersion": "1.0.0", "name": name, "plugins": plugins}).to_string();
        fs::write(directory.join(format!("{name}.conflist")), text).expect("write a conflist");
    }

    /// A plugin for `CNI_PATH`.
    fn plugin(&self, name: &str, script: &str) {
        let path = self.env.write(name, format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    }

    /// skua with our own plugins before the reference plugins.
    fn with_plugins(&self, words: &[&str]) -> Command {
        let mut command = self.env.command(words);
        let ours = self.env.scratch("");
        command.env("CNI_PATH", format!("{}:/usr/lib/cni", ours.display()));
        command
    }
}

#[test]
fn without_a_network_there_is_a_loopback_interface_and_nothing_else() {
    for user in User::all() {
        let local = Local::new(user);
        for flags in [&["--net=none"][..], &[]] {
            let interfaces = local.run(flags, &["interfaces"]).success().json();
            let names: Vec<_> = interfaces.as_object().expect("interfaces").keys().collect();
            assert_eq!(names, ["lo"]);
            assert_eq!(interfaces["lo"]["up"], true);
        }
    }
}

#[test]
fn in_the_host_s_network_a_pod_sees_the_host_s_interfaces_and_is_reached_there() {
    let local = Local::new(User::ordinary());
    let hosts = sh("ls /sys/class/net").lines().count();
    let interfaces = local.run(&["--net=host"], &["interfaces"]).success().json();
    assert_eq!(interfaces.as_object().expect("interfaces").len(), hosts);
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let address = port.expect("a port").to_string();
    let pod = local
        .env
        .spawn(&local.words(&["--net=host"], &["listen", &address, "from the pod"]));
    assert_eq!(hear(&address), "from the pod");
    pod.wait().success();
}

#[test]
fn an_ordinary_user_is_told_what_there_is_instead_of_cni() {
    let local = Local::new(User::ordinary());
    local
        .run(&["--net=default"], &["exit", "0"])
        .fails(&["only root"])
        .complains("--net=none");
}

#[test]
fn privileged_a_pod_on_the_default_bridge_is_reached_by_its_published_port() {
    let Some(root) = private_host("a_pod_on_the_default_bridge") else {
        return;
    };
    let local = Local::new(root);
    let flags = ["--net=default", "--publish=18080:80", "--name=web"];
    let pod = local
        .env
        .spawn(&local.words(&flags, &["listen", "0.0.0.0:80", "from the bridge"]));
    eventually("the pod has an address", || {
        let status = local.env.skua(&["status", "web", "--format=json"]);
        status.code() == Some(0) && {
            let network = &status.json()["networks"][0];
            network["interface"] == "eth0" && network["addresses"] == json!(["10.209.0.2/16"])
        }
    });
    local
        .env
        .skua(&["status", "web"])
        .success()
        .says("network=default 10.209.0.2/16");
    // By the host's own address, as from outside; the port on 127.0.0.1 is for the next test.
    assert_eq!(hear("192.0.2.1:18080"), "from the bridge");
    pod.wait().success();
    assert_eq!(left_of_networks(), BTreeSet::new());
    assert!(
        !local.pods("exited-garbage")[0]
            .join("net/default.json")
            .exists()
    );

    let pod = local.env.spawn(&local.words(
        &["--net=default", "--publish=127.0.0.1:18080:80"],
        &["listen", "0.0.0.0:80", "local"],
    ));
    assert_eq!(hear("127.0.0.1:18080"), "local");
    pod.wait().success();
    assert_eq!(left_of_networks(), BTreeSet::new());
}

#[test]
fn privileged_a_pod_knows_its_name_and_addresses() {
    let Some(root) = private_host("a_pod_knows_its_name") else {
        return;
    };
    let local = Local::new(root);
    let dns = json!({"nameservers": ["192.0.2.53"], "search": ["pods.example"]});
    let ipam = json!({"type": "static", "addresses": [{"address": "10.98.0.5/24"}]});
    local.conflist(
        "fixed",
        &json!([{"type": "bridge", "bridge": "fixed0", "ipam": ipam, "dns": dns}]),
    );
    let words = ["all", "interfaces", "hostname"];
    let answers = local
        .run(&["--net=fixed", "--hostname=web"], &words)
        .success()
        .json();
    let addresses = answers["interfaces"]["eth0"]["addresses"]
        .as_array()
        .expect("addresses");
    assert!(addresses.contains(&json!("10.98.0.5")), "{answers}");
    let read = |path: &str| {
        local
            .run(&["--net=fixed", "--hostname=web"], &["read", path])
            .success()
            .json()
    };
    assert_eq!(
        read("/etc/resolv.conf")["text"],
        "nameserver 192.0.2.53\nsearch pods.example\n"
    );
    assert!(
        read("/etc/hosts")["text"]
            .as_str()
            .expect("text")
            .ends_with("10.98.0.5 web\n")
    );
    assert_eq!(left_of_networks(), BTreeSet::new());
}

#[test]
fn privileged_two_networks_are_two_interfaces() {
    let Some(root) = private_host("two_networks") else {
        return;
    };
    let local = Local::new(root);
    let ipam = json!({"type": "host-local", "ranges": [[{"subnet": "10.98.1.0/24"}]]});
    local.conflist(
        "second",
        &json!([{"type": "bridge", "bridge": "second0", "ipam": ipam}]),
    );
    let flags = ["--net=default,second:IP=10.98.1.77"];
    let interfaces = local.run(&flags, &["interfaces"]).success().json();
    for (name, address) in [("eth0", "10.209.0.2"), ("eth1", "10.98.1.77")] {
        let addresses = interfaces[name]["addresses"].as_array().expect("addresses");
        assert!(addresses.contains(&json!(address)), "{interfaces}");
    }
    assert_eq!(left_of_networks(), BTreeSet::new());
}

#[test]
fn privileged_a_plugin_that_refuses_ends_the_pod_and_leaves_nothing() {
    let Some(root) = private_host("a_plugin_that_refuses") else {
        return;
    };
    let local = Local::new(root);
    local.plugin(
        "refuses",
        "[ $CNI_COMMAND = DEL ] || { printf '%s' '{\"code\":100,\"msg\":\"not today\"}'; exit 1; }",
    );
    let ipam = json!({"type": "host-local", "ranges": [[{"subnet": "10.98.2.0/24"}]]});
    let bridge = json!({"type": "bridge", "bridge": "half0", "isGateway": true, "ipMasq": true, "ipam": ipam});
    local.conflist(
        "half",
        &json!([bridge, {"type": "firewall"}, {"type": "refuses"}]),
    );
    let words = local.words(
        &["--net=default,half", "--publish=18082:80"],
        &["print", "never"],
    );
    let run =
        Run::of(local.with_plugins(&words)).fails(&["'half'", "refuses refused ADD", "not today"]);
    assert_eq!(run.stdout, "");
    assert_eq!(left_of_networks(), BTreeSet::new());
    assert_eq!(local.pods("run"), Vec::<PathBuf>::new());
}

#[test]
fn privileged_a_plugin_that_hangs_does_not_keep_a_pod_from_stopping() {
    let Some(root) = private_host("a_plugin_that_hangs") else {
        return;
    };
    let local = Local::new(root);
    let began = local.env.scratch("began");
    local.plugin(
        "hangs",
        &format!(
            "[ $CNI_COMMAND = DEL ] || {{ echo $$ > {}; sleep 1000; }}",
            began.display()
        ),
    );
    local.conflist("slow", &json!([{"type": "hangs"}]));
    let words = local.words(&["--net=slow"], &["print", "never"]);
    let pod = functional::Background::start(local.with_plugins(&words));
    eventually("the plugin runs", || {
        fs::read_to_string(&began).is_ok_and(|pid| !pid.is_empty())
    });
    pod.signal(Signal::SIGTERM);
    let run = pod.wait().fails(&["hangs", "the pod is to stop"]);
    assert!(run.elapsed < Duration::from_secs(20), "{}", run.report());
    let plugin = fs::read_to_string(&began).expect("its pid");
    assert!(
        !std::path::Path::new("/proc")
            .join(plugin.trim())
            .join("exe")
            .exists()
    );
}

#[test]
fn privileged_after_kill_9_of_the_keeper_gc_leaves_nothing() {
    let Some(root) = private_host("after_kill_9_of_the_keeper") else {
        return;
    };
    let local = Local::new(root);
    let mut pod = local
        .env
        .spawn(&local.words(&["--net=default", "--publish=18083:80"], &["sleep", "1000"]));
    eventually("the pod is in its network", || {
        left_of_networks().iter().any(|l| l.contains("18083"))
    });
    eventually("the app runs", || !local.pods("run").is_empty());
    pod.signal(Signal::SIGKILL);
    eventually("the keeper is gone", || !pod.is_running());
    drop(pod);
    assert!(!left_of_networks().is_empty());
    local.env.skua(&["gc", "--grace-period=0s"]).success();
    assert_eq!(local.pods("run"), Vec::<PathBuf>::new());
    assert_eq!(left_of_networks(), BTreeSet::new());
}

#[test]
fn privileged_what_a_plugin_could_not_delete_is_deleted_by_gc() {
    let Some(root) = private_host("what_a_plugin_could_not_delete") else {
        return;
    };
    let local = Local::new(root);
    let can = local.env.scratch("can");
    let script = format!(
        "case $CNI_COMMAND in ADD) echo '{{\"cniVersion\":\"1.0.0\"}}';; \
         DEL) [ -e {} ] || {{ echo 'come back later' >&2; exit 1; }};; esac",
        can.display()
    );
    local.plugin("sticky", &script);
    local.conflist("sticky", &json!([{"type": "sticky"}]));
    let words = local.words(&["--net=sticky", "--name=stuck"], &["exit", "0"]);
    Run::of(local.with_plugins(&words)).fails(&["sticky refused DEL", "come back later"]);
    Run::of(local.with_plugins(&["gc", "--grace-period=0s"])).fails(&["come back later"]);
    fs::write(&can, "").expect("write");
    Run::of(local.with_plugins(&["gc", "--grace-period=0s"])).success();
    assert_eq!(local.pods("run"), Vec::<PathBuf>::new());
}

#[test]
fn privileged_a_plugin_that_is_killed_has_refused_nothing() {
    let Some(root) = private_host("a_plugin_that_is_killed") else {
        return;
    };
    let local = Local::new(root);
    local.plugin("victim", "kill -KILL $$");
    local.conflist("victim", &json!([{"type": "victim"}]));
    let words = local.words(&["--net=victim", "--name=alone"], &["exit", "0"]);
    let run = Run::of(local.with_plugins(&words));
    let run = run.fails(&[
        "cannot join network 'victim'",
        "was killed by signal 9 in ADD",
    ]);
    assert!(!run.stderr.contains("refused"), "{}", run.report());
}

#[test]
fn privileged_a_missing_plugin_is_named_with_its_package() {
    let Some(root) = private_host("a_missing_plugin") else {
        return;
    };
    let local = Local::new(root);
    let mut command = local
        .env
        .command(&local.words(&["--net=default"], &["exit", "0"]));
    command.env("CNI_PATH", "/nonexistent");
    Run::of(command)
        .fails(&["'bridge'", "'default'", "/nonexistent"])
        .complains("containernetworking-plugins");
}

#[test]
fn privileged_kill_9_at_any_moment_of_joining_and_leaving_is_healed_by_gc() {
    let Some(root) = private_host("kill_9_at_any_moment") else {
        return;
    };
    let local = Local::new(root);
    local.run(&["--net=none"], &["exit", "0"]).success();
    let words = local.words(&["--net=default", "--publish=18085:80"], &["exit", "0"]);
    for milliseconds in (0..400).step_by(20) {
        let mut pod = local.env.spawn(&words);
        std::thread::sleep(Duration::from_millis(milliseconds));
        if pod.is_running() {
            pod.signal(Signal::SIGKILL);
        }
        eventually("the keeper is gone", || !pod.is_running());
        drop(pod);
        eventually("gc heals the pod", || {
            local.env.skua(&["gc", "--grace-period=0s"]).success();
            local.pods("run").is_empty()
        });
        let left = left_of_networks();
        assert_eq!(left, BTreeSet::new(), "after {milliseconds} ms");
    }
}
