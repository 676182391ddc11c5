//! `--interactive` on a terminal: the app gets one of its own, made in the pod, and the caller's stays out of reach.

use functional::{Env, Image, Run, User, missing_program, skip};
use serde_json::Value;

/// Runs `skua run --interactive` on a terminal that `script` makes.
fn on_a_terminal(env: &Env, question: &[&str], typed: &str) -> Run {
    let layout = env.scratch("layout");
    if !layout.exists() {
        Image::inspect().build().write_layout(&layout, "1");
        env.give(&layout);
    }
    let name = format!("oci:{}:1", layout.display());
    let start = [
        "--insecure-options=image",
        "--quiet",
        "run",
        "--net=none",
        "--interactive",
        &name,
        "--",
    ];
    let command = env.command(&[&start[..], question].concat());
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_str().expect("text")))
        .collect();
    let mut script = env.program("script");
    script.args(["-qec", &words.join(" "), "/dev/null"]);
    let typed = env.write("typed", typed);
    script.stdin(std::fs::File::open(typed).expect("what is typed"));
    Run::of(script)
}

fn answer(run: &Run) -> Value {
    let line = run.stdout.lines().find(|line| line.starts_with('{'));
    serde_json::from_str(line.unwrap_or_else(|| panic!("{}", run.report())).trim()).expect("JSON")
}

#[test]
fn an_interactive_app_controls_a_terminal_of_its_pod() {
    if let Some(program) = missing_program(&["script"]) {
        return skip("an_interactive_app_controls_a_terminal_of_its_pod", program);
    }
    for user in User::all() {
        let env = Env::new(user);
        let run = on_a_terminal(&env, &["all", "tty", "session", "fds"], "").success();
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

#[test]
fn the_exit_status_passes_through_a_terminal() {
    if let Some(program) = missing_program(&["script"]) {
        return skip("the_exit_status_passes_through_a_terminal", program);
    }
    on_a_terminal(&Env::new(User::ordinary()), &["exit", "7"], "").exits(7);
}

#[test]
fn what_is_typed_reaches_the_app_and_control_c_is_its_own() {
    if let Some(program) = missing_program(&["script"]) {
        return skip(
            "what_is_typed_reaches_the_app_and_control_c_is_its_own",
            program,
        );
    }
    let env = Env::new(User::ordinary());
    let run = on_a_terminal(&env, &["trap", "SIGINT", "6"], "hello\n\u{3}");
    assert!(run.stdout.contains("SIGINT"), "{}", run.report());
    run.exits(6);
}

#[test]
fn nothing_can_be_typed_into_its_terminal() {
    if let Some(program) = missing_program(&["script"]) {
        return skip("nothing_can_be_typed_into_its_terminal", program);
    }
    let ioctl = libc::SYS_ioctl.to_string();
    let run = on_a_terminal(
        &Env::new(User::ordinary()),
        &["syscall", &ioctl, "0", "0x5412", "0"],
        "",
    );
    assert_eq!(answer(&run)["errno"], "EPERM", "{}", run.report());
}
