//! The whole posture of an app, collected from outside by what the kernel says of its process, and compared with all that it
//! should be: what is new in it, and nobody decided on, fails here. `SKUA_GOLDEN=write` writes what is found.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use functional::systemd::{line, login, under_systemd};
use functional::{Background, Env, Image, User, golden};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// The flags that the posture is taken with.
const FLAGS: [&[&str]; 2] = [&[], &["--user=app"]];

/// A pod of one app, named `p`, that runs.
struct Lab {
    env: Env,
    pod: Option<Background>,
    stage2: i32,
    /// The caller, by now: what an app has of it is "the caller's".
    keeper: i32,
    /// The id map, as the pod's file `pid` has it.
    map: Value,
}

impl Lab {
    fn new(user: User, flags: &[&str]) -> Self {
        Self::of(user, flags, |env, words| env.command(words))
    }

    /// In a login session of the user.
    fn logged_in(user: User, flags: &[&str]) -> Self {
        Self::of(user, flags, |env, words| login(env, &line(env, words)))
    }

    fn of(user: User, flags: &[&str], command: impl Fn(&Env, &[&str]) -> Command) -> Self {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let first = [
            "--insecure-options=image",
            "run",
            "--name=p",
            "--hostname=p",
            &image,
        ];
        let last = ["--", "sleep", "1000"];
        let words = [&first[..], flags, &last].concat();
        let mut pod = Background::start(command(&env, &words));
        pod.prints("ready");
        let directory = fs::read_dir(env.data().join("pods/run")).expect("pods");
        let directory = directory.flatten().next().expect("a pod").path();
        let running = fs::read_to_string(directory.join("pid")).expect("pid");
        let running: Value = serde_json::from_str(&running).expect("JSON");
        Self {
            stage2: running["pod"]["pid"].as_i64().expect("a pid") as i32,
            keeper: running["keeper"]["pid"].as_i64().expect("a pid") as i32,
            map: running["id_map"].clone(),
            env,
            pod: Some(pod),
        }
    }

    fn app(&self) -> i32 {
        only_child(self.stage2)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(pod) = self.pod.take() {
            // Not to what was started: in a login session that is not the keeper.
            let _ = kill(Pid::from_raw(self.keeper), Signal::SIGTERM);
            pod.wait();
        }
    }
}

fn only_child(pid: i32) -> i32 {
    let children = read(pid, &format!("task/{pid}/children"));
    let mut children = children.split_whitespace().map(str::parse);
    let child = children.next().expect("a child").expect("a number");
    assert_eq!(children.next(), None, "one child only");
    child
}

fn read(pid: i32, file: &str) -> String {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn link(pid: i32, file: &str) -> String {
    let found = fs::read_link(format!("/proc/{pid}/{file}"));
    found.map_or_else(|e| e.to_string(), |target| target.display().to_string())
}

/// Fields of `status` that say what a process may do, and how it was set up.
const STATUS: [&str; 17] = [
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "Threads",
    "TracerPid",
];

/// Everything about a process, by name.
fn posture(lab: &Lab, pid: i32) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let status = read(pid, "status");
    for field in STATUS {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let words = line.unwrap_or("absent").split_whitespace();
        let ids = match field {
            "Uid" => "uids",
            "Gid" | "Groups" => "gids",
            _ => "",
        };
        let words: Vec<String> = words.map(|word| inside(word, &lab.map[ids])).collect();
        found.insert(format!("status {field}"), words.join(" "));
    }
    namespaces(lab, pid, &mut found);
    for file in ["cwd", "root"] {
        found.insert(file.to_owned(), link(pid, file));
    }
    for file in ["personality", "oom_score_adj", "timerslack_ns", "setgroups"] {
        let same = read(pid, file) == read(lab.keeper, file);
        let text = match (file, same) {
            ("oom_score_adj" | "timerslack_ns", true) => "the caller's".to_owned(),
            _ => read(pid, file).trim().to_owned(),
        };
        found.insert(file.to_owned(), text);
    }
    let names = read(pid, "environ");
    let names = names
        .split_terminator('\0')
        .filter_map(|v| v.split('=').next());
    found.insert(
        "environment".to_owned(),
        names.collect::<Vec<_>>().join(" "),
    );
    limits(lab, pid, &mut found);
    found
}

/// An id as the pod sees it, if these extents map it.
fn inside(word: &str, extents: &Value) -> String {
    let extents = extents.as_array().map_or(&[][..], Vec::as_slice);
    let id = word.parse::<u64>().ok();
    let mapped = extents.iter().find_map(|extent| {
        let number = |of: &str| extent[of].as_u64().expect("a number");
        let offset = id?.checked_sub(number("host"))?;
        (offset < number("count")).then(|| format!("pod:{}", number("inside") + offset))
    });
    mapped.unwrap_or_else(|| word.to_owned())
}

fn namespaces(lab: &Lab, pid: i32, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir("/proc/self/ns").expect("namespaces").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let of = |pid| link(pid, &format!("ns/{name}"));
        let whose = match of(pid) {
            own if own == of(lab.keeper) => "the host's",
            own if own == of(lab.stage2) => "the pod's",
            _ => "its own",
        };
        found.insert(format!("namespace {name}"), whose.to_owned());
    }
}

fn limits(lab: &Lab, pid: i32, found: &mut BTreeMap<String, String>) {
    let callers = read(lab.keeper, "limits");
    for (own, callers) in read(pid, "limits").lines().zip(callers.lines()).skip(1) {
        let name = own.get(..26).unwrap_or_default().trim();
        let text = match own == callers {
            true if name == "Max processes" => pids_max(pid),
            true => "the caller's".to_owned(),
            false => own
                .get(26..)
                .unwrap_or_default()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
        };
        found.insert(format!("limit {name}"), text);
    }
}

/// What the cgroup says of the number of processes, written as a limit, where no resource limit says it.
fn pids_max(pid: i32) -> String {
    let cgroups = read(pid, "cgroup");
    let own = cgroups.lines().find_map(|line| line.strip_prefix("0::/"));
    let file = Path::new("/sys/fs/cgroup").join(own.unwrap_or_default());
    let most = fs::read_to_string(file.join("pids.max")).unwrap_or_default();
    let most = most.trim();
    format!("{most} {most} processes")
}

/// Its mounts and their flags. A mount over a file that this kernel does not have is not expected: see [`expected`].
fn mounts(pid: i32, found: &mut BTreeMap<String, String>) {
    for line in read(pid, "mountinfo").lines() {
        let (place, kind) = line.split_once(" - ").expect("mountinfo");
        let mut fields = place.split(' ').skip(4);
        let (target, options) = (
            fields.next().expect("a path"),
            fields.next().expect("options"),
        );
        let propagation = fields.collect::<Vec<_>>().join(",");
        let kind = match kind.split(' ').next().expect("a type") {
            // Where the host has its own nodes is the host's affair.
            "devtmpfs" | "tmpfs" if is_node(target) => "node",
            kind => kind,
        };
        let options: Vec<&str> = options.split(',').filter(|o| *o != "relatime").collect();
        let text = format!("{kind} {} {propagation}", options.join(","));
        let key = format!("mount {target}");
        assert_eq!(
            found.insert(key, text.trim_end().to_owned()),
            None,
            "{target} twice"
        );
    }
}

fn is_node(target: &str) -> bool {
    let name = target.strip_prefix("/dev/");
    name.is_some_and(|name| name != "shm")
}

fn descriptors(pid: i32, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("descriptors")
        .flatten()
    {
        let target = link(pid, &format!("fd/{}", entry.file_name().to_string_lossy()));
        let kind = target.split(':').next().unwrap_or_default().to_owned();
        found.insert(
            format!("descriptor {}", entry.file_name().to_string_lossy()),
            kind,
        );
    }
}

#[test]
fn privileged_the_posture_of_an_app_is_exactly_what_was_decided() {
    if User::root("privileged_the_posture_of_an_app_is_exactly_what_was_decided").is_none() {
        return;
    }
    let mut text = String::new();
    for user in User::all() {
        for flags in FLAGS {
            text.push_str(&section(&Lab::new(user, flags), flags));
        }
    }
    golden::is_as_in("posture.txt", &text);
}

#[test]
fn privileged_a_login_session_gives_an_app_the_same_posture() {
    if !under_systemd("privileged_a_login_session_gives_an_app_the_same_posture") {
        return;
    }
    for user in [User::Subordinate, User::Single] {
        for flags in FLAGS {
            let lab = Lab::logged_in(user, flags);
            let cgroup = read(lab.keeper, "cgroup");
            assert!(cgroup.contains("/session-"), "no login session: {cgroup}");
            let mut found = section(&lab, flags);
            if user == User::Single {
                // One who may map only one id may not give up groups: that of the login stays.
                let own = "status Groups: pod:0\n";
                assert!(found.contains(own), "{found}");
                found = found.replace(own, "status Groups: \n");
            }
            golden::sections_are_as_in("posture.txt", &found);
        }
    }
}

/// All of one app's posture, below a title.
fn section(lab: &Lab, flags: &[&str]) -> String {
    let pid = lab.app();
    let mut found = posture(lab, pid);
    mounts(pid, &mut found);
    descriptors(pid, &mut found);
    let mut text = format!("[{:?} {}]\n", lab.env.user(), flags.join(" "));
    for (name, value) in found {
        let _ = writeln!(text, "{name}: {value}");
    }
    text
}

#[test]
fn privileged_what_enters_has_the_posture_and_the_cgroup_of_the_app() {
    if User::root("privileged_what_enters_has_the_posture_and_the_cgroup_of_the_app").is_none() {
        return;
    }
    for user in User::all() {
        for flags in [&[][..], &["--user=app"], &["--rlimit=nofile=77"]] {
            let lab = Lab::new(user, flags);
            let words = ["enter", "p", "--", "/inspect", "sleep", "1000"];
            let mut entered = lab.env.spawn(&words);
            entered.prints("ready");
            let usher = only_child(entered.pid());
            let program = only_child(usher);
            let (app, own) = (posture(&lab, lab.app()), posture(&lab, program));
            for (name, value) in &app {
                assert_eq!(own.get(name), Some(value), "{user:?} {flags:?} {name}");
            }
            assert_eq!(
                read(program, "cgroup"),
                read(lab.app(), "cgroup"),
                "{user:?}"
            );
            assert_eq!(read(usher, "cgroup"), read(lab.app(), "cgroup"), "{user:?}");
            entered.signal(Signal::SIGTERM);
            entered.wait().exits(143);
        }
    }
}
