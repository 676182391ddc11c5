//! Profiles of AppArmor, where it is in force: what is in them is enforced in apps and in what enters them. Debian's kernels
//! have it: these run in the virtual machines of `vm/lane`. What is said where it is not in force is in `sandbox_flags.rs`.

use std::fs;

use functional::systemd::{Lab, under_systemd};
use functional::{Env, Run, User, missing_program, sh, skip};
use serde_json::Value;

/// Allows everything but writing below /etc, so that it can be told from no profile.
const PROFILE: &str = "profile skua-test flags=(attach_disconnected,mediate_deleted) {
  file,
  capability,
  network,
  signal,
  ptrace,
  deny /etc/** w,
}
";

const FLAG: &str = "--apparmor=skua-test";
const LABEL: &str = "skua-test (enforce)\n";

/// The profile is loaded. `false`, said so, where that cannot be.
fn loaded(test: &str) -> bool {
    let Some(root) = User::root(test) else {
        return false;
    };
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    if !enabled.is_ok_and(|text| text.starts_with('Y')) {
        skip(test, "AppArmor is not in force here");
        return false;
    }
    if let Some(program) = missing_program(&["apparmor_parser"]) {
        skip(test, &format!("{program} is not installed"));
        return false;
    }
    let env = Env::new(root);
    let file = env.write("profile", PROFILE);
    sh(&format!("apparmor_parser -r {}", file.display()));
    true
}

fn label(run: &Run) -> Value {
    run.json()["text"].clone()
}

const CURRENT: [&str; 2] = ["read", "/proc/self/attr/current"];

#[test]
fn privileged_an_app_is_executed_under_its_apparmor_profile() {
    if !loaded("privileged_an_app_is_executed_under_its_apparmor_profile") {
        return;
    }
    for user in User::all() {
        let lab = Lab::new(user);
        let ask = |flags: &[&str], words: &[&str]| lab.run(&[], flags, words).success();
        assert_eq!(label(&ask(&[FLAG], &CURRENT)), LABEL, "{user:?}");
        let write = |flags: &[&str], path: &str| ask(flags, &["write", path, "x"]).json();
        let denied = write(&[FLAG], "/etc/new");
        assert_eq!(denied["errno"], "EACCES", "{user:?}: {denied}");
        assert_eq!(write(&[FLAG], "/new")["ok"], true, "{user:?}");
        assert_eq!(write(&[], "/etc/new")["ok"], true, "{user:?}");
        // Also for an app that may gain privileges, and that is not user 0.
        let flags = [FLAG, "--no-new-privileges=false", "--user=app"];
        assert_eq!(label(&ask(&flags, &CURRENT)), LABEL, "{user:?}");
    }
}

#[test]
fn privileged_what_enters_an_app_is_under_its_apparmor_profile() {
    if !loaded("privileged_what_enters_an_app_is_under_its_apparmor_profile") {
        return;
    }
    for user in User::all() {
        let lab = Lab::new(user);
        lab.entered(&[FLAG], |enter| {
            assert_eq!(label(&enter(&CURRENT).success()), LABEL, "{user:?}");
            let denied = enter(&["write", "/etc/new", "x"]).success().json();
            assert_eq!(denied["errno"], "EACCES", "{user:?}: {denied}");
        });
    }
}

#[test]
fn privileged_an_apparmor_profile_that_is_not_loaded_starts_nothing() {
    if !loaded("privileged_an_apparmor_profile_that_is_not_loaded_starts_nothing") {
        return;
    }
    for user in User::all() {
        let lab = Lab::new(user);
        let flag = ["--apparmor=no-such-profile"];
        let run = lab.run(&[], &flag, &["print", "started"]);
        let run = run.fails(&["AppArmor profile 'no-such-profile'"]);
        assert!(run.stdout.is_empty(), "something ran\n{}", run.report());
    }
}

#[test]
fn privileged_a_login_session_gives_apps_apparmor_profiles_too() {
    let test = "privileged_a_login_session_gives_apps_apparmor_profiles_too";
    if !under_systemd(test) || !loaded(test) {
        return;
    }
    let lab = Lab::new(User::Subordinate);
    let run = |flag: &str, words: &[&str]| {
        let words = lab.run_words(&[], &[flag], words);
        Run::of(lab.login(&lab.line(&words)))
    };
    assert_eq!(label(&run(FLAG, &CURRENT).success()), LABEL);
    run("--apparmor=no-such-profile", &["print", "started"])
        .fails(&["AppArmor profile 'no-such-profile'"]);
}
