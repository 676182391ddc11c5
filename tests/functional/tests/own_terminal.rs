//! Who gets a terminal of the pod, at the caller's, and to whom it belongs.

use std::fs;
use std::process::Stdio;

use functional::{Background, Env, Image, Run, User, missing_program, skip};
use serde_json::Value;

/// `skua` at a terminal that `script` makes, with a redirection of its shell.
fn at_a_terminal(env: &Env, words: &[&str], redirection: &str) -> Run {
    let command = env.command(words);
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_str().expect("text")))
        .collect();
    let mut script = env.program("script");
    let line = format!("exec {} {redirection}", words.join(" "));
    script.args(["-qec", &line, "/dev/null"]);
    script.stdin(Stdio::piped());
    let mut started = Background::start(script);
    // Until the end somebody sits at the keyboard.
    let _keyboard = started.stdin();
    started.wait()
}

/// The JSON in what the terminal shows.
fn shown(run: &Run) -> Value {
    let found = run.stdout.find("{\"").zip(run.stdout.rfind('}'));
    let (from, to) = found.unwrap_or_else(|| panic!("{}", run.report()));
    serde_json::from_str(&run.stdout[from..=to]).expect("JSON")
}

const RUN: [&str; 3] = ["--insecure-options=image", "run", "--net=none"];

/// What an app or what entered it says of its streams, in a file that is its standard output.
fn answered(file: &std::path::Path) -> Value {
    let text = fs::read_to_string(file).expect("what was printed");
    assert!(text.ends_with("}\n"), "{text:?}");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn what_prints_into_a_file_has_no_terminal_of_the_pod() {
    let test = "what_prints_into_a_file_has_no_terminal_of_the_pod";
    if let Some(program) = missing_program(&["script"]) {
        return skip(test, program);
    }
    for user in User::all() {
        let env = Env::new(user);
        let name = env.layout(&Image::inspect().build());
        let file = env.home().join("printed");
        let redirection = format!("> {}", file.display());
        let app = ["--interactive", &name, "--", "tty"];
        at_a_terminal(&env, &[&RUN[..], &app].concat(), &redirection).success();
        let found = answered(&file);
        // The caller's terminal, as it is.
        assert_eq!(found["stdin"], true, "{user:?}: {found}");
        assert_eq!(found["stdout"], false, "{user:?}: {found}");
        assert_eq!(found["controlling"], false, "{user:?}: {found}");

        let pod = ["--name=p", &name, "--", "trap", "SIGTERM", "0"];
        let mut pod = env.spawn(&[&RUN[..], &pod].concat());
        pod.prints("ready");
        let enter = ["enter", "p", "--", "/inspect", "tty"];
        at_a_terminal(&env, &enter, &redirection).success();
        let found = answered(&file);
        assert_eq!(found["stdin"], true, "{user:?}: {found}");
        assert_eq!(found["stdout"], false, "{user:?}: {found}");
        assert_eq!(found["controlling"], false, "{user:?}: {found}");
        // What it complains of is not in the file.
        let enter = ["enter", "p", "--", "/inspect", "complain", "of this"];
        at_a_terminal(&env, &enter, &redirection)
            .success()
            .says("of this");
        assert_eq!(fs::read_to_string(&file).expect("a file"), "");
        pod.signal(nix::sys::signal::Signal::SIGTERM);
        pod.wait().success();
    }
}

#[test]
fn a_terminal_of_the_pod_belongs_to_the_user_of_the_app() {
    let test = "a_terminal_of_the_pod_belongs_to_the_user_of_the_app";
    if let Some(program) = missing_program(&["script"]) {
        return skip(test, program);
    }
    for user in User::all() {
        let env = Env::new(user);
        let name = env.layout(&Image::inspect().build());
        let open = ["open", "/dev/pts/0", "write"];
        let app = ["--interactive", &name, "--user=app", "--"];
        let run = at_a_terminal(&env, &[&RUN[..], &app, &open].concat(), "");
        run.success().says("{\"ok\":true}");

        let pod = ["--name=p", &name, "--user=app", "--"];
        let words = [&RUN[..], &pod, &["trap", "SIGTERM", "0"]].concat();
        let mut pod = env.spawn(&words);
        pod.prints("ready");
        let enter = ["enter", "p", "--", "/inspect"];
        let run = at_a_terminal(&env, &[&enter[..], &open].concat(), "");
        run.success().says("{\"ok\":true}");
        pod.signal(nix::sys::signal::Signal::SIGTERM);
        pod.wait().success();
    }
}

const RUN_PREPARED: [&str; 3] = ["--insecure-options=image", "run-prepared", "p"];

/// A prepared pod of one app that asks `question`; where it was prepared nobody sits.
fn prepare(env: &Env, flags: &[&str], image: &str, question: &[&str]) {
    let start = ["--insecure-options=image", "prepare", "--name=p"];
    let app = [image, "--"];
    env.skua(&[&start[..], flags, &app, question].concat())
        .success();
}

#[test]
fn a_prepared_pod_has_the_terminal_of_who_runs_it_when_that_was_asked_for() {
    let test = "a_prepared_pod_has_the_terminal_of_who_runs_it_when_that_was_asked_for";
    if let Some(program) = missing_program(&["script"]) {
        return skip(test, program);
    }
    for user in User::all() {
        let env = Env::new(user);
        let name = env.layout(&Image::inspect().build());
        let file = env.home().join("printed");
        let redirection = format!("> {}", file.display());
        let explained = || env.skua(&["explain", "p"]).success().stdout;

        prepare(&env, &[], &name, &["tty"]);
        let found = shown(&at_a_terminal(&env, &RUN_PREPARED, "").success());
        assert_eq!(found["stdin"], false, "{user:?}: {found}");
        assert_eq!(found["controlling"], false, "{user:?}: {found}");
        env.skua(&["rm", "p"]).success();

        prepare(&env, &["--interactive"], &name, &["tty"]);
        let found = shown(&at_a_terminal(&env, &RUN_PREPARED, "").success());
        for stream in ["stdin", "stdout", "stderr", "controlling"] {
            assert_eq!(found[stream], true, "{user:?} {stream}: {found}");
        }
        assert!(explained().contains("open a terminal for app"));
        env.skua(&["rm", "p"]).success();

        prepare(&env, &["--interactive"], &name, &["tty"]);
        at_a_terminal(&env, &RUN_PREPARED, &redirection).success();
        let found = answered(&file);
        assert_eq!(found["stdin"], true, "{user:?}: {found}");
        assert_eq!(found["controlling"], false, "{user:?}: {found}");
        // It is told as it was, not as it was wished.
        assert!(!explained().contains("open a terminal for app"));
    }
}

#[test]
fn what_is_piped_into_a_prepared_pod_reaches_it_wherever_it_was_prepared() {
    let test = "what_is_piped_into_a_prepared_pod_reaches_it_wherever_it_was_prepared";
    if let Some(program) = missing_program(&["script"]) {
        return skip(test, program);
    }
    let env = Env::new(User::ordinary());
    let name = env.layout(&Image::inspect().build());
    let start = ["--insecure-options=image", "prepare", "--name=p", &name];
    let app = ["--", "read", "/proc/self/fd/0"];
    at_a_terminal(&env, &[&start[..], &app].concat(), "").success();
    let file = env.home().join("given");
    fs::write(&file, "from a file").expect("write");
    env.give(&file);
    let mut run = env.command(&RUN_PREPARED);
    run.stdin(fs::File::open(&file).expect("open"));
    let read = Run::of(run).success().json();
    assert_eq!(read["text"], "from a file", "{read}");
}
