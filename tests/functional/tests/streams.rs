//! The standard streams of apps: images of servers log to `/dev/stdout` and `/dev/stderr`, whoever they run as.

use std::process::Command;

use functional::{Env, Image, Run, User};

/// skua as `"$@"` of a shell's line, of the same user.
fn by_shell(env: &Env, line: &str, words: &[&str]) -> Run {
    let skua = env.command(words);
    let mut shell: Command = env.program("sh");
    shell.args(["-c", line, "sh"]);
    shell.arg(skua.get_program()).args(skua.get_args());
    Run::of(shell)
}

/// skua with its standard output and error in pipes.
fn piped(env: &Env, words: &[&str]) -> Run {
    by_shell(env, "\"$@\" 2>&1 | cat", words)
}

#[test]
fn an_app_can_open_the_caller_s_pipes_again_as_every_user() {
    for user in User::all() {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        for app_user in ["--user=0", "--user=1000"] {
            for stream in ["/dev/stdout", "/dev/stderr"] {
                let words = ["--insecure-options=image", "run", &image, app_user, "--"];
                piped(&env, &[&words[..], &["append", stream, "logged"]].concat()).says("logged");
            }
        }
    }
}

/// From a directory an app could go to all files and sockets of the host, and so it could from what was opened as a path only.
#[test]
fn what_is_no_stream_is_not_handed_to_apps() {
    for user in User::all() {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let run = ["--insecure-options=image", "run", "--net=none", "--rm"];
        let app = [image.as_str(), "--user=33", "--", "cwd"];
        let words = [&run[..], &app].concat();
        for (line, name) in [
            ("\"$@\" < /etc", "standard input"),
            ("\"$@\" 1< /etc", "standard output"),
        ] {
            let refused = format!("cannot hand {name} to apps: it is a directory");
            by_shell(&env, line, &words)
                .fails(&[&refused])
                .complains("--volume");
        }
        by_shell(&env, "\"$@\" 2< /etc", &words)
            .exits(254)
            .lacks("/");
        for line in [
            "\"$@\" < /etc/passwd",
            "\"$@\" < /dev/null 2> /dev/null",
            "echo | \"$@\"",
        ] {
            by_shell(&env, line, &words).success();
        }
        let left = std::fs::read_dir(env.data().join("pods/exited-garbage"));
        assert_eq!(left.map_or(0, Iterator::count), 0, "{user:?}");
    }
}

/// What apps write to one pipe is the caller's: who opens it to read takes it from him, too.
#[test]
fn what_apps_write_no_app_can_read() {
    for user in User::all().into_iter().filter(|user| *user != User::Single) {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let run = ["--insecure-options=image", "run", "--net=none", "--rm"];
        let app = [&image, "--user=1000", "--", "read", "/dev/stdout"];
        let words = [&run[..], &app].concat();
        let out = env.scratch("out").display().to_string();
        for line in [
            "timeout 20 \"$@\" | cat".to_owned(),
            format!("timeout 20 \"$@\" > {out}; cat {out}"),
        ] {
            by_shell(&env, &line, &words).says("EACCES");
        }
    }
}
