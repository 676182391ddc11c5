//! Contexts of SELinux, where it is in force: an app and what enters it run in the one that was asked for, and no other starts
//! anything. These run in a virtual machine of `vm/lane` whose kernel has SELinux and no policy: the tests load one of their own.
//! What is said where SELinux is not in force is in `sandbox_flags.rs`.

use std::fs;
use std::path::Path;
use std::sync::Once;

use functional::systemd::Lab;
use functional::{Env, Run, User, missing_program, sh, skip};
use serde_json::Value;

/// Everything that there is runs as `host`; `app` may do all but write to files; nothing may become `sealed`. The kernel knows the
/// initial contexts (`sid`) by their numbers: unlabeled is the third.
const POLICY: &str = "
(handleunknown allow)
(mls false)
(policycap nnp_nosuid_transition)
(class process (transition dyntransition))
(class file (write append))
(classorder (process file))
(sensitivity s0) (sensitivityorder (s0))
(type host) (type app) (type sealed)
(typeattribute any) (typeattributeset any (host app sealed))
(role r) (roletype r any) (role object_r) (roletype object_r any)
(user u) (userrole u r) (userrole u object_r) (userlevel u (s0)) (userrange u ((s0) (s0)))
(sid kernel) (sidcontext kernel (u r host ((s0) (s0))))
(sid security) (sidcontext security (u r host ((s0) (s0))))
(sid unlabeled) (sidcontext unlabeled (u r host ((s0) (s0))))
(sidorder (kernel security unlabeled))
(allow host host (process (transition dyntransition)))
(allow host app (process (transition)))
(allow host any (file (write append)))
";

const FLAG: &str = "--selinux-label=u:r:app";
const OURS: &str = "u:r:host";
/// What the kernel says of every process before a policy is loaded.
const NO_POLICY: &str = "kernel";

fn context() -> String {
    let text = fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
    text.trim_end_matches(['\0', '\n']).to_owned()
}

/// The policy above is in force. `false`, said so, where that cannot be; the policy of a host is never replaced.
fn in_force(test: &str) -> bool {
    static LOADED: Once = Once::new();
    let Some(root) = User::root(test) else {
        return false;
    };
    if !Path::new("/sys/fs/selinux").exists() {
        skip(test, "this kernel has no SELinux, or was booted without");
        return false;
    }
    if let Some(program) = missing_program(&["secilc"]) {
        skip(test, &format!("{program} is not installed"));
        return false;
    }
    LOADED.call_once(|| {
        if context() == NO_POLICY {
            load(&Env::new(root));
        }
    });
    let ours = context() == OURS;
    if !ours {
        skip(test, "a policy of the host's own is loaded");
    }
    ours
}

fn load(env: &Env) {
    let source = env.write("policy.cil", POLICY);
    let policy = source.with_extension("binary");
    sh(&format!(
        "secilc -N -o {} -f /dev/null {}",
        policy.display(),
        source.display()
    ));
    sh("mountpoint -q /sys/fs/selinux || mount -t selinuxfs selinuxfs /sys/fs/selinux");
    // In one write, as the kernel wants it.
    let bytes = fs::read(policy).expect("the policy");
    fs::write("/sys/fs/selinux/load", bytes).expect("the policy is loaded");
    fs::write("/sys/fs/selinux/enforce", "1").expect("it is enforced");
}

fn label(run: &Run) -> Value {
    let text = run.json()["text"].clone();
    text.as_str()
        .unwrap_or_default()
        .trim_end_matches(['\0', '\n'])
        .into()
}

const CURRENT: [&str; 2] = ["read", "/proc/self/attr/current"];

#[test]
fn privileged_an_app_is_executed_under_its_selinux_context() {
    if !in_force("privileged_an_app_is_executed_under_its_selinux_context") {
        return;
    }
    for user in User::all() {
        let lab = Lab::new(user);
        let ask = |flags: &[&str], words: &[&str]| lab.run(&[], flags, words).success();
        assert_eq!(label(&ask(&[FLAG], &CURRENT)), "u:r:app", "{user:?}");
        assert_eq!(label(&ask(&[], &CURRENT)), OURS, "{user:?}");
        let write = |flags: &[&str]| ask(flags, &["write", "/etc/new", "x"]).json();
        let denied = write(&[FLAG]);
        assert_eq!(denied["errno"], "EACCES", "{user:?}: {denied}");
        assert_eq!(write(&[])["ok"], true, "{user:?}");
        // Also for an app that may gain privileges, and that is not user 0.
        let flags = [FLAG, "--no-new-privileges=false", "--user=app"];
        assert_eq!(label(&ask(&flags, &CURRENT)), "u:r:app", "{user:?}");
    }
}

#[test]
fn privileged_what_enters_an_app_is_under_its_selinux_context() {
    if !in_force("privileged_what_enters_an_app_is_under_its_selinux_context") {
        return;
    }
    for user in User::all() {
        let lab = Lab::new(user);
        lab.entered(&[FLAG], |enter| {
            assert_eq!(label(&enter(&CURRENT).success()), "u:r:app", "{user:?}");
            let denied = enter(&["write", "/etc/new", "x"]).success().json();
            assert_eq!(denied["errno"], "EACCES", "{user:?}: {denied}");
        });
    }
}

#[test]
fn privileged_a_selinux_context_that_the_policy_does_not_give_starts_nothing() {
    if !in_force("privileged_a_selinux_context_that_the_policy_does_not_give_starts_nothing") {
        return;
    }
    for user in User::all() {
        let lab = Lab::new(user);
        for (context, part) in [
            // It is not in the policy; or it is, and nobody may come into it.
            ("u:r:unknown", "SELinux context 'u:r:unknown'"),
            ("u:r:sealed", "Permission denied"),
        ] {
            let flag = format!("--selinux-label={context}");
            let run = lab.run(&[], &[&flag], &["print", "started"]).fails(&[part]);
            assert!(run.stdout.is_empty(), "something ran\n{}", run.report());
        }
    }
}
