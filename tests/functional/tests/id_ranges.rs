//! The ranges of user ids of root's pods: no two living pods of a machine share one, in whatever data directories they are.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use functional::{Background, Env, Image, Run, User, private_mounts};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;

const FIRST: u32 = 0x7000_0000;
const RANGES: u32 = (0x7ffd_ffff - FIRST + 1) / 65_536;

/// A prepared pod, and others that begin to look for ids at the same place, each in a data directory of its own: where that is
/// follows from the first digits of the pod's id.
struct Rivals {
    env: Env,
    id: String,
    base: u32,
}

impl Rivals {
    fn new(user: User) -> Self {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let words = ["--insecure-options=image", "prepare", "--net=none", &image];
        let app = ["--", "trap", "SIGTERM", "5"];
        let id = env.skua(&[&words[..], &app].concat()).success();
        let id = id.stdout.trim().to_owned();
        let begin = u32::from_str_radix(&id[..8], 16).expect("digits") % RANGES;
        let base = FIRST + begin * 65_536;
        Self { env, id, base }
    }

    fn command(&self, data: &Path, id: &str) -> Command {
        let skua = self.env.command(&[]);
        let mut command = self.env.program(skua.get_program());
        command.arg("--data-dir").arg(data);
        command.args(["--insecure-options=image", "run-prepared", id]);
        command
    }

    /// The first pod.
    fn first(&self) -> Command {
        self.command(&self.env.data(), &self.id)
    }

    /// Another pod of the same beginning. It is there as soon as this returns, and not yet started.
    fn other(&self, number: u32) -> Command {
        let data = self.env.scratch(&format!("data-{number}"));
        let id = format!("{}{number:012x}", &self.id[..24]);
        let (from, to) = (self.env.data(), &data);
        let copied = Command::new("cp").arg("-a").args([&from, to]).status();
        assert!(copied.expect("cp").success());
        let prepared = data.join("pods/prepared");
        fs::rename(prepared.join(&self.id), prepared.join(&id)).expect("another id");
        let manifest = prepared.join(&id).join("pod.json");
        let text = fs::read_to_string(&manifest).expect("a manifest");
        fs::write(&manifest, text.replace(&self.id, &id)).expect("a manifest");
        self.command(&data, &id)
    }
}

/// Starts a pod whose app waits; the pod, and the host's id of its root.
fn started(command: Command) -> (Background, u32) {
    let mut pod = Background::start(command);
    pod.prints("ready");
    let keeper = pod.pid();
    let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children"));
    let children = children.expect("the children of the keeper");
    let child = children.split_whitespace().next().expect("a child");
    let map = fs::read_to_string(format!("/proc/{child}/uid_map")).expect("a map");
    let host = map.split_whitespace().nth(1).expect("an id of the host");
    (pod, host.parse().expect("a number"))
}

#[test]
fn privileged_living_pods_of_two_data_directories_have_no_ids_in_common() {
    let Some(root) =
        User::root("privileged_living_pods_of_two_data_directories_have_no_ids_in_common")
    else {
        return;
    };
    let rivals = Rivals::new(root);
    let (second, third) = (rivals.other(2), rivals.other(3));
    let (first, ids) = started(rivals.first());
    assert_eq!(ids, rivals.base, "nobody else has them");
    let (second, others) = started(second);
    assert_ne!(others, ids);
    // Whatever ends a pod, its ids are free with its last process.
    first.signal(Signal::SIGKILL);
    first.wait();
    let (third, again) = started(third);
    assert_eq!(again, ids);
    for pod in [second, third] {
        pod.signal(Signal::SIGTERM);
        pod.wait().exits(5);
    }
}

/// A `/run` in which nobody has made anything.
fn empty_run() {
    let (kind, none) = (Some("tmpfs"), None::<&str>);
    mount(kind, "/run", kind, MsFlags::empty(), none).expect("a /run");
}

/// What a unit with `ProtectSystem=strict` sees of `/run`.
fn read_only_run() {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    let none = None::<&str>;
    mount(none, "/run", none, flags, none).expect("a read-only /run");
}

#[test]
fn privileged_ids_are_locked_where_nothing_can_be_written() {
    let Some(root) = private_mounts("privileged_ids_are_locked_where_nothing_can_be_written")
    else {
        return;
    };
    empty_run();
    let rivals = Rivals::new(root);
    let (second, third) = (rivals.other(2), rivals.other(3));
    let (first, ids) = started(rivals.first());
    read_only_run();
    let (second, others) = started(second);
    assert_ne!(others, ids);
    let (third, more) = started(third);
    assert!(![ids, others].contains(&more), "{more}");
    for pod in [first, second, third] {
        pod.signal(Signal::SIGTERM);
        pod.wait().exits(5);
    }
}

#[test]
fn privileged_no_pod_starts_where_its_ids_cannot_be_locked() {
    let Some(root) = private_mounts("privileged_no_pod_starts_where_its_ids_cannot_be_locked")
    else {
        return;
    };
    empty_run();
    let rivals = Rivals::new(root);
    read_only_run();
    Run::of(rivals.first())
        .fails(&[
            "cannot lock a range of user ids",
            "/run/skua-ids",
            "Read-only",
        ])
        .complains("RuntimeDirectory=skua-ids");
}

/// Who could open it could keep all ids from root's pods.
#[test]
fn privileged_nobody_but_root_can_open_what_ids_are_locked_by() {
    let Some(root) = private_mounts("privileged_nobody_but_root_can_open_what_ids_are_locked_by")
    else {
        return;
    };
    empty_run();
    let rivals = Rivals::new(root);
    let (pod, _) = started(rivals.first());
    let made = fs::metadata("/run/skua-ids").expect("a directory");
    assert_eq!((made.mode() & 0o7777, made.uid()), (0o700, 0));
    assert_eq!(
        fs::read_dir("/run/skua-ids").expect("a directory").count(),
        0
    );
    pod.signal(Signal::SIGTERM);
    pod.wait().exits(5);
}
