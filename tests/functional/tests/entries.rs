//! stage1 is entered by the C library directly: what Rust's own entry does for every program, it does. Of stage2, see `stage2/tests/pod`.

use std::process::Command;

use functional::{Env, Image, User, binaries};

/// stage1 executed by hand in the directory of a prepared pod, after a line of shell.
fn by_hand(env: &Env, line: &str) -> Command {
    let image = env.layout(&Image::inspect().build());
    let prepare = ["--insecure-options=image", "prepare", &image, "--", "fds"];
    let uuid = env.skua(&prepare).success().stdout;
    let script = format!("exec 9<prepared/$1; {line}");
    let mut sh = env.program("sh");
    sh.args(["-ec", &script, "sh", uuid.trim()])
        .arg(binaries())
        .env("SKUA_LOCK_FD", "9")
        .current_dir(env.data().join("pods"));
    sh
}

#[test]
fn stage1_stands_in_for_a_stream_that_its_caller_closed() {
    let env = Env::new(User::ordinary());
    let line = "mkdir -p run && mv prepared/$1 run/ && cd run/$1 && exec $2/skua-stage1 run <&-";
    let found = functional::Run::of(by_hand(&env, line)).success().json();
    assert_eq!(found["0"], "/dev/null", "{found}");
}

#[test]
fn writing_to_a_pipe_that_nobody_reads_is_an_error_of_stage1_and_no_signal() {
    let env = Env::new(User::ordinary());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut stage1 = by_hand(&env, "cd prepared/$1 && exec $2/skua-stage1 explain");
    let ended = stage1.stdout(writer).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(254), "{}: {said}", ended.status);
    assert!(said.contains("cannot write to standard output"), "{said}");
}

#[test]
fn arguments_that_no_entry_has_are_an_error_of_stage1_whatever_their_bytes() {
    let env = Env::new(User::ordinary());
    for arguments in ["nonsense", "stop --now", "\"$(printf '\\377')\""] {
        let line = format!("cd prepared/$1 && exec $2/skua-stage1 {arguments}");
        functional::Run::of(by_hand(&env, &line)).fails(&["usage: skua-stage1 run | "]);
    }
}
