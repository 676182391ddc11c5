//! Apps that use what they are given with `--notify` against the service manager, the keeper, pid 1 or each other.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use functional::telling::Telling;
use functional::{User, eventually};
use nix::sys::signal::Signal;

#[test]
fn the_manager_hears_nothing_of_an_app_but_ready_and_its_status_in_one_line() {
    for user in User::all() {
        let lab = Telling::new(user);
        let steps = [
            "send=MAINPID=1|FDSTORE=1|FDNAME=x|STOPPING=1|RELOADING=1|ERRNO=1|BUSERROR=x|NOTIFYACCESS=all",
            "send=EXTEND_TIMEOUT_USEC=1|WATCHDOG=1|WATCHDOG=trigger|WATCHDOG_USEC=1|EXIT_STATUS=1|BARRIER=1",
            "send=",
            "send=||=|READY|READY=",
            "size=5000",
            "size=200000",
            "send=STATUS=a\u{1b}[2J\rMAINPID=1\u{2028}b",
            "say=up",
            "until=SIGUSR1",
            "send=READY=1|MAINPID=1|STOPPING=1",
            "until=SIGTERM",
        ];
        let mut pod = lab.start(&[], &[(&["--notify"], &steps)]);
        pod.prints("up");
        lab.manager
            .hears(r"STATUS=one: a\u{1b}[2J\rMAINPID=1\u{2028}b");
        assert!(!lab.is_ready(), "{:#?}", lab.manager.lines());
        pod.signal(Signal::SIGUSR1);
        lab.manager.hears("READY=1");
        sleep(Duration::from_millis(200));
        let lines = lab.manager.lines();
        let harmless = ["READY=1", "STATUS=", "EXTEND_TIMEOUT_USEC=120000000"];
        for line in &lines {
            let known = harmless.iter().any(|start| line.starts_with(start));
            assert!(known, "{user:?}: {line:?} in {lines:#?}");
        }
        pod.signal(Signal::SIGTERM);
        pod.wait().success();
    }
}

#[test]
fn descriptors_that_come_along_are_closed_at_once() {
    for user in User::all() {
        let lab = Telling::new(user);
        let steps = ["fd=200=STATUS=x", "fd=1=BARRIER=1", "until=SIGTERM"];
        let pod = lab.start(&[], &[(&["--notify"], &steps)]);
        eventually("every end of the pipes is closed", || {
            pod.output().matches("closed").count() == 2
        });
        pod.signal(Signal::SIGTERM);
        pod.wait().success();
    }
}

/// Hundredths of a second of processor time that a process has used.
fn processor_time(pid: &str) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields = stat.rsplit(") ").next().expect("fields");
    let fields = fields.split(' ').skip(11).take(2);
    fields.map(|time| time.parse::<u64>().expect("ticks")).sum()
}

#[test]
fn an_app_that_sends_without_end_costs_nobody_but_itself() {
    for user in User::all() {
        let lab = Telling::new(user);
        let flood = [
            "hold=SIGUSR1",
            "send=READY=1",
            "say=up",
            "every=0=STATUS=x|READY=1|WATCHDOG=1",
        ];
        let quiet = [
            "until=SIGUSR1",
            "send=READY=1|STATUS=heard",
            "until=SIGTERM",
        ];
        let apps = [(&["--notify"][..], &flood[..]), (&["--notify"], &quiet)];
        let mut pod = lab.start(&[], &apps);
        pod.prints("up");
        let keeper = pod.pid().to_string();
        let children = format!("/proc/{keeper}/task/{keeper}/children");
        let stage2 = fs::read_to_string(children).expect("the child of the keeper");
        sleep(Duration::from_secs(3));
        let used = processor_time(&keeper) + processor_time(stage2.trim());
        assert!(used < 60, "{used} hundredths of a second in three of them");
        assert!(!lab.is_ready());
        // The other app is heard, and so is whoever ends the pod.
        pod.signal(Signal::SIGUSR1);
        lab.manager.hears("READY=1");
        lab.manager.hears("STATUS=two: heard");
        let statuses = lab.count("STATUS=one: x");
        assert!(statuses < 12, "{statuses} lines went on");
        let start = Instant::now();
        pod.signal(Signal::SIGTERM);
        pod.wait();
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{:?}",
            start.elapsed()
        );
    }
}

#[test]
fn no_app_speaks_for_another() {
    for user in User::all() {
        let lab = Telling::new(user);
        let stays = ["say=up", "until=SIGTERM"];
        let notify = ["--notify"];
        for place in [
            "/proc/1/root",
            "/proc/3/root",
            "/proc/4/root/proc/3/root",
            "",
        ] {
            let to = format!("at={place}/dev/skua-notify");
            let forges = ["say=up", &to, "send=READY=1"];
            let pod = lab.start(&[], &[(&notify, &stays), (&[], &forges)]);
            let run = pod.wait().exits(99);
            run.complains("cannot send to");
            lab.env.skua(&["rm", "p"]).success();
        }
        assert!(!lab.is_ready(), "{:#?}", lab.manager.lines());
        // One that takes its own socket away takes nobody else's.
        let late = ["until=SIGUSR1", "send=READY=1", "until=SIGTERM"];
        let replaces = ["send=READY=1", "replace"];
        let mut pod = lab.start(&[], &[(&notify, &late), (&notify, &replaces)]);
        pod.prints("ok");
        pod.signal(Signal::SIGUSR1);
        lab.manager.hears("READY=1");
        pod.signal(Signal::SIGTERM);
        pod.wait().success();
    }
}
