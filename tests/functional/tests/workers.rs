//! The workers of a fetch, looked at from outside while a registry keeps them waiting.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use functional::registry::{Action, Fault};
use functional::{Background, Env, Image, Layer, Registry, Run, User, binaries, eventually};
use nix::sys::signal::Signal;

const INSECURE: &str = "--insecure-options=image";

/// A fetch that waits for the rest of a layer, and its two workers.
struct Stalled {
    _registry: Registry,
    env: Env,
    fetch: Background,
    net: Process,
    unpack: Process,
}

impl Stalled {
    fn new(user: User) -> Self {
        let registry = Registry::start();
        let image = Image::new()
            .layer(Layer::new().file("f", 0o644, vec![b'x'; 9000]))
            .build();
        let name = registry.push("i", "1", &image);
        let layer = format!("/blobs/{}", image.layers[0].digest);
        registry.fault(Fault::always(&layer, Action::Stall(20)));
        let env = Env::new(user);
        // What must not reach a worker: a variable, and descriptors that a shell leaves open.
        let words = env.command(&[INSECURE, "fetch", &name]);
        let mut command = env.program("sh");
        command
            .args(["-c", "exec 7</etc 9</etc/passwd; exec \"$@\"", "sh"])
            .arg(words.get_program())
            .args(words.get_args())
            .env("SECRET", "in the environment");
        let fetch = Background::start(command);
        let (mut net, mut unpack) = (None, None);
        eventually("both workers run", || {
            net = Process::child_of(fetch.pid(), "net");
            unpack = Process::child_of(fetch.pid(), "unpack");
            let ready =
                |p: &Option<Process>| p.as_ref().is_some_and(|p| p.status("Seccomp") == "2");
            ready(&net) && ready(&unpack)
        });
        Self {
            _registry: registry,
            env,
            fetch,
            net: net.expect("a network worker"),
            unpack: unpack.expect("an unpack worker"),
        }
    }

    fn workers(&self) -> [&Process; 2] {
        [&self.net, &self.unpack]
    }
}

/// A process by its directory in `/proc`.
struct Process(PathBuf);

impl Process {
    fn child_of(parent: i32, step: &str) -> Option<Self> {
        let wanted = format!("skua-worker\0{step}\0");
        fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
            let process = Self(entry.path());
            let is_child = process.status("PPid") == parent.to_string();
            let command = fs::read_to_string(entry.path().join("cmdline")).ok()?;
            (is_child && command == wanted).then_some(process)
        })
    }

    /// A field of `/proc/<pid>/status`, or nothing.
    fn status(&self, field: &str) -> String {
        let text = fs::read_to_string(self.0.join("status")).unwrap_or_default();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    }

    fn link(&self, name: &str) -> String {
        fs::read_link(self.0.join(name))
            .map(|target| target.display().to_string())
            .unwrap_or_default()
    }

    fn exists(&self) -> bool {
        self.0.exists() && !self.status("State").starts_with('Z')
    }
}

fn own_link(name: &str) -> String {
    Process(PathBuf::from("/proc/self")).link(name)
}

#[test]
fn workers_have_no_new_privileges_and_a_seccomp_filter() {
    for user in User::all() {
        let stalled = Stalled::new(user);
        for worker in stalled.workers() {
            assert_eq!(worker.status("NoNewPrivs"), "1", "{user:?}");
            assert_eq!(worker.status("Seccomp"), "2", "{user:?}");
        }
    }
}

#[test]
fn the_network_worker_has_no_capabilities_and_is_not_root() {
    const NONE: &str = "0000000000000000";
    for user in User::all() {
        let stalled = Stalled::new(user);
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(stalled.net.status(set), NONE, "{user:?} {set}");
        }
        let uids = stalled.net.status("Uid");
        assert!(uids.split('\t').all(|uid| uid != "0"), "{user:?} {uids}");
        if user.is_root() {
            assert_eq!(
                stalled.net.status("Groups"),
                "",
                "no group of root's is left"
            );
        }
    }
}

/// A process of another user cannot stop it: a fetch would wait for it for ever.
#[test]
fn privileged_no_user_can_signal_the_network_worker_of_root() {
    let Some(root) = User::root("privileged_no_user_can_signal_the_network_worker_of_root") else {
        return;
    };
    let stalled = Stalled::new(root);
    let pid = stalled.net.0.file_name().unwrap().to_owned();
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let others = passwd.lines().filter(|line| !line.starts_with("skua:"));
    let users = others.filter_map(|line| line.split(':').nth(2)?.parse().ok());
    for uid in users.chain([65_534]).filter(|uid| *uid != 0) {
        let mut kill = std::process::Command::new("kill");
        kill.arg("-STOP").arg(&pid).uid(uid).gid(uid);
        let tried = kill.output().unwrap();
        assert!(!tried.status.success(), "user {uid} can stop it");
    }
    assert!(stalled.net.status("State").starts_with('S'));
}

#[test]
fn the_unpack_worker_has_six_capabilities_in_a_user_namespace_of_its_own() {
    // CHOWN DAC_OVERRIDE FOWNER FSETID MKNOD SETFCAP
    let six = format!(
        "{:016x}",
        1u64 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 27 | 1 << 31
    );
    for user in User::all() {
        let stalled = Stalled::new(user);
        let unpack = &stalled.unpack;
        for (set, expected) in [
            ("CapEff", six.as_str()),
            ("CapPrm", &six),
            ("CapInh", "0000000000000000"),
            ("CapBnd", "0000000000000000"),
            ("CapAmb", "0000000000000000"),
        ] {
            assert_eq!(unpack.status(set), expected, "{user:?} {set}");
        }
        let map = fs::read_to_string(unpack.0.join("uid_map")).unwrap();
        let first: Vec<&str> = map.split_whitespace().take(3).collect();
        if user.is_root() {
            assert_eq!(first, ["0", "2147352576", "65536"]);
        } else {
            assert_eq!(first, ["0", &user.ids().0.to_string(), "1"], "{user:?}");
        }
        assert!(!unpack.status("Uid").starts_with("0\t"), "{user:?}");
    }
}

#[test]
fn privileged_the_unpack_worker_sees_one_directory_and_no_network() {
    let Some(root) = User::root("the_unpack_worker_sees_one_directory") else {
        return;
    };
    for user in [root, User::Subordinate, User::Single] {
        let stalled = Stalled::new(user);
        let unpack = &stalled.unpack;
        let seen = fs::read_dir(unpack.0.join("root")).unwrap().count();
        assert_eq!(seen, 0, "{user:?}: the layer is empty so far");
        let mounts = fs::read_to_string(unpack.0.join("mountinfo")).unwrap();
        assert_eq!(mounts.lines().count(), 1, "{user:?}: {mounts}");
        for namespace in ["user", "mnt", "net", "ipc", "uts", "cgroup"] {
            let name = format!("ns/{namespace}");
            assert_ne!(unpack.link(&name), own_link(&name), "{user:?} {namespace}");
        }
        let interfaces = fs::read_to_string(unpack.0.join("net/dev")).unwrap();
        assert_eq!(
            interfaces.lines().skip(2).count(),
            1,
            "only lo: {interfaces}"
        );
    }
}

#[test]
fn privileged_workers_inherit_nothing() {
    let Some(root) = User::root("workers_inherit_nothing") else {
        return;
    };
    for user in [root, User::Subordinate] {
        let stalled = Stalled::new(user);
        for worker in stalled.workers() {
            let environment = fs::read_to_string(worker.0.join("environ")).unwrap();
            assert_eq!(environment, "", "{user:?}");
            for entry in fs::read_dir(worker.0.join("fd")).unwrap().flatten() {
                let target = fs::read_link(entry.path()).unwrap().display().to_string();
                let expected = ["socket:", "pipe:", "/dev/null", "anon_inode:"]
                    .iter()
                    .any(|kind| target.starts_with(kind));
                // The unpack worker's root, and a file of the layer that has no name yet.
                let own = target == "/" || target.starts_with("/#");
                assert!(expected || own, "{user:?}: {target}");
            }
            let limits = fs::read_to_string(worker.0.join("limits")).unwrap();
            let core = limits
                .lines()
                .find(|l| l.starts_with("Max core file size"))
                .unwrap();
            assert_eq!(
                core.split_whitespace().nth(4),
                Some("0"),
                "{user:?}: {core}"
            );
        }
    }
}

#[test]
fn workers_die_with_the_coordinator() {
    for user in User::all() {
        let stalled = Stalled::new(user);
        stalled.fetch.signal(Signal::SIGKILL);
        eventually("both workers are gone", || {
            !stalled.net.exists() && !stalled.unpack.exists()
        });
    }
}

#[test]
fn a_dead_worker_is_an_error_and_leaves_nothing() {
    for user in User::all() {
        for step in 0..2 {
            let stalled = Stalled::new(user);
            let pid = stalled.workers()[step]
                .0
                .file_name()
                .unwrap()
                .to_string_lossy()
                .into_owned();
            let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
            nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
            let Stalled {
                env,
                fetch,
                _registry,
                ..
            } = stalled;
            if step == 1 {
                // The network worker notices when it writes; it is waiting for the registry, which ends here.
                drop(_registry);
            }
            // That of the network ends in the middle of a layer, too.
            let (doing, who) = match step {
                0 => ("cannot fetch layer sha256:", "the registry worker"),
                _ => ("cannot unpack layer sha256:", "the unpack worker"),
            };
            let killed = format!("{who} ended without an answer (signal: 9 (SIGKILL))");
            fetch
                .wait()
                .fails(&[doing, "/i:1: ", &killed])
                .complains("hint: the kernel kills so when memory runs out");
            let inbox = env.data().join("store/inbox");
            assert_eq!(fs::read_dir(inbox).unwrap().count(), 0, "{user:?} {step}");
        }
    }
}

#[test]
fn a_fetch_killed_at_any_moment_is_healed_by_the_next_one() {
    let registry = Registry::start();
    let mut image = Image::new();
    for number in 0..4u8 {
        let content = vec![number; 700_000 * usize::from(number)];
        image = image.layer(Layer::new().file(&format!("f{number}"), 0o644, content));
    }
    let image = image.build();
    let name = registry.push("i", "1", &image);
    for user in User::all() {
        let env = Env::new(user);
        for round in 0..12 {
            let fetch = env.spawn(&[INSECURE, "fetch", &name]);
            std::thread::sleep(std::time::Duration::from_millis(round * 9));
            let workers = ["net", "unpack"].map(|step| Process::child_of(fetch.pid(), step));
            fetch.signal(Signal::SIGKILL);
            drop(fetch);
            eventually("no worker is left", || {
                workers.iter().flatten().all(|worker| !worker.exists())
            });
        }
        env.skua(&[INSECURE, "fetch", &name])
            .success()
            .says(image.digest());
        env.skua(&["image", "gc"]).success();
        let inbox = env.data().join("store/inbox");
        assert_eq!(fs::read_dir(inbox).unwrap().count(), 0, "{user:?}");
        env.skua(&[INSECURE, "fetch", &name]).success();
    }
}

/// Another program in its place, as after half of an update: what it says is all there is to know.
#[test]
fn what_a_worker_says_before_it_ends_is_told() {
    for user in User::all() {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let alone = env.scratch("alone");
        fs::create_dir(&alone).unwrap();
        for (program, name) in [("skua", "skua"), ("inspect", "skua-worker")] {
            fs::copy(binaries().join(program), alone.join(name)).unwrap();
        }
        env.give(&alone);
        for (name, who) in [
            (image.as_str(), "the layout worker"),
            ("127.0.0.1:1/a", "the registry worker"),
        ] {
            let mut command = env.program(alone.join("skua"));
            command.args(env.command(&[INSECURE, "fetch", name]).get_args());
            let ended = format!("{who} ended without an answer (exit status: 99): inspect: ");
            Run::of(command).fails(&[&ended, "no such question"]);
        }
    }
}

/// It is no matter of user namespaces, and nothing is left for which there is no worker either. Where the limit is met is for
/// the number to say, and for threads.
#[test]
fn limits_that_leave_no_room_for_a_worker_are_named() {
    let env = Env::new(User::ordinary());
    let image = env.layout(&Image::inspect().build());
    let words = env.command(&[INSECURE, "fetch", &image]);
    let mut met = 0;
    for files in 8..20 {
        let mut command = env.program("sh");
        let limited = format!("ulimit -n {files}; exec \"$@\"");
        command
            .args(["-c", &limited, "sh"])
            .arg(words.get_program());
        command.args(words.get_args());
        let run = Run::of(command);
        if run.status.success() {
            break;
        }
        let run = run.fails(&["Too many open files"]);
        let run = run.complains("hint: this process may have too few open files: see 'ulimit -n'");
        assert!(!run.stderr.contains("namespace"), "{}", run.report());
        met += usize::from(run.stderr.contains("cannot start a worker"));
        let inbox = fs::read_dir(env.data().join("store/inbox"));
        assert_eq!(inbox.map_or(0, Iterator::count), 0, "{}", run.report());
    }
    assert!(met > 0);
}

#[test]
fn without_the_program_of_workers_a_fetch_says_what_is_missing_and_a_pod_still_runs() {
    for user in User::all() {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let alone = env.scratch("alone");
        fs::create_dir(&alone).unwrap();
        for program in ["skua", "skua-stage1", "skua-stage2"] {
            fs::copy(binaries().join(program), alone.join(program)).unwrap();
        }
        env.give(&alone);
        let skua = |words: &[&str]| {
            let mut command = env.program(alone.join("skua"));
            command.args(env.command(words).get_args());
            Run::of(command)
        };
        skua(&[INSECURE, "fetch", &image]).fails(&["alone/skua-worker, which belongs beside skua"]);
        env.skua(&[INSECURE, "fetch", &image]).success();
        let words = ["run", "--net=none", "--pull=never", &image];
        skua(&[&[INSECURE][..], &words, &["--", "exit", "3"]].concat()).exits(3);
    }
}
