//! What a service manager is told of a pod (`sd_notify(3)`), and by whom; what systemd makes of it is in `systemd.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use functional::{
    Background, Env, Image, Key, Manager, Registry, Run, User, eventually, private_host,
};
use nix::sys::signal::Signal;
use serde_json::json;

const RUN: [&str; 2] = ["--insecure-options=image", "run"];

/// An image in a layout directory, and an environment.
fn image(user: User) -> (Env, String) {
    let env = Env::new(user);
    let name = env.layout(&Image::inspect().build());
    (env, name)
}

/// skua as a manager starts it.
fn start(env: &Env, manager: &Manager, words: &[&str]) -> Background {
    let mut command = env.command(words);
    command.env("NOTIFY_SOCKET", &manager.address);
    Background::start(command)
}

/// At which place there is exactly one such line.
fn only(lines: &[String], wanted: &str) -> usize {
    let found = lines.iter().enumerate().filter(|(_, line)| *line == wanted);
    let places: Vec<_> = found.map(|(at, _)| at).collect();
    assert_eq!(places.len(), 1, "{wanted} once in {lines:#?}");
    places[0]
}

#[test]
fn a_manager_hears_of_a_pod_from_its_fetch_to_its_end_and_from_the_keeper_alone() {
    for user in User::all() {
        for at_path in [true, false] {
            let (env, name) = image(user);
            let manager = match at_path {
                true => Manager::at_path(&env),
                false => Manager::abstract_one(),
            };
            let first = ["--name=one", "--", "trap", "SIGTERM", "0"];
            let second = ["---", &name, "--name=two", "--", "trap", "SIGTERM", "0"];
            let words = [&RUN[..], &[&name], &first, &second].concat();
            let pod = start(&env, &manager, &words);
            let keeper = pod.pid();
            manager.hears("READY=1");
            let running = manager.lines();
            eventually("both apps wait for the signal", || {
                pod.output().matches("ready").count() == 2
            });
            pod.signal(Signal::SIGTERM);
            pod.wait().success();
            manager.hears("STOPPING=1");
            let (heard, lines) = (manager.heard(), manager.lines());
            for message in &heard {
                assert_eq!(
                    message.pid, keeper,
                    "{user:?}: {message:?} is of another process"
                );
            }
            assert!(!running.contains(&"STOPPING=1".to_owned()), "{running:#?}");
            let (ready, stopping) = (only(&lines, "READY=1"), only(&lines, "STOPPING=1"));
            assert!(ready < stopping, "{lines:#?}");
            assert!(lines[ready + 1].ends_with(" runs: one, two"), "{lines:#?}");
            let fetching = format!("STATUS=fetching {name}");
            let fetching = only(&lines, &fetching);
            let extended = lines
                .iter()
                .position(|line| line.starts_with("EXTEND_TIMEOUT_USEC="));
            assert!(
                fetching < ready && extended.is_some_and(|at| at < ready),
                "{lines:#?}"
            );
        }
    }
}

#[test]
fn a_pod_with_an_app_that_cannot_be_executed_is_never_ready() {
    let (env, name) = image(User::ordinary());
    let manager = Manager::at_path(&env);
    let second = ["---", &name, "--name=two", "--exec=/nothing"];
    let words = [
        &RUN[..],
        &[&name, "--name=one", "--", "sleep", "60"],
        &second,
    ]
    .concat();
    start(&env, &manager, &words).wait().fails(&["/nothing"]);
    manager.hears("STOPPING=1");
    let lines = manager.lines();
    assert!(!lines.contains(&"READY=1".to_owned()), "{lines:#?}");
}

#[test]
fn a_pod_that_ends_at_once_was_ready() {
    let (env, name) = image(User::ordinary());
    for _ in 0..5 {
        let manager = Manager::at_path(&env);
        let words = [&RUN[..], &[&name, "--", "exit", "3"]].concat();
        start(&env, &manager, &words).wait().exits(3);
        manager.hears("STOPPING=1");
        only(&manager.lines(), "READY=1");
        fs::remove_file(&manager.address).expect("the socket");
    }
}

#[test]
fn no_app_and_nothing_that_enters_knows_of_the_manager() {
    for user in User::all() {
        let (env, name) = image(user);
        let manager = Manager::at_path(&env);
        let words = [&RUN[..], &["--name=p", &name, "--", "sleep", "60"]].concat();
        let pod = start(&env, &manager, &words);
        manager.hears("READY=1");
        let mut enter = env.command(&["enter", "p", "--", "/inspect", "env"]);
        enter.env("NOTIFY_SOCKET", &manager.address);
        Run::of(enter).success().lacks("NOTIFY");
        pod.signal(Signal::SIGKILL);
        pod.wait();
        let words = [&RUN[..], &[&name, "--", "env"]].concat();
        start(&env, &manager, &words)
            .wait()
            .success()
            .lacks("NOTIFY");
    }
    let (env, name) = image(User::ordinary());
    let manager = Manager::at_path(&env);
    let words = [
        &RUN[..],
        &[&name, "--environment=NOTIFY_SOCKET", "--", "env"],
    ]
    .concat();
    let run = start(&env, &manager, &words)
        .wait()
        .fails(&["NOTIFY_SOCKET", "no app"]);
    run.complains("hint: with --notify");
}

#[test]
fn no_credential_helper_and_no_worker_knows_of_the_manager() {
    let env = Env::new(User::ordinary());
    let manager = Manager::at_path(&env);
    let registry = Registry::start();
    let name = registry.push_signed("team/app", "1", &Image::inspect().build(), &Key::new(1));
    let said = env.scratch("said");
    let script = format!(
        "#!/bin/sh\nenv > {}\necho credentials not found in native keychain\nexit 1\n",
        said.display()
    );
    let helper = env.write("docker-credential-test", script);
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("chmod");
    let host = registry.name("").trim_end_matches('/').to_owned();
    let auth = json!({"credHelpers": {host: "test"}}).to_string();
    let mut command = env.command(&["--insecure-options=image", "fetch", &name]);
    command
        .env("NOTIFY_SOCKET", &manager.address)
        .env("REGISTRY_AUTH_FILE", env.write("auth.json", auth))
        .env(
            "PATH",
            format!("{}:/usr/bin:/bin", env.scratch("").display()),
        );
    let fetch = Background::start(command);
    let skua = fetch.pid();
    fetch.wait().success();
    let said = fs::read_to_string(said).expect("the helper was asked");
    assert!(said.contains("PATH=") && !said.contains("NOTIFY"), "{said}");
    manager.hears("STATUS=fetching ");
    manager.hears("EXTEND_TIMEOUT_USEC=");
    assert!(manager.heard().iter().all(|message| message.pid == skua));
    let lines = manager.lines();
    let layers = lines
        .iter()
        .any(|line| line.contains(" of 1 layers unpacked"));
    assert!(layers, "{lines:#?}");
}

#[test]
fn privileged_no_network_plugin_knows_of_the_manager() {
    let Some(root) = private_host("privileged_no_network_plugin_knows_of_the_manager") else {
        return;
    };
    let (env, name) = image(root);
    let manager = Manager::at_path(&env);
    let said = env.scratch("said");
    let script = format!(
        "#!/bin/sh\nenv >> {}\necho '{{\"cniVersion\":\"1.0.0\"}}'\n",
        said.display()
    );
    let plugin = env.write("teller", script);
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).expect("chmod");
    let networks = env.config().join("net.d");
    fs::create_dir_all(&networks).expect("make net.d");
    let conflist = json!({"cniVersion": "1.0.0", "name": "t", "plugins": [{"type": "teller"}]});
    fs::write(networks.join("t.conflist"), conflist.to_string()).expect("write a conflist");
    let words = [&RUN[..], &["--net=t", &name, "--", "exit", "0"]].concat();
    let mut command = env.command(&words);
    command
        .env("NOTIFY_SOCKET", &manager.address)
        .env("CNI_PATH", env.scratch(""));
    Run::of(command).success();
    manager.hears("READY=1");
    let said = fs::read_to_string(said).expect("the plugin was called");
    assert!(
        said.contains("CNI_COMMAND=ADD") && said.contains("CNI_COMMAND=DEL"),
        "{said}"
    );
    assert!(!said.contains("NOTIFY"), "{said}");
}

#[test]
fn a_manager_that_cannot_be_reached_is_named_once_and_the_pod_runs() {
    let (env, name) = image(User::ordinary());
    let words = [&RUN[..], &["--pull=never", &name, "--", "exit", "7"]].concat();
    env.skua(&["--insecure-options=image", "fetch", &name])
        .success();
    for (address, why) in [
        ("/nothing/there", "No such file"),
        ("vsock:2:1234", "neither a path"),
        ("", "neither a path"),
    ] {
        let mut command = env.command(&words);
        command.env("NOTIFY_SOCKET", address);
        let run = Run::of(command).exits(7);
        let lines: Vec<_> = run
            .stderr
            .lines()
            .filter(|line| line.contains("NOTIFY_SOCKET"))
            .collect();
        assert_eq!(lines.len(), 1, "{}", run.report());
        assert!(lines[0].contains(why), "{}", run.report());
    }
}

#[test]
fn a_unit_with_a_watchdog_that_no_app_feeds_is_refused_at_once() {
    let (env, name) = image(User::ordinary());
    let line = |variables: &str| {
        let words = [&RUN[..], &[&name, "--", "exit", "7"]].concat();
        let typed = env.command(&words);
        let mut shell = env.program("/bin/sh");
        shell
            .args(["-c", &format!("export {variables}; exec \"$@\""), "sh"])
            .arg(typed.get_program())
            .args(typed.get_args());
        Run::of(shell)
    };
    let watched = line("WATCHDOG_PID=$$ WATCHDOG_USEC=30000000");
    watched
        .fails(&["WatchdogSec=: no app tells how it goes"])
        .complains("hint: give an app that sends WATCHDOG=1 the flag --notify");
    // Variables of a unit whose main process is another.
    line("WATCHDOG_PID=1 WATCHDOG_USEC=1").exits(7);
    line("WATCHDOG_PID=$$ WATCHDOG_USEC=0").exits(7);
}
