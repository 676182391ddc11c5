//! All that stage1 does is in the plan that `explain` prints: a trace of its system calls is held against it.

use std::collections::BTreeSet;

use functional::{Env, Image, Run, User, missing_program, skip};
use serde_json::Value;

/// A layout, and pods of it.
struct Lab {
    env: Env,
    image: String,
}

impl Lab {
    fn new(user: User) -> Self {
        let env = Env::new(user);
        let layout = env.scratch("layout");
        Image::inspect().build().write_layout(&layout, "1");
        env.give(&layout);
        let image = format!("oci:{}:1", layout.display());
        Self { env, image }
    }

    fn explain(&self, pod: &[&str], app: &[&str]) -> Value {
        let first = ["--insecure-options=image", "explain", "--format=json"];
        let image = [self.image.as_str()];
        let words = [&first[..], pod, &image, app].concat();
        self.env.skua(&words).success().json()
    }
}

/// The system calls that change what is mounted, which namespaces there are, or what is on a disk, in a trace: `name(first
/// interesting argument)`.
fn traced(lab: &Lab, words: &[&str]) -> Vec<String> {
    let log = lab.env.scratch("trace");
    let command = lab.env.command(words);
    let mut strace = lab.env.program("strace");
    strace
        .args(["-f", "-qq", "-y", "-s", "256", "-e", "signal=none"])
        .arg("--pidns-translation")
        .args(["-e", "trace=mount,umount2,pivot_root,move_mount,fsopen,open_tree,?open_tree_attr,fspick,unshare,setns,clone3,clone,fork,vfork,chroot,mkdirat,mkdir,rename,renameat,renameat2,linkat,link,symlinkat,symlink,unlinkat,unlink,rmdir,mknodat,mknod,sethostname,setdomainname,fchown,chown,lchown,fchownat,fchmod,chmod,fchmodat,?fchmodat2,truncate,ftruncate,setxattr,lsetxattr,fsetxattr,openat,open,creat,openat2,ptrace,swapon,reboot,init_module,finit_module,bpf,keyctl,add_key,execve,execveat"])
        .arg("-o")
        .arg(&log)
        .arg(command.get_program())
        .args(command.get_args());
    Run::of(strace).success();
    let text = std::fs::read_to_string(&log).expect("a trace");
    text.lines().map(str::to_owned).collect()
}

/// From the moment stage1 is executed until stage2 is: what stage1 does, in all of its processes.
fn stage1_calls(trace: &[String]) -> Vec<&str> {
    let begins = |line: &&String| line.contains("execve(") && line.contains("skua-stage1\"");
    let start = trace.iter().position(|line| begins(&line)).expect("stage1");
    let mut ended = children_of_stage2(trace);
    let mut calls = Vec::new();
    for line in &trace[start + 1..] {
        let (pid, call) = line.split_once(' ').expect("a pid");
        if call.trim_start().starts_with("execve") {
            ended.insert(pid);
        } else if !ended.contains(pid) {
            calls.push(call.trim_start());
        }
    }
    calls
}

/// The processes that stage2 has started.
fn children_of_stage2(trace: &[String]) -> BTreeSet<&str> {
    let calls = trace.iter().filter_map(|line| line.split_once(' '));
    let executes =
        |call: &str| call.trim_start().starts_with("execveat(") && call.contains("\"skua-stage2\"");
    let stage2 = calls.clone().find(|(_, call)| executes(call));
    let (stage2, _) = stage2.expect("stage2");
    let forks = calls
        .filter(|(pid, call)| *pid == stage2 && (call.contains("clone") || call.contains("fork")));
    // `= 2 /* 4711 in strace's PID NS */`
    let outside = forks.filter_map(|(_, call)| call.rsplit_once("/* ")?.1.split_once(" in "));
    outside.map(|(child, _)| child).collect()
}

/// Whether a call writes: those that open do so by their flags.
fn changes(call: &str) -> bool {
    let opens = ["openat(", "open(", "openat2("]
        .iter()
        .any(|name| call.starts_with(name));
    let fails = call.contains(" = -1 ");
    let flags = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"];
    let resumed = call.starts_with("<...");
    !fails && !resumed && (!opens || flags.iter().any(|flag| call.contains(flag)))
}

/// The kinds of `op` that account for a call. `None`: none does.
fn accounted(call: &str) -> Option<&'static [&'static str]> {
    let name = call.split('(').next().unwrap_or_default();
    let has = |part: &str| call.contains(part);
    Some(match name {
        "clone3" if has("CLONE_NEWPID") => &["clone"],
        "clone3" if has("CLONE_NEWUSER") => &["map-mounts"],
        "unshare" => &["make-namespaces"],
        "clone3" | "clone" | "vfork" | "fork" => &["map-ids", "add-network"],
        "mkdirat" | "mkdir" if has("skua-") && has("cgroup") => &["make-cgroup"],
        "mkdirat" | "mkdir" if has("skeleton") => &["make-skeleton"],
        "mkdirat" | "mkdir" if has("/ids\"") => &["take-ids"],
        "mkdirat" | "mkdir" => &["make-directory", "stage-directory", "overlay", "mount"],
        "chown" | "fchownat" | "lchown" if has("skeleton") => &["make-skeleton"],
        "chown" | "fchownat" | "lchown" => &["make-directory"],
        "chmod" | "fchmodat" => &["make-directory"],
        "fchmod" => &["reopen-pipes"],
        "open_tree" => &["open-tree", "open-handed", "mount", "mask", "read-only"],
        "fsopen" => &["private-root", "mount", "stage-mount"],
        "move_mount" => &[
            "private-root",
            "stage-handed",
            "stage-tree",
            "stage-mount",
            "mount",
            "mask",
            "read-only",
        ],
        "mount" if has("overlay") => &["overlay"],
        "mount" => &["private-mounts"],
        "openat2" if has("proc/sys/") => &["sysctl"],
        "mknodat" | "mknod" => &["make-device"],
        "pivot_root" | "umount2" => &["pivot"],
        "sethostname" => &["hostname"],
        "symlinkat" => &["link"],
        "openat" | "open" if has("/uid_map") || has("/gid_map") || has("/setgroups") => {
            &["map-ids"]
        }
        "openat" | "open" if has("skeleton") => &["make-skeleton"],
        "openat" | "open" if has("/ids/") => &["take-ids"],
        "openat" | "open" if has("cgroup") => &["make-cgroup", "remove-cgroup"],
        "openat" | "open" if has("ptmx") => &["terminal"],
        "openat" | "open" if has("/dev/null") => &["map-ids"],
        "openat" | "open"
            if has("app.json") || has("seccomp.bpf") || has("pid") || has("result.json") =>
        {
            &["write-file"]
        }
        "openat" | "open" => &["stage-file", "private-root", "stage-handed"],
        "rename" | "renameat" | "renameat2" if has("skeleton") => &["make-skeleton"],
        "rename" | "renameat" | "renameat2" if has("exited-garbage") => &["move-pod"],
        "rename" | "renameat" | "renameat2" => &["write-file"],
        "rmdir" | "unlinkat" if has("cgroup") => &["remove-cgroup"],
        "rmdir" | "unlinkat" | "unlink" => &["remove-pod"],
        _ => return None,
    })
}

#[test]
fn no_system_call_of_stage1_changes_anything_without_its_item() {
    let test = "no_system_call_of_stage1_changes_anything_without_its_item";
    if let Some(program) = missing_program(&["strace"]) {
        return skip(test, &format!("{program} is not installed"));
    }
    // A setuid newuidmap does not work below a strace of an ordinary user.
    for user in User::all()
        .into_iter()
        .filter(|user| *user != User::Subordinate)
    {
        let lab = Lab::new(user);
        let scratch = lab.env.scratch("volume");
        std::fs::create_dir(&scratch).expect("a directory");
        lab.env.give(&scratch);
        let bind = format!("--volume={}:/data", scratch.display());
        let pod = ["--volume=e,kind=empty", "--hostname=box"];
        let app = [
            &bind,
            "--mount=volume=e,target=/empty",
            "--readonly-rootfs",
            "--user=0",
        ];
        let explained = lab.explain(&pod, &app);
        let ops = explained["plan"]["items"].as_array().expect("items");
        let ops: BTreeSet<&str> = ops.iter().filter_map(|item| item["op"].as_str()).collect();
        let first = ["--insecure-options=image", "run"];
        let image = [lab.image.as_str()];
        let last = ["--", "exit", "0"];
        let words = [&first[..], &pod, &image, &app, &last].concat();
        let trace = traced(&lab, &words);
        let calls = stage1_calls(&trace);
        let changing: Vec<_> = calls.into_iter().filter(|call| changes(call)).collect();
        assert!(changing.len() > 50, "{user:?}: {changing:#?}");
        for call in changing {
            let kinds = accounted(call);
            let explained = kinds.is_some_and(|kinds| kinds.iter().any(|op| ops.contains(op)));
            assert!(explained, "{user:?}: {call}\nis none of {kinds:?}");
        }
    }
}
