//! The trust policy while it is changed: by several at once, by who is killed, and beside others who may only read it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use functional::{Env, Key, Run, User, missing_program, skip};

#[test]
fn privileged_who_may_read_the_policy_cannot_hold_up_a_change_of_it() {
    let Some(root) = User::root("privileged_who_may_read_the_policy_cannot_hold_up_a_change_of_it")
    else {
        return;
    };
    let env = Env::new(root);
    let key = env.write("key.pem", Key::new(1).public_pem());
    let add = |prefix| {
        let mut command = std::process::Command::new("timeout");
        let skua = env.command(&["trust", "add", prefix, key.to_str().unwrap()]);
        command
            .arg("10")
            .arg(skua.get_program())
            .args(skua.get_args());
        Run::of(command)
    };
    add("--prefix=a.example/first").success();
    let directory = env.config().join("trust.d");
    let anybody = fs::File::open(&directory).unwrap();
    anybody.lock().unwrap();
    add("--prefix=a.example/second").success();
    let lock = fs::metadata(directory.join(".lock")).unwrap();
    assert_eq!(lock.permissions().mode() & 0o777, 0o600);
}

/// Key `number` in a file.
fn key(env: &Env, number: u8) -> String {
    let path = env.write(&format!("{number}.pem"), Key::new(number).public_pem());
    path.to_str().expect("text").to_owned()
}

fn keys(env: &Env) -> usize {
    let list = env.skua(&["trust", "list"]).success();
    list.stdout.matches("ed25519 ").count()
}

#[test]
fn what_several_add_at_once_is_all_there() {
    for user in User::all() {
        let env = Env::new(user);
        let keys_of_all: Vec<_> = (0..12).map(|number| key(&env, number)).collect();
        let add = |key: &String| env.spawn(&["trust", "add", "--prefix=a.example/b", key]);
        let adding: Vec<_> = keys_of_all.iter().map(add).collect();
        for one in adding {
            one.wait().success();
        }
        assert_eq!(keys(&env), 12, "{user:?}");
    }
}

/// `skua` below `strace` with these options.
fn below_strace(env: &Env, options: &[&str], words: &[&str]) -> Run {
    let skua = env.command(words);
    let mut strace: Command = env.program("strace");
    strace.args(["--quiet=all", "-y"]).args(options);
    strace.arg(skua.get_program()).args(skua.get_args());
    Run::of(strace)
}

fn change<'a>(what: &'a str, key: &'a str) -> [&'a str; 4] {
    ["trust", what, "--prefix=a.example/b", key]
}

/// Two keys, of which the first is trusted again and the second is not.
fn as_before(env: &Env, keys: &[String; 2]) {
    env.skua(&change("add", &keys[0])).success();
    env.skua(&change("add", &keys[1])).success();
    env.skua(&change("rm", &keys[1])).success();
}

#[test]
fn a_change_that_is_killed_is_made_or_not_and_keeps_nobody_from_the_next() {
    let test = "a_change_that_is_killed_is_made_or_not_and_keeps_nobody_from_the_next";
    if let Some(program) = missing_program(&["strace"]) {
        return skip(test, program);
    }
    let env = Env::new(User::ordinary());
    let both = [1, 2].map(|number| key(&env, number));
    let mut kills = 0;
    for call in ["openat", "flock", "write", "fsync", "rename"] {
        for nth in 1..100 {
            let inject = format!("inject={call}:signal=KILL:when={nth}");
            let options = ["-o/dev/null", "-e", &inject];
            as_before(&env, &both);
            let adding = below_strace(&env, &options, &change("add", &both[1]));
            assert!([1, 2].contains(&keys(&env)), "add at {call} {nth}");
            as_before(&env, &both);
            let removing = below_strace(&env, &options, &change("rm", &both[0]));
            assert!([0, 1].contains(&keys(&env)), "rm at {call} {nth}");
            let killed = [adding, removing].map(|run| usize::from(run.code() != Some(0)));
            if killed == [0, 0] {
                break;
            }
            kills += killed[0] + killed[1];
        }
    }
    assert!(kills > 20, "only {kills} calls were found to kill at");
    as_before(&env, &both);
    let left = fs::read_dir(env.config().join("trust.d")).expect("a directory");
    let mut left: Vec<_> = left.flatten().map(|entry| entry.file_name()).collect();
    left.sort();
    assert_eq!(left, [".lock", "a.example+b.toml"]);
}

/// A key that was taken away is not trusted again after a power failure.
#[test]
fn a_change_is_on_the_disk_when_it_is_told() {
    if let Some(program) = missing_program(&["strace"]) {
        return skip("a_change_is_on_the_disk_when_it_is_told", program);
    }
    let env = Env::new(User::ordinary());
    let key = key(&env, 1);
    let log = env.scratch("trace");
    let output = format!("-o{}", log.display());
    for (what, call) in [("add", "rename("), ("rm", "unlink(")] {
        let options = [&output, "-e", "trace=fsync,rename,unlink"];
        below_strace(&env, &options, &change(what, &key)).success();
        let trace = fs::read_to_string(&log).expect("a trace");
        let at = |part: &dyn Fn(&str) -> bool| trace.lines().position(part).expect(&trace);
        let changed = at(&|line| line.starts_with(call));
        let synced = at(&|line| line.starts_with("fsync(") && line.contains("/trust.d>"));
        assert!(changed < synced, "{trace}");
    }
}
