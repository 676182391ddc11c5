//! What the kernel counts for a user: that of a pod counts for the pod, and none of it for root.

use std::process::Command;

use functional::{Background, Env, Image, Run, User, binaries};
use nix::sys::signal::Signal;

const PREFIX: &[&str] = &["--insecure-options=image", "run", "--net=none"];

/// What root gets on the host: the answer to a question about what an app has used up.
fn asked_outside(question: &[&str]) -> serde_json::Value {
    let mut command = Command::new(binaries().join("inspect"));
    command.args(question);
    Run::of(command).success().json()
}

/// Runs `question` on the host while an app of user 0 has used up `what`.
fn while_used_up(env: &Env, what: &str, outside: impl FnOnce()) {
    let image = env.layout(&Image::inspect().build());
    let words = [&image, "--", "exhaust", what];
    let mut pod = Background::start(env.command(&[PREFIX, &words].concat()));
    pod.prints("ready");
    outside();
    pod.signal(Signal::SIGTERM);
    pod.wait().exits(143);
}

#[test]
fn privileged_what_an_app_uses_up_is_not_root_s() {
    let Some(root) = User::root("privileged_what_an_app_uses_up_is_not_root_s") else {
        return;
    };
    let env = Env::new(root);
    while_used_up(&env, "inotify", || {
        let call = libc::SYS_inotify_init1.to_string();
        let made = asked_outside(&["syscall", &call, "0"]);
        assert_eq!(made["ok"], true, "{made}");
    });
    while_used_up(&env, "signals", || {
        let mut target = Command::new("sleep").arg("60").spawn().expect("sleep");
        let (pid, signal) = (target.id().to_string(), libc::SIGRTMIN().to_string());
        let code = libc::SI_QUEUE.to_string();
        let sent = asked_outside(&["queue", &pid, &signal, &code, &pid]);
        let _ = target.kill();
        let _ = target.wait();
        assert_eq!(sent["ok"], true, "{sent}");
    });
}
