//! Who can keep the trust policy from being changed: nobody who cannot change it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use functional::{Env, Key, Run, User};

#[test]
fn privileged_who_may_read_the_policy_cannot_hold_up_a_change_of_it() {
    let Some(root) = User::root("privileged_who_may_read_the_policy_cannot_hold_up_a_change_of_it")
    else {
        return;
    };
    let env = Env::new(root);
    let key = env.write("key.pem", Key::new(1).public_pem());
    let add = |prefix| {
        let mut command = std::process::Command::new("timeout");
        let skua = env.command(&["trust", "add", prefix, key.to_str().unwrap()]);
        command
            .arg("10")
            .arg(skua.get_program())
            .args(skua.get_args());
        Run::of(command)
    };
    add("--prefix=a.example/first").success();
    let directory = env.config().join("trust.d");
    let anybody = fs::File::open(&directory).unwrap();
    anybody.lock().unwrap();
    add("--prefix=a.example/second").success();
    let lock = fs::metadata(directory.join(".lock")).unwrap();
    assert_eq!(lock.permissions().mode() & 0o777, 0o600);
}
