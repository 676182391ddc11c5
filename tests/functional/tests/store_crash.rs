//! A fetch that is killed at any moment, or whose system calls fail: the next fetch, collection and run succeed, and the store
//! is that of a fetch that nothing happened to.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use functional::{
    Built, Entry, Env, Image, Kind, Layer, Registry, Run, User, difference, missing_program, skip,
    store_snapshot,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        bytes.extend(state.to_be_bytes());
    }
    bytes
}

/// One layer that is kept while it comes, one of many files, one with everything else.
fn image() -> Built {
    let mut many = Layer::new().directory("many");
    for at in 0..60 {
        many = many.file(&format!("many/{at}"), 0o644, noise(at * 40));
    }
    let odd = Layer::new()
        .directory("odd")
        .entry(Entry::new("odd/owned", Kind::File(b"o".to_vec())).owner(7, 8))
        .entry(Entry::new("odd/fifo", Kind::Fifo))
        .symlink("odd/link", "owned")
        .hardlink("odd/second", "odd/owned")
        .file("many/.wh.1", 0o644, "")
        .file("odd/.wh..wh..opq", 0o644, "");
    Image::inspect()
        .layer(Layer::new().file("large", 0o644, noise(3 << 20)))
        .layer(many)
        .layer(odd)
        .build()
}

struct Lab {
    _registry: Registry,
    name: String,
    env: Env,
    clean: BTreeMap<String, String>,
    empty: BTreeMap<String, String>,
    /// How long a fetch takes.
    length: Duration,
}

impl Lab {
    fn new(user: User) -> Self {
        let registry = Registry::start();
        let name = registry.push("i", "1", &image());
        let env = Env::new(user);
        let mut lab = Self {
            _registry: registry,
            name,
            env,
            clean: BTreeMap::new(),
            empty: BTreeMap::new(),
            length: Duration::ZERO,
        };
        let start = Instant::now();
        lab.skua(&["fetch", &lab.name]).success();
        lab.length = start.elapsed();
        lab.skua(&["image", "gc"]).success();
        lab.clean = store_snapshot(&lab.env);
        lab.clear();
        lab.empty = store_snapshot(&lab.env);
        lab
    }

    fn skua(&self, words: &[&str]) -> Run {
        self.env
            .skua(&[&["--insecure-options=image"], words].concat())
    }

    fn clear(&self) {
        self.skua(&["image", "rm", &self.name]).success();
    }

    /// Whatever happened: everything works, and nothing shows that it happened.
    fn check(&self, what: &str) {
        let listed = self.skua(&["image", "list"]).success();
        let complete = listed.stdout.contains(&self.name);
        assert!(
            !complete || !listed.stdout.contains("incomplete"),
            "{what}\n{}",
            listed.report()
        );
        let fetched = self.skua(&["fetch", &self.name]);
        assert!(fetched.code() == Some(0), "{what}\n{}", fetched.report());
        let gc = self.skua(&["image", "gc"]);
        assert!(gc.code() == Some(0), "{what}\n{}", gc.report());
        let found = store_snapshot(&self.env);
        assert!(
            found == self.clean,
            "{what}\n{:#?}",
            difference(&self.clean, &found)
        );
        let run = self.skua(&["run", "--rm", &self.name, "--", "exit", "7"]);
        assert!(run.code() == Some(7), "{what}\n{}", run.report());
        self.clear();
        let left = store_snapshot(&self.env);
        assert!(
            left == self.empty,
            "{what}\n{:#?}",
            difference(&self.empty, &left)
        );
    }
}

/// How often something is tried: as the variable says, else so often.
fn times(variable: &str, otherwise: usize) -> usize {
    let given = std::env::var(variable).ok();
    given.map_or(otherwise, |text| text.parse().expect("a number"))
}

fn children(pid: i32) -> Vec<i32> {
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let text = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        found.extend(
            text.split_ascii_whitespace()
                .filter_map(|word| word.parse::<i32>().ok()),
        );
    }
    found
}

/// How many stores are tried at once: a fetch waits for the disk more than it works.
const LABS: usize = 4;

/// Kills the coordinator, or one of its workers, at moments spread over the fetch and a little beyond.
fn survive_kills(user: User, kills: usize) {
    std::thread::scope(|scope| {
        for lab in 0..LABS {
            let share = (kills + lab) / LABS;
            scope.spawn(move || survive_kills_in(&Lab::new(user), lab as u64 + 1, share));
        }
    });
}

fn survive_kills_in(lab: &Lab, seed: u64, kills: usize) {
    let mut state = seed;
    for at in 0..kills {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(9);
        let share = (state >> 33) as f64 / f64::from(u32::MAX >> 1);
        let delay = lab.length.mul_f64(share * 1.1);
        let fetch = lab
            .env
            .spawn(&["--insecure-options=image", "fetch", &lab.name]);
        std::thread::sleep(delay);
        let victims = match at % 3 {
            0 => children(fetch.pid()),
            _ => Vec::new(),
        };
        let victim = victims.get(at % victims.len().max(1)).copied();
        let victim = Pid::from_raw(victim.unwrap_or(fetch.pid()));
        // It may have ended by itself.
        let _ = kill(victim, Signal::SIGKILL);
        if victim.as_raw() == fetch.pid() {
            drop(fetch);
        } else {
            let run = fetch.wait();
            assert!(matches!(run.code(), Some(0 | 254)), "{}", run.report());
        }
        lab.check(&format!("kill {at} of {seed} after {delay:?}"));
    }
}

#[test]
fn a_fetch_of_an_ordinary_user_that_is_killed_at_any_moment_leaves_no_trace() {
    survive_kills(User::ordinary(), times("SKUA_TEST_KILLS", 200) / 2);
}

#[test]
fn privileged_a_fetch_of_root_that_is_killed_at_any_moment_leaves_no_trace() {
    if let Some(root) = User::root("store_crash") {
        survive_kills(root, times("SKUA_TEST_KILLS", 200) / 2);
    }
}

/// System calls that change something or may be refused, each with an error that it may give.
const CALLS: [(&str, &str); 25] = [
    ("openat", "EMFILE"),
    ("openat2", "EIO"),
    ("mkdir", "ENOSPC"),
    ("mkdirat", "ENOSPC"),
    ("write", "ENOSPC"),
    ("pwrite64", "EIO"),
    ("rename", "ENOSPC"),
    ("renameat2", "EIO"),
    ("fsync", "EIO"),
    ("syncfs", "EIO"),
    ("flock", "ENOLCK"),
    ("fchown", "EDQUOT"),
    ("fchmod", "EPERM"),
    ("symlinkat", "ENOSPC"),
    ("linkat", "EMLINK"),
    ("mknodat", "ENOSPC"),
    ("fsetxattr", "ENOSPC"),
    ("utimensat", "EIO"),
    ("unlink", "EIO"),
    ("unlinkat", "EIO"),
    ("pipe2", "EMFILE"),
    ("socketpair", "ENFILE"),
    ("recvmsg", "ENOMEM"),
    ("clone", "EAGAIN"),
    ("unshare", "ENOSPC"),
];

#[test]
fn privileged_a_fetch_whose_system_calls_fail_ends_with_an_error_and_leaves_no_trace() {
    let test = "a_fetch_whose_system_calls_fail";
    let Some(root) = User::root(test) else {
        return;
    };
    if let Some(program) = missing_program(&["strace"]) {
        return skip(test, &format!("{program} is not installed"));
    }
    let lab = Lab::new(root);
    let (mut failed, mut ended_well) = (0, 0);
    for round in 1..=times("SKUA_TEST_FAULTS", 2) {
        for (at, (call, error)) in CALLS.iter().enumerate() {
            // The first calls of a process are the loader's and the library's.
            let nth = 1 + (at + round * 5) % (3 * round);
            let run = Run::of(with_fault(
                &lab,
                &format!("{call}:error={error}:when={nth}"),
            ));
            let what = format!("{call} {error} {nth}\n{}", run.report());
            match run.code() {
                Some(0) => ended_well += 1,
                Some(254) => {
                    failed += 1;
                    let said = run.stderr.contains("skua: ");
                    assert!(said || *call == "write", "{what}");
                }
                // The library gives up when it cannot have memory or a descriptor at its start.
                _ => failed += 1,
            }
            assert!(!run.stderr.contains("panicked"), "{what}");
            lab.check(&what);
        }
    }
    assert!(failed > ended_well, "{failed} failed, {ended_well} did not");
}

fn with_fault(lab: &Lab, inject: &str) -> Command {
    let call = inject.split(':').next().unwrap_or_default();
    let mut command = lab.env.program("strace");
    command
        .args(["--follow-forks", "--seccomp-bpf", "--quiet=all"])
        .args(["--output=/dev/null", "-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={inject}")])
        .arg(functional::binaries().join("skua"))
        .arg("--data-dir")
        .arg(lab.env.data())
        .arg("--config-dir")
        .arg(lab.env.config())
        .args(["--insecure-options=image", "fetch", &lab.name])
        .stdin(Stdio::null());
    command
}
