//! What the flags of the sandbox do, asked and tried from inside, for every kind of caller; and what is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use functional::{Background, Env, Image, Run, User, binaries, eventually, skip};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

struct Lab {
    env: Env,
    image: String,
}

impl Lab {
    fn new(user: User) -> Self {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        Self { env, image }
    }

    fn run(&self, pod: &[&str], app: &[&str], words: &[&str]) -> Run {
        let start = ["--insecure-options=image", "run"];
        let image = [self.image.as_str()];
        let all = [&start[..], pod, &image, app, &["--"], words];
        self.env.skua(&all.concat())
    }

    fn ask(&self, pod: &[&str], app: &[&str], words: &[&str]) -> Value {
        self.run(pod, app, words).success().json()
    }

    fn text(&self, pod: &[&str], app: &[&str], path: &str) -> String {
        let read = self.ask(pod, app, &["read", path]);
        let text = read["text"].as_str().unwrap_or_else(|| panic!("{read}"));
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

fn every_user(test: impl Fn(&Lab)) {
    for user in User::all() {
        test(&Lab::new(user));
    }
}

#[test]
fn an_app_begins_with_the_mask_nice_value_and_oom_score_asked_for() {
    every_user(|lab| {
        let flags = ["--umask=027", "--nice=7", "--oom-score-adj=500"];
        assert_eq!(lab.ask(&[], &flags, &["status"])["Umask"], "0027");
        assert_eq!(lab.text(&[], &flags, "/proc/self/oom_score_adj"), "500");
        let stat = lab.text(&[], &flags, "/proc/self/stat");
        let after_name = stat.rsplit_once(')').unwrap().1;
        assert_eq!(after_name.split_whitespace().nth(16), Some("7"), "{stat}");
    });
}

#[test]
fn a_score_below_the_callers_cannot_be_had_and_nothing_starts() {
    every_user(|lab| {
        let flags = ["--oom-score-adj=-500"];
        lab.run(&[], &flags, &["print", "started"])
            .fails(&["oom_score_adj to -500"])
            .complains("OOMScoreAdjust=");
    });
    let lab = Lab::new(User::ordinary());
    lab.run(&[], &["--nice=-5"], &["print", "started"])
        .fails(&["nice value to -5"])
        .complains("Nice=");
}

#[test]
fn shared_memory_has_the_size_asked_for() {
    every_user(|lab| {
        let mounts = lab.ask(&["--shm-size=1M"], &[], &["mounts"]);
        let list = mounts.as_array().unwrap();
        let shm = list.iter().find(|m| m["target"] == "/dev/shm").unwrap();
        assert!(shm["super"].to_string().contains("size=1024k"), "{shm}");
    });
}

#[test]
fn kernel_parameters_of_the_pods_namespaces_are_set() {
    every_user(|lab| {
        for (name, value) in [
            ("net.ipv4.ip_unprivileged_port_start", "80"),
            ("kernel.sem", "250 32000 100 99"),
            ("fs.mqueue.msg_max", "11"),
        ] {
            let flag = format!("--sysctl={name}={value}");
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            assert_eq!(lab.text(&[&flag], &[], &path), value, "{name}");
            assert_ne!(lab.text(&[], &[], &path), value, "{name}");
        }
    });
}

#[test]
fn kernel_parameters_of_the_host_are_refused() {
    let lab = Lab::new(User::ordinary());
    for bad in [
        "kernel.core_pattern=x",
        "vm.swappiness=1",
        "kernel.hostname=x",
    ] {
        let flag = format!("--sysctl={bad}");
        lab.run(&[&flag], &[], &["exit", "0"]).fails(&["sysctl"]);
    }
    let flag = "--sysctl=net.ipv4.ip_forward=1";
    lab.run(&["--net=host", flag], &[], &["exit", "0"])
        .fails(&["net.ipv4.ip_forward", "host's network"]);
    for bad in [
        "net.ipv4.no_such=1",
        "fs.mqueue.msg_max=many",
        "fs.mqueue.msg_max=0",
    ] {
        let flag = format!("--sysctl={bad}");
        lab.run(&[&flag], &[], &["print", "started"])
            .fails(&[bad.split('=').next().unwrap()]);
    }
}

#[test]
fn new_user_namespaces_are_off_in_the_kernel_too() {
    for user in User::all() {
        // With one id, stage2 itself needs one for an app that is not user 0.
        if user == User::Single || (user == User::Caller && !user.is_root()) {
            continue;
        }
        let lab = Lab::new(user);
        let path = "/proc/sys/user/max_user_namespaces";
        assert_eq!(lab.text(&[], &[], path), "0", "{user:?}");
        let profile = lab
            .env
            .write("all.json", r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#);
        let flag = format!("--seccomp={}", profile.display());
        assert_ne!(lab.text(&[], &[&flag], path), "0", "{user:?}");
    }
}

#[test]
fn one_path_is_unmasked_and_the_others_stay_hidden() {
    every_user(|lab| {
        let flag = ["--unmask=/proc/interrupts"];
        assert_ne!(lab.text(&[], &flag, "/proc/interrupts"), "");
        assert_eq!(lab.text(&[], &[], "/proc/interrupts"), "");
        assert_eq!(lab.text(&[], &flag, "/proc/timer_list"), "");
    });
    let lab = Lab::new(User::ordinary());
    lab.run(&[], &["--unmask=/proc/nothing"], &["exit", "0"])
        .fails(&["cannot unmask /proc/nothing"]);
    let prepared = lab.env.skua(&[
        "--insecure-options=image",
        "prepare",
        &lab.image,
        "--unmask=/proc/keys",
    ]);
    let id = prepared.success().stdout;
    let record = lab.env.skua(&["cat-manifest", id.trim()]).success().json();
    assert_eq!(record["apps"][0]["unmasked"], json!(["/proc/keys"]));
}

#[test]
fn a_device_is_the_hosts_and_can_be_read_and_written() {
    every_user(|lab| {
        let flag = ["--device=/dev/zero:/dev/nothing/else"];
        let stat = lab.ask(&[], &flag, &["stat", "/dev/nothing/else"]);
        assert_eq!(stat["type"], "character-device", "{stat}");
        assert_eq!(stat["device"], json!([1, 5]), "{stat}");
        let write = lab.ask(&[], &flag, &["append", "/dev/nothing/else", "x"]);
        assert_eq!(write["ok"], true, "{write}");
    });
}

#[test]
fn privileged_a_device_gives_no_more_access_than_asked_for() {
    let test = "privileged_a_device_gives_no_more_access_than_asked_for";
    let Some(user) = User::root(test) else { return };
    let lab = Lab::new(user);
    for (flag, path, ok) in [
        ("--device=/dev/zero:/dev/a:r", "/dev/a", false),
        ("--device=/dev/zero:/dev/a:w", "/dev/a", true),
    ] {
        let write = lab.ask(&[], &[flag], &["append", path, "x"]);
        assert_eq!(write["ok"], ok, "{flag}: {write}");
        let chmod = lab.ask(&[], &[flag], &["chmod", path, "0o666"]);
        assert_eq!(chmod["errno"], "EPERM", "{flag}: {chmod}");
    }
}

#[test]
fn a_device_that_cannot_be_given_as_asked_starts_nothing() {
    let lab = Lab::new(User::ordinary());
    for (flag, part) in [
        ("--device=/dev/zero:/dev/a:r", "ordinary user"),
        ("--device=/etc/passwd:/dev/a", "is not a device"),
        ("--device=/dev/no-such-device", "/dev/no-such-device"),
        ("--device=/dev/zero:/dev/null", "the pod's own"),
        ("--device=/dev/zero:/dev/pts/9", "the pod's own"),
        ("--device=/dev/zero:rwm", "'m' cannot be given"),
    ] {
        lab.run(&[], &[flag], &["print", "started"]).fails(&[part]);
    }
    // Not one that this user may not use.
    let closed = ["/dev/mem", "/dev/kmsg", "/dev/console", "/dev/vda"];
    let closed = closed.into_iter().find(|path| {
        fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o006 != 0o006)
    });
    if let Some(path) = closed {
        let flag = format!("--device={path}");
        lab.run(&[], &[&flag], &["print", "started"])
            .fails(&[path, "Permission denied"]);
    }
}

#[test]
fn labels_of_a_security_module_that_is_not_in_force_are_refused() {
    let lab = Lab::new(User::ordinary());
    let apparmor = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    if !apparmor.is_ok_and(|text| text.starts_with('Y')) {
        let run = lab.run(&[], &["--apparmor=some-profile"], &["print", "started"]);
        run.fails(&["some-profile", "AppArmor is not in force"]);
    }
    if Path::new("/sys/fs/selinux/enforce").exists() {
        skip("labels_of_a_security_module", "SELinux is in force here");
    } else {
        lab.run(&[], &["--selinux-label=u:r:t:s0"], &["print", "started"])
            .fails(&["u:r:t:s0", "SELinux is not in force"]);
    }
}

/// A pod whose parent is a shell that waits, and whether it lives on when the shell is killed.
fn outlives_its_parent(user: User, flag: &str) -> bool {
    let lab = Lab::new(user);
    let mut shell = lab.env.program("sh");
    // The shell has a signal of its own to wait for: it must not become the program.
    shell.args(["-c", "\"$@\" & wait; exit", "sh"]);
    shell.arg(binaries().join("skua"));
    shell.arg("--data-dir").arg(lab.env.data());
    shell.arg("--config-dir").arg(lab.env.config());
    let words = ["--insecure-options=image", "run", "--rm", flag, &lab.image];
    shell.args(words).args(["--", "sleep", "600"]);
    shell.stdin(Stdio::null());
    let mut shell = Background::start(shell);
    shell.prints("ready");
    let running = || {
        let list = fs::read_dir(lab.env.data().join("pods/run"));
        list.is_ok_and(|mut pods| pods.next().is_some())
    };
    assert!(running());
    shell.signal(Signal::SIGKILL);
    if flag == "--die-with-parent" {
        eventually("the pod ends with its parent", || !running());
        return false;
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    let lives = running();
    for pod in fs::read_dir(lab.env.data().join("pods/run")).unwrap() {
        let id = pod.unwrap().file_name().into_string().unwrap();
        lab.env.skua(&["stop", &id]).success();
    }
    eventually("the pod is stopped", || !running());
    lives
}

#[test]
fn a_pod_ends_with_its_parent_when_asked_to_and_not_otherwise() {
    // The keeper of root's is another user for a moment, which the kernel takes as a reason to forget the wish.
    for user in User::all() {
        assert!(!outlives_its_parent(user, "--die-with-parent"), "{user:?}");
    }
    let user = User::ordinary();
    assert!(outlives_its_parent(user, "--no-die-with-parent"));
    assert!(outlives_its_parent(user, "--pull=missing"));
}
