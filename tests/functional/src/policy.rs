//! Bounds of the host, for one test: a `policy.toml` that other tests do not see.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::{Env, Run, User, binaries};

/// Turns this thread into a host with a policy of its own: other tests do not see it. It lives as long as the directory.
///
/// # Panics
/// When that cannot be had.
#[must_use]
pub fn host_with_policy(test: &str, text: &str) -> Option<tempfile::TempDir> {
    User::root(test)?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).expect("unshare");
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
    let directory = tempfile::tempdir_in("/var/tmp").expect("a directory");
    for name in ["upper", "work"] {
        fs::create_dir(directory.path().join(name)).expect("a directory");
    }
    let at = directory.path().display();
    let options = format!("lowerdir=/etc,upperdir={at}/upper,workdir={at}/work");
    let flags = MsFlags::empty();
    mount(
        Some("overlay"),
        "/etc",
        Some("overlay"),
        flags,
        Some(options.as_str()),
    )
    .expect("/etc");
    fs::create_dir_all("/etc/skua").expect("a directory");
    set_policy(text);
    Some(directory)
}

/// Replaces the policy of that host.
///
/// # Panics
/// When it cannot be written.
pub fn set_policy(text: &str) {
    fs::write("/etc/skua/policy.toml", text).expect("write");
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions("/etc/skua/policy.toml", mode).expect("chmod");
}

/// stage1 executed by hand for a prepared pod: whatever stage0 a user brings, skua's own stage1 keeps to the bounds of the
/// host.
pub fn stage1_by_hand(env: &Env, uuid: &str) -> Run {
    let pods = env.data().join("pods");
    let script = "mkdir -p run && mv prepared/$1 run/ && cd run/$1 && exec 9<. && SKUA_LOCK_FD=9 exec $2/skua-stage1 run";
    let mut sh = env.program("sh");
    sh.args(["-ec", script, "sh", uuid])
        .arg(binaries())
        .current_dir(pods);
    Run::of(sh)
}
