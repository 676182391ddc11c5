//! What a caller may do to skua without meaning it: a signal that is ignored, a stream that is full, a slip of the pen.

use std::fs::{self, File};
use std::process::Command;

use functional::{Env, Image, Key, Run, User, eventually};

/// An environment with an image that its store has, by this name.
fn lab(user: User) -> (Env, String) {
    let env = Env::new(user);
    let name = env.layout(&Image::inspect().build());
    env.skua(&["--insecure-options=image", "fetch", &name])
        .success();
    (env, name)
}

/// `command`, with SIGCHLD ignored.
fn ignoring(env: &Env, command: &Command) -> Command {
    let mut ignoring = env.program("env");
    ignoring
        .arg("--ignore-signal=CHLD")
        .arg(command.get_program())
        .args(command.get_args());
    ignoring
}

#[test]
fn every_command_works_for_a_caller_that_ignores_the_end_of_children() {
    for user in User::all() {
        let (env, name) = lab(user);
        let skua = |words: &[&str]| {
            let words = [&["--insecure-options=image"], words].concat();
            Run::of(ignoring(&env, &env.command(&words)))
        };
        skua(&["run", "--name=old", &name, "--", "exit", "7"]).exits(7);
        skua(&["prepare", "--name=early", &name, "--", "exit", "6"]).success();
        skua(&["run-prepared", "early"]).exits(6);
        let trap = ["run", "--name=trap", &name, "--", "trap", "SIGTERM", "0"];
        let words = [&["--insecure-options=image"], &trap[..]].concat();
        let mut pod = env.spawn(&words);
        pod.prints("ready");
        let (tar, files) = (env.scratch("x.tar"), env.scratch("files"));
        let (tar, files) = (tar.to_string_lossy(), files.to_string_lossy());
        fs::create_dir(&*files).expect("make a directory");
        env.give(env.scratch("files").as_path());
        for (words, code) in [
            (&["enter", "trap", "--", "/inspect", "exit", "5"][..], 5),
            (&["explain", &name], 0),
            (&["explain", "trap"], 0),
            (&["status", "trap"], 0),
            (&["list"], 0),
            (&["stop", "trap"], 0),
            (&["status", "--wait", "trap"], 0),
            (&["rm", "trap"], 0),
            (&["gc", "--grace-period=0s"], 0),
            (&["image", "list"], 0),
            (&["image", "verify", "--contents", &name], 0),
            (&["image", "export", &name, &tar], 0),
            (&["image", "extract", &name, &files], 0),
            (&["image", "rm", &name], 0),
            (&["image", "gc"], 0),
            (&["fetch", &name], 0),
            (&["lock", &name], 0),
            (&["trust", "list"], 0),
            (&["config"], 0),
            (&["doctor"], 0),
        ] {
            skua(words).exits(code);
        }
        pod.wait().success();
    }
}

#[test]
fn a_full_stream_is_an_error_of_help_and_leaves_no_pod_that_nobody_knows() {
    let (env, name) = lab(User::ordinary());
    let prepare = ["--insecure-options=image", "prepare", &name, "--", "id"];
    for words in [
        &["--help"][..],
        &["--version"],
        &["run", "--help"],
        &["run", &name, "--help"],
        &["trust", "add", "--help"],
        &prepare,
    ] {
        let mut command = env.command(words);
        let full = File::options().write(true).open("/dev/full");
        command.stdout(full.expect("/dev/full"));
        let output = command.stderr(std::process::Stdio::piped()).spawn();
        let output = output.and_then(std::process::Child::wait_with_output);
        let output = output.expect("run skua");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(254), "{words:?}: {said}");
        let line = "skua: cannot write to standard output: No space left";
        assert!(said.starts_with(line), "{words:?}: {said}");
    }
    let list = env.skua(&["list", "--format=json"]).success().json();
    assert_eq!(list["pods"], serde_json::json!([]));
    env.skua(&["--help"]).success().says("Launches pods");
    env.skua(&["run", &name, "--help"])
        .success()
        .says("--working-dir");
    env.skua(&["--version"]).success().says("skua ");
}

#[test]
fn a_reader_that_has_seen_enough_ends_every_command_alike() {
    let (env, name) = lab(User::ordinary());
    for words in [
        &["image", "export", &name, "-"][..],
        &["image", "extract", &name, "-"],
        &["image", "list"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = env.command(words);
        command.stdout(writer).stderr(std::process::Stdio::piped());
        let output = command.spawn();
        let output = output.and_then(std::process::Child::wait_with_output);
        let output = output.expect("run skua");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(141), "{words:?}: {said}");
        assert!(said.is_empty(), "{words:?}: {said}");
    }
}

#[test]
fn a_configuration_that_is_not_there_is_an_error_of_every_command_but_the_one_that_begins_it() {
    let (env, name) = lab(User::ordinary());
    let words = ["--insecure-options=image", "run", "--name=kept"];
    let words = [&words[..], &[&name, "--", "exit", "0"]].concat();
    env.skua(&words).success();
    let absent = env.scratch("confgi");
    let skua = |words: &[&str]| {
        let mut command = env.program(functional::binaries().join("skua"));
        command.arg("--data-dir").arg(env.data());
        command.arg("--config-dir").arg(&absent).args(words);
        Run::of(command)
    };
    let key = env.write("key.pem", Key::new(1).public_pem());
    let key = key.to_string_lossy();
    let part = format!("the configuration in {}: No such file", absent.display());
    for words in [
        &["list"][..],
        &["gc", "--grace-period=0s"],
        &["trust", "list"],
        &["trust", "rm", "--prefix=example.org"],
        &["trust", "test", &name],
        &["image", "list"],
        &["doctor"],
        &["config"],
        &["status", "kept"],
    ] {
        skua(words).fails(&[&part]);
    }
    env.skua(&["status", "kept"]).success();
    let add = ["trust", "add", "--prefix=example.org/a", &key];
    let before = "there was no configuration in";
    skua(&add).success().says(before);
    skua(&["trust", "list"]).success().says("example.org/a");
    skua(&add).success().lacks(before);
}

#[test]
fn a_prepared_pod_is_waited_for_until_it_has_been_run_and_has_ended() {
    let (env, name) = lab(User::ordinary());
    for (how, end) in [("run-prepared", "state=exited"), ("rm", "")] {
        let words = ["--insecure-options=image", "prepare", "--name=later"];
        let words = [&words[..], &[&name, "--", "exit", "3"]].concat();
        env.skua(&words).success();
        let mut waiting = env.spawn(&["status", "--wait", "later"]);
        eventually("it watches the pod", || watches(waiting.pid()));
        assert!(waiting.is_running(), "{}", waiting.wait().report());
        env.skua(&["--insecure-options=image", how, "later"]);
        let waited = waiting.wait();
        if how == "rm" {
            waited.fails(&["was removed"]);
        } else {
            waited.success().says(end).says("exit-status=3");
        }
    }
}

#[test]
fn privileged_the_networks_that_there_are_are_told_of_one_that_there_is_not() {
    let Some(root) = User::root("privileged_the_networks_that_there_are") else {
        return;
    };
    let (env, name) = lab(root);
    let directory = env.config().join("net.d");
    fs::create_dir(&directory).expect("make net.d");
    let conflist = "{\"cniVersion\":\"1.0.0\",\"name\":\"inner\",\"plugins\":[]}";
    fs::write(directory.join("x.conflist"), conflist).expect("write a conflist");
    env.skua(&["--insecure-options=image", "run", "--net=nope", &name])
        .fails(&["there is no network 'nope'"])
        .complains("hint: there are default, host, inner, none;");
}

/// In little memory, so that a program which believes it does not take that of the machine.
#[test]
fn sockets_of_which_somebody_says_that_there_are_billions_are_an_error_and_take_no_memory() {
    let (env, name) = lab(User::ordinary());
    let skua = env.command(&["--insecure-options=image", "run", &name]);
    let mut shell = env.program("sh");
    let line = "ulimit -v 4000000; LISTEN_PID=$$ LISTEN_FDS=4294967295 exec \"$@\"";
    shell.args(["-c", line, "sh"]);
    shell.arg(skua.get_program()).args(skua.get_args());
    Run::of(shell).fails(&["cannot take descriptor 3 of the 4294967295"]);
}

/// Whether a process watches a directory.
fn watches(pid: i32) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let kinds = descriptors
        .flatten()
        .map(|entry| fs::read_link(entry.path()));
    kinds
        .flatten()
        .any(|kind| kind.ends_with("anon_inode:inotify"))
}
