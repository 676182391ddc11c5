//! Stopping a pod, and signals that pass through pid 1.

use serde_json::json;

use crate::fixture::{Pod, app, skip_reason};

#[test]
fn an_orderly_stop_is_the_app_s_own_stop_signal() {
    if skip_reason("an_orderly_stop_is_the_app_s_own_stop_signal") {
        return;
    }
    for asked in ["TERM", "QUIT"] {
        let trap = "trap 'echo stopped; exit 5' USR2; echo; sleep 100 & wait";
        let mut pod = Pod::new(&[app("a", &["sh", "-c", trap])]);
        pod.apps[0]["stop_signal"] = json!(12);
        let started = pod.start();
        started.until_running("sh");
        std::thread::sleep(std::time::Duration::from_millis(100));
        started.signal(asked);
        let end = started.wait();
        assert_eq!(
            (end.code, end.stdout.as_str()),
            (5, "\nstopped\n"),
            "{asked}: {end:?}"
        );
        assert_eq!(end.status("a")["timed_out"], json!(false));
    }
}

#[test]
fn an_interrupt_reaches_the_apps_as_it_is_and_what_ignores_it_is_stopped() {
    if skip_reason("an_interrupt_reaches_the_apps_as_it_is_and_what_ignores_it_is_stopped") {
        return;
    }
    let stubborn = "trap '' INT; trap 'exit 5' TERM; while :; do sleep 0.1; done";
    let pod = Pod::new(&[
        app("a", &["sleep", "100"]),
        app("b", &["sh", "-c", stubborn]),
    ]);
    let started = pod.start();
    started.until_running("sleep");
    std::thread::sleep(std::time::Duration::from_millis(100));
    started.signal("INT");
    let end = started.wait();
    assert_eq!(end.status("a")["outcome"]["signal"], 2, "{end:?}");
    assert_eq!(end.status("b")["outcome"]["code"], 5, "{end:?}");
    assert_eq!(end.status("b")["timed_out"], json!(false));
    assert_eq!(end.code, 130, "the first app that failed: {end:?}");
}

#[test]
fn what_ignores_its_stop_signal_is_killed_when_the_time_has_run_out() {
    if skip_reason("what_ignores_its_stop_signal_is_killed_when_the_time_has_run_out") {
        return;
    }
    let pod = Pod::new(&[
        app(
            "a",
            &["sh", "-c", "trap '' TERM; while :; do sleep 1; done"],
        ),
        app("b", &["sleep", "100"]),
    ]);
    let started = pod.start();
    started.until_running("sleep");
    std::thread::sleep(std::time::Duration::from_millis(100));
    started.signal("TERM");
    let end = started.wait();
    assert_eq!(
        end.status("b")["outcome"],
        json!({"kind": "signaled", "signal": 15, "core": false})
    );
    assert_eq!(end.status("a")["outcome"]["signal"], 9, "{end:?}");
    assert_eq!(end.status("a")["timed_out"], json!(true));
    assert_eq!(end.status("b")["timed_out"], json!(false));
    assert_eq!(end.code, 143, "the first app that failed: {end:?}");
}

#[test]
fn other_signals_reach_every_app_as_they_are() {
    if skip_reason("other_signals_reach_every_app_as_they_are") {
        return;
    }
    for (name, number) in [("HUP", 1), ("USR1", 10), ("USR2", 12), ("WINCH", 28)] {
        let trap = format!("trap 'exit {}' {name}; sleep 100 & wait", number + 100);
        let started = Pod::new(&[app("a", &["sh", "-c", &trap])]).start();
        started.until_running("sh");
        std::thread::sleep(std::time::Duration::from_millis(100));
        started.signal(name);
        assert_eq!(started.wait().code, number + 100, "{name}");
    }
}

#[test]
fn pid_1_dies_with_its_keeper() {
    if skip_reason("pid_1_dies_with_its_keeper") {
        return;
    }
    // unshare is its parent here. SIGKILL of it leaves nothing, although the app ignores everything else.
    let started = Pod::new(&[app("a", &["sh", "-c", "trap '' TERM HUP INT; sleep 100"])]).start();
    started.until_running("sleep");
    let pid = started.pid_1();
    let parent = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let parent = parent
        .rsplit(") ")
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .to_owned();
    assert!(
        std::process::Command::new("kill")
            .args(["-9", &parent])
            .status()
            .unwrap()
            .success()
    );
    let end = started.wait();
    assert_ne!(end.code, 0, "{end:?}");
    assert!(end.status_files.is_empty());
}
