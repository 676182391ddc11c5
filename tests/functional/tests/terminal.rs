//! `--interactive` on a terminal: the app gets one of its own, made in the pod, and the caller's stays out of reach.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use functional::{Background, Env, Image, Run, User, missing_program, skip};
use serde_json::{Value, json};

/// `skua run --interactive` on a terminal that `script` makes; what is written to its standard input is typed.
fn on_a_terminal(env: &Env, question: &[&str]) -> Background {
    typed_at(env, &["--interactive"], question)
}

/// The same with other flags.
fn typed_at(env: &Env, flags: &[&str], question: &[&str]) -> Background {
    let name = env.layout(&Image::inspect().build());
    let start = ["--insecure-options=image", "run", "--net=none"];
    let command = env.command(&[&start[..], flags, &[&name, "--"], question].concat());
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_str().expect("text")))
        .collect();
    let mut script = env.program("script");
    script.args(["-qec", &format!("exec {}", words.join(" ")), "/dev/null"]);
    script.env("TERM", "skua-test").env("OURS", "1");
    script.stdin(Stdio::piped());
    Background::start(script)
}

/// The JSON in what the terminal shows.
fn answer(run: &Run) -> Value {
    let found = run.stdout.find("{\"").zip(run.stdout.rfind('}'));
    let (from, to) = found.unwrap_or_else(|| panic!("{}", run.report()));
    serde_json::from_str(&run.stdout[from..=to]).expect("JSON")
}

#[test]
fn an_interactive_app_controls_a_terminal_of_its_pod() {
    if let Some(program) = missing_program(&["script"]) {
        return skip("an_interactive_app_controls_a_terminal_of_its_pod", program);
    }
    for user in User::all() {
        let env = Env::new(user);
        let run = on_a_terminal(&env, &["all", "tty", "session", "fds"])
            .wait()
            .success();
        let found = answer(&run);
        for stream in ["stdin", "stdout", "stderr", "controlling"] {
            assert_eq!(found["tty"][stream], true, "{user:?} {stream}");
        }
        assert_eq!(found["session"]["session"], found["session"]["pid"]);
        let streams = &found["fds"];
        assert_eq!(streams["0"], streams["2"], "{user:?}");
        assert_eq!(
            streams.as_object().map(serde_json::Map::len),
            Some(3),
            "{user:?}: {streams}"
        );
    }
}

/// Standard output and error of a shell are its keyboard too: what is typed there is for the shell, not for the app.
#[test]
fn an_app_without_standard_input_cannot_read_what_is_typed() {
    let test = "an_app_without_standard_input_cannot_read_what_is_typed";
    if let Some(program) = missing_program(&["script"]) {
        return skip(test, program);
    }
    for user in User::all() {
        for stream in ["1", "2"] {
            let env = Env::new(user);
            let mut pod = typed_at(&env, &[], &["read-from", stream]);
            let mut keyboard = pod.stdin().expect("a pipe");
            keyboard.write_all(b"password\n").expect("typed");
            let run = pod.wait().success();
            assert_eq!(answer(&run)["errno"], "EBADF", "{user:?} {stream}");
        }
        // It is no terminal, so there is nothing that the app could change of one.
        let env = Env::new(user);
        let run = typed_at(&env, &[], &["tty"]).wait().success();
        let found = answer(&run);
        assert_eq!(found["stdout"], false, "{user:?}");
        assert_eq!(found["stderr"], false, "{user:?}");
    }
}

#[test]
fn of_our_variables_an_app_with_a_terminal_gets_its_kind_alone() {
    let test = "of_our_variables_an_app_with_a_terminal_gets_its_kind_alone";
    if let Some(program) = missing_program(&["script"]) {
        return skip(test, program);
    }
    let env = Env::new(User::ordinary());
    let run = on_a_terminal(&env, &["all", "env"]).wait().success();
    let variables = answer(&run)["env"].clone();
    let variables = variables.as_array().expect("variables");
    assert!(
        variables.contains(&json!(["TERM", "skua-test"])),
        "{variables:?}"
    );
    assert!(!variables.iter().any(|v| v[0] == "OURS"), "{variables:?}");
}

#[test]
fn the_exit_status_passes_through_a_terminal() {
    if let Some(program) = missing_program(&["script"]) {
        return skip("the_exit_status_passes_through_a_terminal", program);
    }
    on_a_terminal(&Env::new(User::ordinary()), &["exit", "7"])
        .wait()
        .exits(7);
}

#[test]
fn control_c_is_for_the_app() {
    if let Some(program) = missing_program(&["script"]) {
        return skip("control_c_is_for_the_app", program);
    }
    let env = Env::new(User::ordinary());
    let mut pod = on_a_terminal(&env, &["trap", "SIGINT", "6"]);
    pod.prints("ready");
    let mut keyboard = pod.stdin().expect("a pipe");
    keyboard.write_all(b"\x03").expect("typed");
    let run = pod.wait();
    assert!(run.stdout.contains("SIGINT"), "{}", run.report());
    run.exits(6);
}

/// The terminal sends its signal to every process in the foreground; pid 1 must not be one of them.
#[test]
fn control_c_at_the_caller_s_terminal_is_one_interrupt() {
    let name = "control_c_at_the_caller_s_terminal_is_one_interrupt";
    if let Some(program) = missing_program(&["script"]) {
        return skip(name, program);
    }
    for user in User::all() {
        let env = Env::new(user);
        let mut pod = typed_at(&env, &[], &["ignore", "SIGINT"]);
        pod.prints("ready");
        let mut keyboard = pod.stdin().expect("a pipe");
        keyboard.write_all(b"\x03").expect("typed");
        std::thread::sleep(Duration::from_millis(500));
        assert!(pod.is_running(), "{user:?}: one ^C was a stop");
        keyboard.write_all(b"\x03").expect("typed");
        pod.wait().exits(143);
    }
}

#[test]
fn nothing_can_be_typed_into_its_terminal() {
    if let Some(program) = missing_program(&["script"]) {
        return skip("nothing_can_be_typed_into_its_terminal", program);
    }
    let ioctl = libc::SYS_ioctl.to_string();
    let env = Env::new(User::ordinary());
    let run = on_a_terminal(&env, &["syscall", &ioctl, "0", "0x5412", "0"]).wait();
    assert_eq!(answer(&run)["errno"], "EPERM", "{}", run.report());
}
