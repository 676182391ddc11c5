//! An app cannot trace or read pid 1 and what enters its pod, and with a Landlock domain not even if it may trace what is in
//! its user namespace. That it never can while that is stage1 is in `enter.rs`.

use functional::{Env, Image, User};
use serde_json::{Value, json};

/// Landlock keeps an app from every process outside its domain: what else keeps it from them is seen without it.
const WITHOUT_LANDLOCK: &str = "--insecure-options=image,landlock";
/// The capability of debuggers.
const MAY_TRACE: &str = "--cap-retain=CAP_SYS_PTRACE";

/// An app looks at what enters its pod as a program whose name begins with `program`, and gets nothing of it.
fn hunts_in_vain(options: &str, app: &[&str], program: &str) {
    for user in User::all() {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let pod = [options, "run", "--name=p", &image];
        let hunt = ["--", "hunt", "/stop", program];
        let mut pod = env.spawn(&[&pod[..], app, &hunt].concat());
        pod.prints("ready");
        // It is one for less than a millisecond each time.
        for _ in 0..300 {
            if pod.output().contains("seen") {
                break;
            }
            env.skua(&["enter", "p", "--", "/inspect", "exit", "0"])
                .success();
        }
        // The pod may end before what entered has.
        env.skua(&["enter", "p", "--", "/inspect", "write", "/stop", ""]);
        let run = pod.wait().success();
        let last = run.stdout.lines().last().unwrap_or_default();
        let found: Value = serde_json::from_str(last).expect("an answer");
        let seen = found["seen"].as_u64().unwrap_or(0);
        assert!(seen >= 10, "{user:?}: nothing was hunted: {found}");
        assert_eq!(found["caught"], json!({}), "{user:?}");
    }
}

/// LXC CVE-2016-8649 and what followed.
#[test]
fn what_enters_cannot_be_traced_or_read_before_it_is_confined() {
    hunts_in_vain(WITHOUT_LANDLOCK, &[], "skua-");
}

/// Stage2, as pid 1 and as what enters, belongs to the user namespace of such an app: Landlock alone keeps it from that.
#[test]
fn no_program_of_ours_can_be_traced_or_read_by_an_app_with_a_domain_that_may_trace() {
    hunts_in_vain("--insecure-options=image", &[MAY_TRACE], "skua-");
}
