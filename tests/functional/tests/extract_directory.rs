//! Whose directory `image extract` writes into: what it makes there, and removes when it fails, is as root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use functional::{Env, Image, Layer, User, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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

/// The worker that makes files for `parent`.
fn extracting(parent: i32) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().find_map(|pid| {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let is_it = command == "skua-worker\0extract\0";
        is_it.then(|| Pid::from_raw(pid.parse().expect("a pid")))
    })
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).expect("a directory").count() == 0
}

/// The directory above it is another user's, who puts a link in its place.
#[test]
fn privileged_what_is_cleared_after_a_failure_is_what_was_extracted() {
    let test = "privileged_what_is_cleared_after_a_failure_is_what_was_extracted";
    let Some(root) = User::root(test) else { return };
    let env = Env::new(root);
    let files = (0..1500).fold(Layer::new(), |layer, number| {
        layer.file(&format!("f{number}"), 0o644, "x")
    });
    let name = env.layout(&Image::new().layer(files).build());
    env.skua(&["--insecure-options=image", "fetch", &name])
        .success();
    let (theirs, victim) = (env.scratch("theirs"), env.scratch("victim"));
    for directory in [&theirs, &victim] {
        fs::create_dir(directory).unwrap();
    }
    fs::write(victim.join("precious"), "").unwrap();
    let (out, moved) = (theirs.join("out"), theirs.join("moved"));
    let extract = env.spawn(&["image", "extract", &name, out.to_str().unwrap()]);
    let mut worker = None;
    eventually("files are made", || {
        worker = extracting(extract.pid()).filter(|_| out.exists() && !is_empty(&out));
        worker.is_some()
    });
    let worker = worker.unwrap();
    kill(worker, Signal::SIGSTOP).unwrap();
    fs::rename(&out, &moved).unwrap();
    symlink(&victim, &out).unwrap();
    kill(worker, Signal::SIGKILL).unwrap();
    extract.wait().exits(254).complains("cannot extract");
    assert!(!is_empty(&victim), "what the link leads to was removed");
    assert!(is_empty(&moved), "what was extracted is left");
    assert!(out.is_symlink(), "it is not skua's");
}
