//! The reference plugins, as root, in a network and mount namespace that plays the host: nothing of the machine changes.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::scratch::*;
use super::*;

/// A process in a user and network namespace of its own.
struct Pod(Child);

impl Pod {
    fn start() -> Self {
        let child = Command::new("unshare")
            .args(["-U", "-r", "-n", "sleep", "300"])
            .spawn()
            .unwrap();
        let pod = Self(child);
        // It executes sleep when its namespaces are there and its ids are mapped.
        let program = format!("/proc/{}/comm", pod.0.id());
        while fs::read_to_string(&program).unwrap() != "sleep\n" {
            std::thread::sleep(Duration::from_millis(5));
        }
        pod
    }

    fn netns(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    fn ask(&self, program: &[&str]) -> String {
        let pid = self.0.id().to_string();
        let output = Command::new("nsenter")
            .args(["-t", &pid, "-U", "-n"])
            .args(program)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Says so past the capture of test output.
fn skip(test: &str, reason: &str) -> Option<()> {
    let line = format!("skipped: {test}: {reason}\n");
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
    None
}

/// Makes this thread's namespaces a host without any network but loopback. `None`, with the reason printed: not here.
fn host(test: &str) -> Option<()> {
    let needed = [
        "/usr/lib/cni/bridge",
        "/usr/lib/cni/portmap",
        "/usr/sbin/iptables-save",
        "/usr/sbin/ip",
    ];
    if let Some(missing) = needed.into_iter().find(|path| !Path::new(path).exists()) {
        return skip(test, &format!("{missing} is missing"));
    }
    if !nix::unistd::geteuid().is_root() {
        return skip(test, "needs root");
    }
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    for path in ["/var/lib", "/run"] {
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), none).unwrap();
    }
    sh("ip link set lo up");
    Some(())
}

fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Everything on the host that belongs to one pod.
fn left_of_pods() -> BTreeSet<String> {
    let script = format!(
        "ip -o link show type veth | cut -d: -f2; find /var/lib/cni -name '10.*' 2>/dev/null; iptables-save | grep -e {POD} -e 10.209.0.2"
    );
    sh(&script).lines().map(str::to_owned).collect()
}

fn pod_with_a_port() -> PodManifest {
    let mut manifest = manifest(
        vec![request("default", None)],
        vec!["/usr/lib/cni".to_owned()],
    );
    manifest.ports = vec![PortMapping {
        host_ip: None,
        host_port: 18080,
        pod_port: 80,
        protocol: pod::Protocol::Tcp,
    }];
    manifest
}

fn joined(scratch: &Scratch, pod: &Pod) {
    let networks = Networks::load(&pod_with_a_port()).unwrap();
    let joined = networks.add(&scratch.dir, &pod.netns(), None).unwrap();
    assert_eq!(joined[0].addresses, ["10.209.0.2/16".parse().unwrap()]);
    assert!(
        pod.ask(&["ip", "-4", "-o", "addr"])
            .contains("10.209.0.2/16")
    );
    assert!(pod.ask(&["ip", "route"]).contains("default via 10.209.0.1"));
    let there = left_of_pods();
    assert!(there.iter().any(|one| one.contains("veth")), "{there:?}");
    assert!(
        there.iter().any(|one| one.ends_with("/default/10.209.0.2")),
        "{there:?}"
    );
    assert!(
        there.iter().any(|one| one.contains("--dport 18080")),
        "{there:?}"
    );
    assert!(
        there.iter().any(|one| one.contains("MASQUERADE")),
        "{there:?}"
    );
}

#[test]
fn privileged_the_default_network_joins_a_pod_and_leaves_nothing() {
    let Some(()) = host("privileged_the_default_network_joins_a_pod_and_leaves_nothing") else {
        return;
    };
    let scratch = Scratch::new("real");
    let pod = Pod::start();
    joined(&scratch, &pod);
    assert!(del(&scratch.dir, Netns::At(&pod.netns())).is_empty());
    assert_eq!(left_of_pods(), BTreeSet::new());
    assert!(!pod.ask(&["ip", "-o", "link"]).contains("eth0"));
}

#[test]
fn privileged_nothing_is_left_of_a_pod_whose_namespaces_are_gone() {
    let Some(()) = host("privileged_nothing_is_left_of_a_pod_whose_namespaces_are_gone") else {
        return;
    };
    let scratch = Scratch::new("gone");
    let pod = Pod::start();
    joined(&scratch, &pod);
    drop(pod);
    let errors = del(&scratch.dir, Netns::Gone);
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(left_of_pods(), BTreeSet::new());
    assert_eq!(scratch.records(), Vec::<String>::new());
}

#[test]
fn privileged_a_del_that_was_killed_half_way_is_finished() {
    let Some(()) = host("privileged_a_del_that_was_killed_half_way_is_finished") else {
        return;
    };
    let scratch = Scratch::new("half");
    let pod = Pod::start();
    joined(&scratch, &pod);
    drop(pod);
    let record = fs::read(scratch.dir.net().join("default.json")).unwrap();
    assert!(del(&scratch.dir, Netns::Gone).is_empty());
    // The record outlived what it is about.
    fs::write(scratch.dir.net().join("default.json"), record).unwrap();
    let errors = del(&scratch.dir, Netns::Gone);
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(left_of_pods(), BTreeSet::new());
    assert_eq!(scratch.records(), Vec::<String>::new());
}

#[test]
fn privileged_a_refusal_of_a_real_plugin_is_undone_and_explained() {
    let Some(()) = host("privileged_a_refusal_of_a_real_plugin_is_undone_and_explained") else {
        return;
    };
    let scratch = Scratch::new("taken");
    let pod = Pod::start();
    assert!(
        pod.ask(&["sh", "-c", "ip link add eth0 type veth && echo made"])
            .contains("made")
    );
    let networks = Networks::load(&pod_with_a_port()).unwrap();
    let error = networks.add(&scratch.dir, &pod.netns(), None).unwrap_err();
    let said = "cannot join network 'default': plugin /usr/lib/cni/bridge refused ADD: container veth name provided (eth0) already exists";
    assert_eq!(line(&error), said);
    assert_eq!(left_of_pods(), BTreeSet::new());
    assert_eq!(scratch.records(), Vec::<String>::new());
}
