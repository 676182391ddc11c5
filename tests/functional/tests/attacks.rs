//! Attacks on the runtime itself, by class: what an image, an app of a running pod or an odd caller tries, and that it comes
//! to nothing. Those on one part of the sandbox stand beside its tests: `users.rs`, `confinement.rs`, `volumes.rs`,
//! `sandbox.rs`, `terminal.rs`, `signals.rs`, `traced.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use functional::{
    Background, Doomed, Env, Image, Layer, Run, User, binaries, eventually, lax, missing_program,
    sha256, skip,
};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::{Value, json};

/// An image, and pods of it.
struct Lab {
    env: Env,
    image: String,
}

impl Lab {
    fn new(user: User, image: &Image) -> Self {
        let env = Env::new(user);
        let image = env.layout(&image.build());
        Self { env, image }
    }

    fn words<'a>(&'a self, pod: &[&'a str], app: &[&'a str], words: &[&'a str]) -> Vec<&'a str> {
        let all = [
            &[lax(pod), "run"],
            pod,
            &[self.image.as_str()],
            app,
            &["--"],
            words,
        ];
        all.concat()
    }

    fn run(&self, pod: &[&str], app: &[&str], words: &[&str]) -> Run {
        self.env.skua(&self.words(pod, app, words))
    }

    fn spawn(&self, pod: &[&str], app: &[&str], words: &[&str]) -> Background {
        let mut pod = self.env.spawn(&self.words(pod, app, words));
        pod.prints("ready");
        pod
    }

    /// What pid 1 of the only running pod is outside.
    fn stage2(&self) -> i32 {
        let entries = fs::read_dir(self.env.data().join("pods/run")).expect("pods");
        let pod = entries.flatten().next().expect("a pod").path();
        let pid = fs::read_to_string(pod.join("pid")).expect("pid");
        let pid: Value = serde_json::from_str(&pid).expect("JSON");
        pid["pod"]["pid"].as_i64().expect("a pid") as i32
    }
}

/// Landlock keeps an app from every process outside its domain: what else keeps it from them is seen without it.
const WITHOUT_LANDLOCK: &str = "--insecure-options=image,landlock";

/// The last line that a pod has printed, which is JSON.
fn answer(run: &Run) -> Value {
    let line = run.stdout.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}\n{}", run.report()))
}

/// Copies of the programs that belong to the user: what the user's pod could overwrite, if it could.
fn own_programs(env: &Env) -> PathBuf {
    let directory = env.scratch("libexec");
    fs::create_dir(&directory).expect("a directory");
    for name in ["skua-stage1", "skua-stage2"] {
        fs::copy(binaries().join(name), directory.join(name)).expect("copy");
    }
    env.give(&directory);
    directory
}

fn digests(directory: &Path) -> Vec<String> {
    ["skua-stage1", "skua-stage2"]
        .iter()
        .map(|name| sha256(&fs::read(directory.join(name)).expect("a program")))
        .collect()
}

/// CVE-2019-5736. The image's program makes the kernel execute stage2 once more, as an app that may be looked at: through
/// that handle the running app would write to the file, as soon as nobody executes it.
#[test]
fn the_runtime_cannot_be_overwritten_through_proc_self_exe() {
    let image =
        Image::inspect().layer(Layer::new().file("script", 0o755, "#!/proc/self/exe run\n"));
    for user in User::all() {
        let lab = Lab::new(user, &image);
        let programs = own_programs(&lab.env);
        let before = digests(&programs);
        let libexec = format!("--libexec-dir={}", programs.display());
        let mut words = lab.words(&["--name=p"], &[], &["overwrite", "/stop"]);
        words[0] = WITHOUT_LANDLOCK;
        let mut pod = lab.env.spawn(&[&[libexec.as_str()][..], &words].concat());
        pod.prints("ready");
        // It is stage2 for less than a millisecond each time, until it finds that it was not called as stage2.
        for _ in 0..300 {
            if pod.output().contains("held") {
                break;
            }
            lab.env
                .skua(&[&libexec, "enter", "p", "--", "/script"])
                .exits(254);
        }
        lab.env
            .skua(&[&libexec, "enter", "p", "--", "/proc/self/exe"])
            .exits(254);
        // The pod may end before what entered has.
        lab.env
            .skua(&["enter", "p", "--", "/inspect", "write", "/stop", ""]);
        let run = pod.wait().success();
        let found = answer(&run);
        assert_ne!(found["opened"], 0, "{user:?}: no handle to write through");
        assert_eq!(found["written"], false, "{user:?}: {}", run.report());
        // Not only because pid 1 executes it for as long as the pod lives.
        let refused: Vec<&String> = found["errors"]
            .as_object()
            .expect("errors")
            .keys()
            .collect();
        let busy = refused.iter().any(|error| error.contains("Text file busy"));
        assert!(!busy, "{user:?}: {refused:?}");
        assert_eq!(digests(&programs), before, "{user:?}");
    }
}

/// CVE-2025-31133, CVE-2025-52565: what hides files of the kernel is not the image's `/dev/null`, and a terminal is not
/// the image's `/dev/console`.
#[test]
fn what_the_image_has_in_dev_is_not_mounted_over_what_is_masked() {
    let target = "/proc/sys/kernel/core_pattern";
    let layer = Layer::new()
        .symlink("dev/null", target)
        .symlink("dev/console", target)
        .symlink("dev/tty", target)
        .symlink("dev/pts", "/proc/sys/kernel")
        .symlink("dev/shm", "/proc/sys");
    let before = fs::read_to_string(target).expect("core_pattern");
    for user in User::all() {
        let lab = Lab::new(user, &Image::inspect().layer(layer.clone()));
        for (words, field, expected) in [
            (&["write", target, "|/x"][..], "ok", json!(false)),
            (&["read", "/proc/keys"], "text", json!("")),
            (&["read", "/proc/timer_list"], "text", json!("")),
            (&["stat", "/dev/null"], "type", json!("character-device")),
            (&["stat", "/dev/pts"], "type", json!("directory")),
        ] {
            let found = lab.run(&[], &[], words).success().json();
            let hidden = found["ok"] == false && field == "text";
            assert!(
                hidden || found[field] == expected,
                "{user:?} {words:?}: {found}"
            );
        }
    }
    assert_eq!(fs::read_to_string(target).expect("core_pattern"), before);
}

/// CVE-2021-30465, CVE-2024-45310: two pods share a volume, and an app of one makes the place at which the other mounts a
/// link to the host, by turns.
#[test]
fn a_place_that_is_swapped_for_a_link_leads_nowhere() {
    for user in User::all() {
        let lab = Lab::new(user, &Image::inspect());
        let shared = lab.env.scratch("shared");
        let outside = lab.env.scratch("outside");
        let data = lab.env.scratch("data");
        for directory in [&shared, &outside, &data] {
            fs::create_dir(directory).expect("a directory");
            lab.env.give(directory);
        }
        fs::write(data.join("mark"), "x").expect("write");
        lab.env.give(&data);
        let share = format!("--volume={}:/shared", shared.display());
        let place = format!("--volume={}:/shared/place/below", data.display());
        let target = outside.display().to_string();
        let attacker = lab.spawn(&[], &[&share], &["flip", "/shared/place", &target]);
        let attacker = attacker.may_take(Duration::from_secs(600));
        // Runs that found the link, or that noticed that the place was not the same all the time.
        let mut met = 0;
        for _ in 0..300 {
            let run = lab.run(&["--rm"], &[&share, &place], &["mounts"]);
            let entries = fs::read_dir(&outside).expect("a directory").count();
            assert_eq!(entries, 0, "{user:?}: something was made on the host");
            if run.code() == Some(254) {
                met += 1;
            } else {
                let mounts = run.success().json();
                let below = mounts
                    .as_array()
                    .expect("mounts")
                    .iter()
                    .filter_map(|mount| {
                        let at = mount["target"].as_str().unwrap_or_default();
                        (at.ends_with("/below") && !at.starts_with("/shared/")).then_some(at)
                    });
                for at in below {
                    assert!(at.starts_with(&target), "{user:?}: {mounts}");
                    met += 1;
                }
            }
            if met >= 6 {
                break;
            }
        }
        assert!(met >= 6, "{user:?}: the link was hardly ever met");
        attacker.signal(Signal::SIGTERM);
        attacker.wait();
    }
}

/// Inside of a pod such a link leads nowhere; outside it may be somebody's.
#[test]
fn a_link_in_a_volume_is_not_replaced_by_the_place_of_another() {
    for user in User::all() {
        let lab = Lab::new(user, &Image::inspect());
        let shared = lab.env.scratch("shared");
        fs::create_dir(&shared).expect("a directory");
        let (link, outside) = (shared.join("link"), shared.join("file"));
        fs::write(&outside, "x").expect("write");
        std::os::unix::fs::symlink(&outside, &link).expect("a link");
        lab.env.give(&shared);
        let volumes =
            ["/data", "/data/link"].map(|place| format!("--volume={}:{place}", shared.display()));
        let volumes = volumes.each_ref().map(String::as_str);
        lab.run(&[], &volumes, &["exit", "0"])
            .fails(&["on /data/link of app layout: File exists"])
            .complains("a symbolic link in a volume is there");
        assert_eq!(fs::read_link(&link).expect("the link"), outside);
    }
}

/// Everything that an app can signal is in its pod: the keeper lives, and tells how it ended.
#[test]
fn the_keeper_cannot_be_signalled_from_inside() {
    for user in User::all() {
        let lab = Lab::new(user, &Image::inspect());
        for network in ["--net=none", "--net=host"] {
            let pid = std::process::id().to_string();
            for words in [&["kill", "-1", "9"][..], &["kill", &pid, "9"]] {
                let run = lab.run(&[network], &[], words).success();
                let found = run.json();
                // Nobody else is there, but pid 1, which is not killed.
                assert_eq!(found["errno"], "ESRCH", "{user:?} {words:?}: {found}");
            }
        }
    }
}

/// The keyring of the caller's session, in which a login or Kerberos keeps keys, is not that of an app or of what enters.
#[test]
fn the_system_calls_of_keys_are_refused_in_apps_and_in_what_enters() {
    let lab = Lab::new(User::ordinary(), &Image::inspect());
    let pod = lab.spawn(&["--name=p"], &[], &["trap", "SIGTERM", "0"]);
    for call in [libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key] {
        let call = call.to_string();
        let words = ["syscall", call.as_str(), "0", "-3"];
        let own = lab.run(&[], &[], &words).success().json();
        let entered = lab
            .env
            .skua(&[&["enter", "p", "--", "/inspect"], &words[..]].concat())
            .success()
            .json();
        assert_eq!(own, entered);
        assert_eq!(own["ok"], false, "{own}");
    }
    pod.signal(Signal::SIGTERM);
    pod.wait().success();
}

/// Memory of a process, in KiB.
fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// A flood of output, through the caller's pipe and through a terminal that the keeper relays, needs no memory.
#[test]
fn a_flood_of_output_does_not_grow_the_keeper_or_pid_1() {
    const LIMIT: u64 = 16 << 10;
    if let Some(program) = missing_program(&["script"]) {
        return skip(
            "a_flood_of_output_does_not_grow_the_keeper_or_pid_1",
            program,
        );
    }
    let lab = Lab::new(User::ordinary(), &Image::inspect());
    for interactive in [false, true] {
        let flags: &[&str] = if interactive { &["--interactive"] } else { &[] };
        let words = lab.words(flags, &[], &["flood", "1000000000000"]);
        let command = lab.env.command(&words);
        let line: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| format!("'{}'", word.to_str().expect("text")))
            .collect();
        let line = format!("exec {} >/dev/null", line.join(" "));
        let mut outer = match interactive {
            true => {
                let line = line.replace(" >/dev/null", "");
                let mut script = lab.env.program("script");
                script.args(["-qec", &line, "/dev/null"]);
                script
            }
            false => {
                let mut sh = lab.env.program("sh");
                sh.args(["-c", &line]);
                sh
            }
        };
        outer.stdout(std::process::Stdio::null());
        let mut outer = outer.spawn().expect("start");
        let running = lab.env.data().join("pods/run");
        eventually("the pod runs", || {
            let entries = fs::read_dir(&running).into_iter().flatten().flatten();
            entries
                .map(|e| e.path().join("pid"))
                .any(|pid| pid.exists())
        });
        let stage2 = lab.stage2();
        let (flood, keeper) = (Doomed(Pid::from_raw(stage2)), parent(stage2));
        let written = || {
            let io = fs::read_to_string(format!("/proc/{}/io", child(stage2))).unwrap_or_default();
            let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
            line.and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
        };
        eventually("64 MiB are written", || written() > 64 << 20);
        for pid in [keeper, stage2] {
            let found = resident(pid);
            assert!(
                found > 0 && found < LIMIT,
                "{pid}: {found} KiB, interactive: {interactive}"
            );
        }
        lab.env.skua(&["list"]).success();
        drop(flood);
        let _ = outer.wait();
    }
}

fn parent(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    line.and_then(|line| line.trim().parse().ok())
        .expect("a parent")
}

fn child(pid: i32) -> i32 {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    let first = children.split_whitespace().next();
    first.and_then(|pid| pid.parse().ok()).unwrap_or(0)
}

/// What the caller has is not what skua keeps: it is bounded by what the kernel lets a caller have.
#[test]
fn a_caller_with_a_huge_environment_and_command_line_gets_what_others_get() {
    let lab = Lab::new(User::ordinary(), &Image::inspect());
    let long = "x".repeat(100_000);
    let mut arguments = vec!["exit", "7"];
    arguments.extend(std::iter::repeat_n("argument", 20_000));
    let mut command = lab.env.command(&lab.words(&[], &[], &arguments));
    for number in 0..10 {
        command.env(format!("VARIABLE_{number}"), &long);
    }
    Run::of(command).exits(7);
}

/// Without `/proc` nothing can be verified: an error before anything is made, and nothing is left.
#[test]
fn privileged_a_host_without_proc_gets_an_error_and_nothing_is_left() {
    let test = "privileged_a_host_without_proc_gets_an_error_and_nothing_is_left";
    let Some(user) = User::root(test) else {
        return;
    };
    let lab = Lab::new(user, &Image::inspect());
    lab.run(&["--rm"], &[], &["exit", "0"]).success();
    let command = lab.env.command(&lab.words(&["--rm"], &[], &["exit", "0"]));
    let mut hidden = Command::new("unshare");
    hidden.args(["--mount", "--propagation=private", "sh", "-c"]);
    hidden
        .arg("mount -t tmpfs none /proc && exec \"$@\"")
        .arg("sh");
    hidden.arg(command.get_program()).args(command.get_args());
    Run::of(hidden).fails(&["/proc"]);
    let left = lab.env.skua(&["list", "--format=json"]).success().json();
    let left = left["pods"].as_array().expect("pods").clone();
    let running = left.iter().any(|pod| pod["state"] == "running");
    assert!(!running, "{left:?}");
}
