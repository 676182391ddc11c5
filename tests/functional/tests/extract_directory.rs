//! Whose directory `image extract` writes into: what it makes there, and removes when it fails, is as root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use functional::{Env, Image, User};

#[test]
fn privileged_a_directory_that_is_there_is_the_caller_s_alone_or_refused() {
    let test = "privileged_a_directory_that_is_there_is_the_caller_s_alone_or_refused";
    let Some(root) = User::root(test) else { return };
    let env = Env::new(root);
    let name = env.layout(&Image::inspect().build());
    env.skua(&["--insecure-options=image", "fetch", &name])
        .success();
    let out = env.scratch("out");
    fs::create_dir(&out).unwrap();
    let mode = |mode| fs::set_permissions(&out, fs::Permissions::from_mode(mode)).unwrap();
    let extract = || env.skua(&["image", "extract", &name, out.to_str().unwrap()]);
    let (uid, gid) = User::Subordinate.ids();
    std::os::unix::fs::chown(&out, Some(uid), Some(gid)).unwrap();
    mode(0o700);
    let whose = format!("user {uid} owns it");
    extract().fails(&["cannot extract into", &whose]);
    std::os::unix::fs::chown(&out, Some(0), Some(0)).unwrap();
    for open in [0o770, 0o707, 0o1777] {
        mode(open);
        extract().fails(&["cannot extract into", &format!("mode {open:04o}")]);
    }
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
    mode(0o755);
    extract().success();
    assert_eq!(fs::metadata(&out).unwrap().mode() & 0o7777, 0o700);
}
