//! The standard streams of apps: images of servers log to `/dev/stdout` and `/dev/stderr`, whoever they run as.

use std::process::Command;

use functional::{Env, Image, Run, User};

/// skua with its standard output and error in pipes of the same user.
fn piped(env: &Env, words: &[&str]) -> Run {
    let skua = env.command(words);
    let mut shell: Command = env.program("sh");
    shell.args(["-c", "\"$@\" 2>&1 | cat", "sh"]);
    shell.arg(skua.get_program()).args(skua.get_args());
    Run::of(shell)
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
