//! What can only be known by trying. **Runs as** the caller, later as user 0 of a user namespace of its own.
//! **Needs** nothing. **Leaves** this process in namespaces and behind Landlock. **Undone by** its end.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use landlock::{ABI, Access, AccessFs, LandlockStatus, Ruleset, RulesetAttr};
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use pod::{DataDir, Scratch};

use super::Check;

/// User namespaces, and overlayfs inside them on the file system of the data directory.
pub(super) fn namespaces_and_overlay(data: &DataDir) -> Vec<Check> {
    let directory = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
    let made = directory(&data.0).and_then(|()| {
        let scratch = Scratch::new(data)?;
        ["lower", "upper", "work", "merged"]
            .iter()
            .try_for_each(|name| directory(&scratch.path().join(name)))?;
        Ok(scratch)
    });
    let mut checks = vec![match &made {
        Ok(_) => Check::ok("data", data.0.display().to_string()),
        Err(e) => Check::missing(
            "data",
            format!("{}: {e}", data.0.display()),
            "name another directory with --data-dir",
        ),
    }];
    let namespaces = own_namespaces();
    let entered = namespaces.is_ok();
    checks.push(match namespaces {
        Ok(()) => Check::ok("namespaces", "a user namespace with a mount namespace"),
        Err(e) => Check::missing("namespaces", e.to_string(), namespace_remedy()),
    });
    if let (true, Ok(scratch)) = (entered, &made) {
        checks.push(match overlay(scratch.path()) {
            Ok(()) => Check::ok("overlay", "mounted inside a user namespace, with userxattr"),
            Err(e) => Check::missing(
                "overlay",
                e.to_string(),
                "a kernel 5.11 or later, and a data directory on a local file system that overlayfs can write to",
            ),
        });
    }
    checks
}

fn own_namespaces() -> io::Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

fn overlay(scratch: &Path) -> io::Result<()> {
    std::env::set_current_dir(scratch)?;
    let options = "lowerdir=lower,upperdir=upper,workdir=work,userxattr";
    mount(
        Some("overlay"),
        "merged",
        Some("overlay"),
        MsFlags::empty(),
        Some(options),
    )?;
    let written = fs::write("merged/file", "x");
    umount("merged")?;
    written
}

fn namespace_remedy() -> &'static str {
    let says =
        |path: &str, value: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    if says("/proc/sys/user/max_user_namespaces", "0") {
        "sysctl user.max_user_namespaces=15000"
    } else if says("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "sysctl kernel.unprivileged_userns_clone=1"
    } else if says(
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
    ) {
        "an AppArmor profile for skua with 'userns,', or sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    } else {
        "a kernel with CONFIG_USER_NS, and no system call filter that forbids unshare"
    }
}

/// Landlock: the workers that parse foreign bytes need it. Nothing can be opened afterwards.
pub(super) fn landlock() -> Check {
    let name = "landlock";
    let remedy =
        "a kernel 5.13 or later with CONFIG_SECURITY_LANDLOCK, and landlock in the lsm= parameter";
    let restricted = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V1))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.restrict_self());
    match restricted.map(|status| status.landlock) {
        Ok(LandlockStatus::Available {
            effective_abi,
            kernel_abi,
        }) => {
            let abi = kernel_abi.unwrap_or(effective_abi as i32);
            Check::ok(name, format!("ABI {abi}"))
        }
        Ok(LandlockStatus::NotEnabled) => Check::missing(name, "not enabled at boot", remedy),
        Ok(LandlockStatus::NotImplemented) => Check::missing(name, "not in this kernel", remedy),
        Err(e) => Check::missing(name, e.to_string(), remedy),
    }
}
