//! Apps that tell how they go (`--notify`): when the pod is ready, and what of their words reaches the service manager. What
//! hostile ones try is in `notify_hostile.rs`, what systemd makes of it in `systemd.rs`.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use functional::telling::{Telling, watched};
use functional::{Background, Env, Image, Manager, Run, User, eventually};
use nix::sys::signal::Signal;
use serde_json::Value;

const RUN: [&str; 3] = ["--insecure-options=image", "run", "--name=p"];

/// What an app prints as `env`, by name.
fn variables(run: &Run) -> BTreeMap<String, String> {
    let pairs: Vec<(String, String)> = serde_json::from_value(run.json()).expect("pairs");
    pairs.into_iter().collect()
}

#[test]
fn a_pod_is_ready_when_each_app_that_tells_has_said_so() {
    for user in User::all() {
        let lab = Telling::new(user);
        let tells = "send=READY=1|STATUS=it's warm";
        let first = ["say=up", "until=SIGUSR1", tells, "until=SIGTERM"];
        let second = ["say=up", "send=READY=1", "until=SIGUSR1", "until=SIGTERM"];
        let third = ["say=up", "until=SIGUSR1", "until=SIGTERM"];
        let notify = ["--notify"];
        let apps = [(&notify[..], &first[..]), (&notify, &second), (&[], &third)];
        let pod = lab.start(&[], &apps);
        let keeper = pod.pid();
        eventually("all apps run", || pod.output().matches("up").count() == 3);
        sleep(Duration::from_millis(300));
        assert!(!lab.is_ready(), "{user:?}: {:#?}", lab.manager.lines());
        pod.signal(Signal::SIGUSR1);
        lab.manager.hears("READY=1");
        lab.manager.hears("STATUS=one: it's warm");
        pod.signal(Signal::SIGTERM);
        pod.wait().success();
        for message in lab.manager.heard() {
            assert_eq!(message.pid, keeper, "{message:?} is of another process");
        }
        assert_eq!(lab.count("READY=1"), 1);
        let status = lab.status();
        let ready = |at: usize| status["apps"][at]["ready"].is_string();
        assert_eq!(
            (ready(0), ready(1), ready(2)),
            (true, true, false),
            "{status:#}"
        );
    }
}

#[test]
fn an_app_tells_whoever_it_is_and_however_it_is_confined() {
    for user in User::all() {
        let lab = Telling::new(user);
        let exception = "--insecure-options=image,landlock";
        let cases: [(&[&str], &[&str]); 5] = [
            (&[], &[]),
            (
                &[],
                &["--readonly-rootfs", "--user=77:77", "--cap-retain=none"],
            ),
            (&["--net=host"], &["--user=77:77", "--readonly-rootfs"]),
            (&["--net=host"], &["--no-new-privileges=false"]),
            (&[], &["--environment=PATH=/", "--volume=/usr:/run:ro"]),
        ];
        for insecure in [false, true] {
            for (pod, flags) in cases {
                let flags = [&["--notify"], flags].concat();
                let mut words = lab.words(pod, &[(&flags, &["send=READY=1"])]);
                if insecure {
                    exception.clone_into(&mut words[0]);
                }
                let before = lab.count("READY=1");
                lab.start_words(&words).wait().success();
                eventually("the manager hears READY=1", || {
                    lab.count("READY=1") == before + 1
                });
            }
        }
    }
}

#[test]
fn without_a_manager_the_status_says_when_an_app_was_ready() {
    for user in User::all() {
        let lab = Telling::new(user);
        let run = |steps: &[&str]| {
            let words = lab.words(&[], &[(&["--notify"], steps)]);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            lab.env.skua(&words).success();
            let status = lab.status();
            let when = status["apps"][0]["ready"].clone();
            lab.env.skua(&["rm", "p"]).success();
            when
        };
        // More than the socket's queue holds: somebody reads.
        let ready = run(&["many=100=STATUS=x", "send=READY=1"]);
        assert!(ready.as_str().is_some_and(|at| at.contains('T')), "{ready}");
        assert_eq!(run(&["send=STATUS=x"]), Value::Null);
    }
}

#[test]
fn an_app_that_ends_without_having_been_ready_is_named_and_the_pod_never_is() {
    let lab = Telling::new(User::ordinary());
    let apps: [(&[&str], &[&str]); 2] = [(&["--notify"], &["send=READY=0"]), (&[], &["sleep=0.5"])];
    let run = lab.start(&[], &apps).wait().success();
    run.complains("app one ended and never said READY=1");
    lab.manager.hears("STOPPING=1");
    assert!(!lab.is_ready(), "{:#?}", lab.manager.lines());
    lab.env.skua(&["rm", "p"]).success();
    // One that is asked to end is not blamed, nor is one of whom nobody wants to know.
    let mut pod = lab.start(&[], &[(&["--notify"], &["say=up", "until=SIGTERM"])]);
    pod.prints("up");
    pod.signal(Signal::SIGTERM);
    let run = pod.wait().success();
    assert!(!run.stderr.contains("READY"), "{}", run.report());
    lab.env.skua(&["rm", "p"]).success();
    let words = lab.words(&[], &[(&["--notify"], &["say=up"])]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let run = lab.env.skua(&words).success();
    assert!(!run.stderr.contains("READY"), "{}", run.report());
}

#[test]
fn signs_of_life_go_on_when_each_app_that_tells_has_given_one() {
    for user in User::all() {
        let lab = Telling::new(user);
        // Every twentieth of a second, and wanted every eight tenths: a tenth is the least between two that go on.
        let often = ["hold=SIGUSR1", "send=READY=1", "every=0.05=WATCHDOG=1"];
        let late = [
            "say=up",
            "send=READY=1",
            "until=SIGUSR1",
            "every=0.05=WATCHDOG=1",
        ];
        let notify = ["--notify"];
        let words = lab.words(
            &["--stop-timeout=0"],
            &[(&notify, &often), (&notify, &late)],
        );
        let mut pod = lab.start_watched(800_000, &words);
        pod.prints("up");
        lab.manager.hears("READY=1");
        sleep(Duration::from_millis(500));
        assert_eq!(lab.count("WATCHDOG=1"), 0, "only one of them lives");
        let start = Instant::now();
        pod.signal(Signal::SIGUSR1);
        eventually("signs of life come", || lab.count("WATCHDOG=1") >= 10);
        let most = start.elapsed().as_millis() / 100 + 2;
        let came = lab.count("WATCHDOG=1") as u128;
        assert!(came <= most, "{came} instead of at most {most}");
        pod.signal(Signal::SIGTERM);
        pod.wait();
    }
}

#[test]
fn an_app_that_fails_says_so_in_a_watched_pod_alone() {
    let lab = Telling::new(User::ordinary());
    let steps = [
        "send=READY=1",
        "send=WATCHDOG=1",
        "send=WATCHDOG=trigger",
        "sleep=1",
    ];
    let words = lab.words(&["--rm"], &[(&["--notify"], &steps)]);
    lab.start_words(&words).wait().success();
    lab.manager.hears("STOPPING=1");
    assert_eq!(
        (lab.count("WATCHDOG=1"), lab.count("WATCHDOG=trigger")),
        (0, 0)
    );
    lab.start_watched(30_000_000, &words).wait().success();
    lab.manager.hears("WATCHDOG=trigger");
    lab.manager.hears("WATCHDOG=1");
}

#[test]
fn an_app_that_tells_knows_where_and_how_often_and_what_enters_it_does_not() {
    for user in User::all() {
        let env = Env::new(user);
        let own = [
            "NOTIFY_SOCKET=/of/the/image",
            "WATCHDOG_USEC=1",
            "WATCHDOG_PID=1",
        ];
        let image = Image::inspect().set("Env", own.as_slice().into());
        let image = env.layout(&image.build());
        let manager = Manager::at_path(&env);
        let run = |watchdog: u32| {
            let words = [&RUN[..], &["--rm", &image, "--notify", "--", "env"]].concat();
            let mut command = watched(&env, watchdog, &words);
            command.env("NOTIFY_SOCKET", &manager.address);
            variables(&Run::of(command).success())
        };
        let found = run(7_000_000);
        assert_eq!(found["NOTIFY_SOCKET"], "/dev/skua-notify", "{found:?}");
        assert_eq!(found["WATCHDOG_USEC"], "7000000", "{found:?}");
        // Pid 2 was the builder of the root.
        assert_eq!(found["WATCHDOG_PID"], "3", "the only process beside pid 1");
        let found = run(0);
        assert_eq!(found["NOTIFY_SOCKET"], "/dev/skua-notify", "{found:?}");
        assert!(
            !found.keys().any(|name| name.starts_with("WATCHDOG")),
            "{found:?}"
        );

        let env = Env::new(user);
        let plain = env.layout(&Image::inspect().build());
        let words = [&RUN[..], &[&plain, "--notify", "--", "sleep", "60"]].concat();
        let mut command = watched(&env, 7_000_000, &words);
        command.env("NOTIFY_SOCKET", &manager.address);
        let mut pod = Background::start(command);
        pod.prints("ready");
        let enter = ["enter", "p", "--", "/inspect", "env"];
        let run = env.skua(&enter).success();
        let run = run.lacks("NOTIFY");
        run.lacks("WATCHDOG");
        pod.signal(Signal::SIGKILL);
        pod.wait();
    }
}

#[test]
fn a_watchdog_needs_an_app_that_tells() {
    let lab = Telling::new(User::ordinary());
    let silent = lab.words(&[], &[(&[], &["say=x"])]);
    lab.start_watched(30_000_000, &silent)
        .wait()
        .fails(&["WatchdogSec=", "no app tells"])
        .complains("--notify");
    // Nobody names another process: it is for whoever has the variable.
    let words: Vec<&str> = silent.iter().map(String::as_str).collect();
    let mut unnamed = lab.env.command(&words);
    unnamed.env("WATCHDOG_USEC", "30000000");
    Run::of(unnamed).fails(&["WatchdogSec="]);
    for (tells, code) in [(false, 254), (true, 0)] {
        let flags: &[&str] = if tells { &["--notify"] } else { &[] };
        let mut words = lab.words(&[], &[(flags, &["send=READY=1"])]);
        if !tells {
            words.truncate(words.len() - 1);
            words.push("say=x".to_owned());
        }
        words[1] = "prepare".to_owned();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let id = lab.env.skua(&words).success().stdout;
        let words = [RUN[0], "run-prepared", id.trim()].map(str::to_owned);
        assert!(!lab.is_ready());
        let run = lab.start_watched(30_000_000, &words).wait().exits(code);
        assert_eq!(
            run.stderr.contains("WatchdogSec="),
            !tells,
            "{}",
            run.report()
        );
        if !tells {
            // It can still be run by somebody who does not watch.
            let run = [RUN[0], "run-prepared", id.trim()];
            lab.env.skua(&run).success();
            lab.env.skua(&["rm", "p"]).success();
        }
    }
    lab.manager.hears("READY=1");
}

#[test]
fn what_an_app_that_tells_is_given_cannot_be_given_twice() {
    let lab = Telling::new(User::ordinary());
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
        for variable in [format!("{name}=1"), name.to_owned()] {
            let flag = format!("--environment={variable}");
            let words = lab.words(&[], &[(&["--notify", &flag], &["say=x"])]);
            lab.start_words(&words)
                .wait()
                .fails(&[&format!("--environment {name}: --notify sets it")])
                .complains("leave one of the two out");
        }
    }
}

#[test]
fn explain_shows_which_app_tells_and_who_asked_for_it() {
    let lab = Telling::new(User::ordinary());
    let mut words = lab.words(&[], &[(&["--notify"], &["say=x"]), (&[], &["say=x"])]);
    words[1] = "explain".to_owned();
    words.insert(2, "--format=json".to_owned());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let plan = lab.env.skua(&words).success().json()["plan"].clone();
    let items = plan["items"].as_array().expect("items");
    let found: Vec<_> = items.iter().filter(|item| item["op"] == "notify").collect();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0]["origin"], "command-line");
    let text = found[0]["text"].as_str().expect("text");
    assert!(
        text.contains("one: ") && text.contains("/dev/skua-notify"),
        "{text}"
    );
}
