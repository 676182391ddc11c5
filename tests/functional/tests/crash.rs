//! `kill -9` of skua, and of the keeper that it becomes, at every system call that changes a state: the next command heals,
//! and nothing is left.

use std::fs;
use std::process::Stdio;

use functional::{Env, Image, Registry, Run, User, missing_program, skip};

/// More calls of one kind than a run has.
const MANY: usize = 200;

/// Runs a pod that is killed at the `nth` call of `call`. `None`: it had no so many, and ended well.
fn killed_run(env: &Env, image: &str, call: &str, nth: usize) -> Option<Run> {
    let mut command = env.program("strace");
    command
        .args(["--quiet=all", "--output=/dev/null", "-e"])
        .arg(format!("trace={call}"))
        .arg("-e")
        .arg(format!("inject={call}:signal=KILL:when={nth}"))
        .arg(functional::binaries().join("skua"))
        .args(["--data-dir"])
        .arg(env.data())
        .args(["--config-dir"])
        .arg(env.config())
        .args(["--insecure-options=image", "run", image, "--", "exit", "0"])
        .stdin(Stdio::null());
    let run = Run::of(command);
    (run.code() != Some(0)).then_some(run)
}

fn pods_left(env: &Env) -> Vec<String> {
    let mut left = Vec::new();
    for state in [
        "embryo",
        "prepare",
        "prepared",
        "run",
        "exited-garbage",
        "garbage",
    ] {
        for entry in fs::read_dir(env.data().join("pods").join(state))
            .into_iter()
            .flatten()
            .flatten()
        {
            left.push(format!("{state}/{}", entry.file_name().display()));
        }
    }
    left
}

/// Kills at every call of each kind, and looks each time.
fn survive(user: User, calls: &[&str]) {
    if let Some(program) = missing_program(&["strace"]) {
        return skip("crash", &format!("{program} is not installed"));
    }
    let registry = Registry::start();
    let image = registry.push("demo/inspect", "1", &Image::inspect().build());
    let env = Env::new(user);
    let skua = |words: &[&str]| env.skua(&[&["--insecure-options=image"], words].concat());
    skua(&["fetch", &image]).success();
    let mut kills = 0;
    for call in calls {
        for nth in 1..MANY {
            let Some(run) = killed_run(&env, &image, call, nth) else {
                break;
            };
            kills += 1;
            let gc = skua(&["gc", "--grace-period=0"]);
            let left = pods_left(&env);
            assert!(
                gc.code() == Some(0) && left.is_empty() && gc.stderr.is_empty(),
                "killed at {call} {nth}: left {left:?}\n{}\n{}",
                run.report(),
                gc.report()
            );
        }
    }
    assert!(kills > 10, "only {kills} calls were found to kill at");
    skua(&["run", &image, "--", "exit", "7"]).exits(7);
}

#[test]
fn an_ordinary_users_pod_killed_while_it_is_made_or_ends_is_healed() {
    survive(
        User::ordinary(),
        &[
            "mkdir", "rename", "flock", "clone3", "execve", "write", "sendmsg", "recvmsg",
        ],
    );
}

#[test]
fn privileged_a_pod_of_root_killed_while_it_is_made_or_ends_is_healed() {
    let Some(root) = User::root("crash") else {
        return;
    };
    survive(
        root,
        &[
            "mkdir", "rename", "flock", "clone3", "rmdir", "write", "sendmsg", "recvmsg",
        ],
    );
}

/// What `strace -y` says of each call, with the paths of descriptors.
#[test]
fn a_prepared_pod_is_on_the_disk_before_its_uuid_is_printed() {
    if let Some(program) = missing_program(&["strace"]) {
        return skip("crash", &format!("{program} is not installed"));
    }
    let env = Env::new(User::ordinary());
    let image = env.layout(&Image::inspect().build());
    let skua = ["--insecure-options=image"];
    env.skua(&[&skua[..], &["fetch", &image]].concat())
        .success();
    let trace = env.scratch("trace");
    let mut command = env.program("strace");
    let prepare = env.command(&[&skua[..], &["prepare", &image]].concat());
    command
        .args(["--quiet=all", "-y", "-e", "trace=fsync,rename,write", "-o"])
        .arg(&trace)
        .arg(prepare.get_program())
        .args(prepare.get_args())
        .stdin(Stdio::null());
    Run::of(command).success();
    let trace = fs::read_to_string(&trace).expect("a trace");
    let at = |part: &dyn Fn(&str) -> bool| trace.lines().position(part).expect(&trace);
    let manifest = at(&|call| call.starts_with("fsync(") && call.contains("/pod.json>"));
    let moved = at(&|call| call.starts_with("rename(") && call.contains("/prepared/"));
    let place = at(&|call| call.starts_with("fsync(") && call.contains("/pods/prepared>"));
    let printed = at(&|call| call.starts_with("write(1<"));
    assert!(
        manifest < moved && moved < place && place < printed,
        "{trace}"
    );
}
