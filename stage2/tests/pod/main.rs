//! Drives the real stage2 as pid 1 of namespaces that `unshare` makes, with a root of busybox: what stage1 would hand over,
//! and much that it never would.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod fixture;
mod refusals;
mod signals;
mod users;

use fixture::{Pod, app, skip_reason};
use serde_json::json;

/// Runs one app with a shell script as its program.
fn script(text: &str) -> Pod {
    Pod::new(&[app("a", &["sh", "-c", text])])
}

#[test]
fn an_app_ends_with_its_code_and_exactly_one_status() {
    if skip_reason("an_app_ends_with_its_code_and_exactly_one_status") {
        return;
    }
    let end = script("echo hello; exit 7").run();
    assert_eq!(end.code, 7, "{end:?}");
    assert_eq!(end.stdout, "hello\n");
    assert_eq!(end.status_files, ["a.json"]);
    assert_eq!(
        end.status("a")["outcome"],
        json!({"kind": "exited", "code": 7})
    );
    assert_eq!(end.status("a")["timed_out"], json!(false));
    let times = |key: &str| end.status("a")[key].as_u64().unwrap();
    assert!(times("started") < times("finished"));
}

#[test]
fn the_first_app_that_fails_ends_its_pod_and_gives_the_exit_status() {
    if skip_reason("the_first_app_that_fails_ends_its_pod_and_gives_the_exit_status") {
        return;
    }
    let end = Pod::new(&[
        app("a", &["sleep", "1000"]),
        app("b", &["sh", "-c", "sleep 0.3; exit 3"]),
        app("c", &["true"]),
    ])
    .run();
    assert_eq!(end.code, 3, "{end:?}");
    assert_eq!(end.status("a")["outcome"]["signal"], 15);
    assert_eq!(end.status("c")["outcome"]["code"], 0);
}

#[test]
fn orphans_are_reaped_and_end_with_the_pod() {
    if skip_reason("orphans_are_reaped_and_end_with_the_pod") {
        return;
    }
    let end = script("(sleep 0 &); (sleep 1000 &); sleep 0.4; cat /proc/[0-9]*/comm; exit 0").run();
    // Only pid 1 could have taken the first sleeper; the second ends with the pod, or this would not end.
    assert_eq!(
        (end.code, end.stdout.as_str()),
        (0, "stage2\nsh\nsleep\n"),
        "{end:?}"
    );
}

#[test]
fn nothing_but_the_standard_streams_is_inherited() {
    if skip_reason("nothing_but_the_standard_streams_is_inherited") {
        return;
    }
    let end =
        script("ls /proc/self/fd | tr '\\n' ' '; readlink /proc/self/fd/0; cat | wc -c").run();
    // 3 is the directory that ls reads.
    assert_eq!(end.stdout, "0 1 2 3 /dev/null\n0\n", "{end:?}");
}

#[test]
fn the_environment_is_the_app_s_with_home_and_user_of_its_own() {
    if skip_reason("the_environment_is_the_app_s_with_home_and_user_of_its_own") {
        return;
    }
    let mut pod = Pod::new(&[app("a", &["env"])]);
    pod.apps[0]["environment"] = json!(["PATH=/bin", "X=1"]);
    assert_eq!(pod.run().stdout, "PATH=/bin\nX=1\nHOME=/root\nUSER=root\n");
    pod.apps[0]["environment"] = json!(["PATH=/bin", "HOME=/h", "USER=u"]);
    assert_eq!(pod.run().stdout, "PATH=/bin\nHOME=/h\nUSER=u\n");
}

#[test]
fn signals_and_mask_are_fresh_whatever_was_inherited() {
    if skip_reason("signals_and_mask_are_fresh_whatever_was_inherited") {
        return;
    }
    let mut pod = Pod::new(&[app(
        "a",
        &["grep", "-E", "Sig(Blk|Ign)|Umask", "/proc/self/status"],
    )]);
    pod.before = "trap '' HUP INT TERM CHLD USR1; umask 0".to_owned();
    let end = pod.run();
    let zero = "0000000000000000";
    assert!(end.stdout.contains(&format!("SigBlk:\t{zero}")), "{end:?}");
    assert!(end.stdout.contains(&format!("SigIgn:\t{zero}")), "{end:?}");
    assert!(end.stdout.contains("Umask:\t0022"), "{end:?}");
}

#[test]
fn pid_1_cannot_be_read_traced_or_ended_by_user_0_of_its_pod() {
    if skip_reason("pid_1_cannot_be_read_traced_or_ended_by_user_0_of_its_pod") {
        return;
    }
    let attacks = "for f in environ mem maps auxv io stack fd/3; do cat /proc/1/$f; done 2>/dev/null | wc -c; \
        for f in exe root cwd fd/7; do readlink /proc/1/$f; done; kill -TERM 1; kill -KILL 1; kill -STOP 1; \
        sleep 0.2; grep CapEff /proc/1/status";
    let end = script(attacks).run();
    assert_eq!(end.stdout, "0\nCapEff:\t0000000000000020\n", "{end:?}");
    assert_eq!(end.code, 0);
}

#[test]
fn other_apps_roots_cannot_be_reached() {
    if skip_reason("other_apps_roots_cannot_be_reached") {
        return;
    }
    // What lies over the root is reached by "..", and by no other way.
    let end = script(
        "ls -d /apps /old /stage2 /../apps /../stage2 /proc/1/root/ 2>&1 | grep -v 'No such\\|denied'
         cd -P ..; pwd; ls -d bin apps 2>/dev/null",
    )
    .run();
    assert_eq!(end.stdout, "/\nbin\n", "{end:?}");
}

#[test]
fn a_seccomp_program_is_loaded_last_and_read_back() {
    if skip_reason("a_seccomp_program_is_loaded_last_and_read_back") {
        return;
    }
    let mut pod = Pod::new(&[app(
        "a",
        &["sh", "-c", "grep Seccomp: /proc/self/status; mkdir /x"],
    )]);
    pod.filter("a", &fixture::filter_that_denies_mkdir());
    let end = pod.run();
    assert!(end.stdout.contains("Seccomp:\t2"), "{end:?}");
    assert!(end.stderr.contains("Operation not permitted"), "{end:?}");
    // Without no_new_privs too: then CAP_SYS_ADMIN is given up after the filter.
    pod.apps[0]["no_new_privileges"] = json!(false);
    pod.apps[0]["argv"] = json!([
        "sh",
        "-c",
        "grep -E 'Seccomp:|NoNew|CapPrm' /proc/self/status"
    ]);
    let end = pod.run();
    assert_eq!(
        end.stdout, "CapPrm:\t0000000000000021\nNoNewPrivs:\t0\nSeccomp:\t2\n",
        "{end:?}"
    );
}

#[test]
fn abstract_sockets_outside_are_out_of_reach_when_scoped() {
    if skip_reason("abstract_sockets_outside_are_out_of_reach_when_scoped") {
        return;
    }
    let mut pod = script("exit 0");
    pod.apps[0]["landlock"]["scope_abstract_sockets"] = json!(true);
    let end = pod.run();
    let supported = !end.stderr.contains("older than ABI 6");
    assert_eq!(end.code, if supported { 0 } else { 254 }, "{end:?}");
}

/// stage1 hands out no directory (`tests/functional/tests/streams.rs`); this is what stands behind that.
#[test]
fn a_directory_that_leaks_in_leads_nowhere_under_landlock() {
    if skip_reason("a_directory_that_leaks_in_leads_nowhere_under_landlock") {
        return;
    }
    for (confined, said) in [(true, "Permission denied"), (false, "of the host")] {
        let mut pod =
            script("cat /proc/self/fd/0/secret 2>&1; echo new 2>&1 > /proc/self/fd/0/new");
        "mkdir $1/leaked; echo of the host > $1/leaked/secret; exec <$1/leaked"
            .clone_into(&mut pod.before);
        pod.apps[0]["stdin"] = json!(true);
        pod.apps[0]["landlock"]["files"] = json!(confined);
        let end = pod.run();
        assert!(end.stdout.contains(said), "{end:?}");
        assert_eq!(end.code, i32::from(confined), "{end:?}");
    }
}
