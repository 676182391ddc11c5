//! What can be read off the host.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::prctl;
use nix::unistd::{AccessFlags, access};
use pod::IdMapChoice;

use super::Check;
use crate::context::Context;
use crate::error::Error;
use crate::worker::WORKER;
use crate::{id_map, libexec};

/// The controllers of the limits that most pods have.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// The plugins of the built-in network `default`, as `dist/net.d/default.conflist` has them.
const PLUGINS: [&str; 4] = ["bridge", "host-local", "portmap", "firewall"];

/// A stage.
pub(super) fn stage(context: &Context, name: &'static str) -> Check {
    let remedy =
        "install it beside skua or in ../libexec/skua, or name its directory with --libexec-dir";
    program(name, context.libexec.program(name), remedy)
}

/// The program of workers.
pub(super) fn worker() -> Check {
    let remedy = "install it beside skua or in ../libexec/skua";
    program(WORKER, libexec::own(WORKER), remedy)
}

fn program(name: &'static str, path: Result<PathBuf, Error>, remedy: &'static str) -> Check {
    match path {
        Ok(path) if is_program(&path) => Check::ok(name, path.display().to_string()),
        Ok(path) => Check::missing(name, format!("{} is not there", path.display()), remedy),
        Err(error) => Check::missing(
            name,
            crate::error::joined(&error),
            "mount -t proc proc /proc",
        ),
    }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Ids for the users of a pod.
pub(super) fn ids() -> Check {
    let name = "ids";
    match id_map::choose() {
        IdMapChoice::Range {
            first,
            last,
            count,
            store_base,
        } => {
            let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
            let found = format!("{count} ids for each pod out of {first}..={last}");
            match map.is_empty() || has_all(&map, first, store_base + (count - 1)) {
                true => Check::ok(name, found),
                false => Check::missing(
                    name,
                    format!("root of a user namespace that has not the ids {first}..={last}"),
                    "run pods as the host's root, or as the user that this root is outside",
                ),
            }
        }
        IdMapChoice::Subordinate { map, .. } => {
            let ids: u64 = map.uids.iter().map(|extent| u64::from(extent.count)).sum();
            match prctl::get_no_new_privs() {
                Ok(true) => Check::missing(
                    name,
                    format!(
                        "{ids} user ids, which newuidmap cannot give: it is set-id, and whoever started skua allows no new privileges"
                    ),
                    "NoNewPrivileges=no in the unit, or what else sets it",
                ),
                _ => Check::ok(name, format!("{ids} user ids, by newuidmap")),
            }
        }
        IdMapChoice::Single { uid, .. } => Check::limited(
            name,
            format!("one id only, your own ({uid}): all files of an image belong to it"),
            more_ids(uid),
        ),
    }
}

/// How the caller gets ids that nobody has: a range of two users would open the pods of each to the other. `newuidmap` and
/// `usermod` know users by their names only.
fn more_ids(uid: u32) -> String {
    let end = |path: &str| first_free(&fs::read_to_string(path).unwrap_or_default());
    let first = end("/etc/subuid").max(end("/etc/subgid"));
    let range = format!("{first}-{}", first + 65_535);
    match id_map::name_of(uid) {
        Some(user) => format!(
            "install uidmap, and as root: usermod --add-subuids {range} --add-subgids {range} {user}"
        ),
        None => format!(
            "/etc/passwd has no user {uid}, and newuidmap serves none without a name. If another service names it \
             ('getent passwd {uid}' prints a line), install uidmap, and as root add the line '{uid}:{first}:65536' to \
             /etc/subuid and to /etc/subgid; else it has to become a user first: useradd --uid {uid} NAME"
        ),
    }
}

/// Whether a map as `/proc/self/uid_map` has all these ids, in one extent.
fn has_all(map: &str, first: u32, last: u32) -> bool {
    map.lines().any(|line| {
        let fields = line.split_whitespace().map(str::parse::<u64>);
        match fields.collect::<Result<Vec<_>, _>>().as_deref() {
            Ok([inside, _, count]) => {
                *inside <= u64::from(first) && u64::from(last) < inside + count
            }
            _ => false,
        }
    })
}

/// The first id behind all ranges of a table as `subuid(5)`.
fn first_free(table: &str) -> u64 {
    let ends = table.lines().filter_map(|line| {
        let mut fields = line
            .split(':')
            .skip(1)
            .map(|field| field.trim().parse().ok());
        let (first, count): (u64, u64) = (fields.next()??, fields.next()??);
        first.checked_add(count)
    });
    ends.max().unwrap_or(0).max(100_000)
}

/// System call filters.
pub(super) fn seccomp() -> Check {
    let name = "seccomp";
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    if actions.split_whitespace().any(|action| action == "errno") {
        Check::ok(name, actions.trim_end())
    } else {
        Check::missing(
            name,
            "the kernel has no system call filters",
            "a kernel with CONFIG_SECCOMP_FILTER",
        )
    }
}

/// A cgroup v2 directory that we may write.
pub(super) fn cgroup() -> Check {
    let name = "cgroup";
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let Some(mount) = cgroup2_mount(&mountinfo) else {
        let remedy = "mount it: mount -t cgroup2 none /sys/fs/cgroup";
        return Check::limited(name, "no cgroup v2 is mounted", remedy);
    };
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = cgroups
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .unwrap_or_default();
    let path = Path::new(mount).join(own);
    let controllers = fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default();
    let writable = access(&path, AccessFlags::W_OK).is_ok();
    match (writable, controllers.trim()) {
        (false, _) => Check::limited(
            name,
            format!("{} is not ours to write", path.display()),
            "start skua from a unit or scope with Delegate=yes; pods have no cgroup of their own until then",
        ),
        (true, controllers) => limitable(&path, controllers),
    }
}

/// Whether pods in our cgroup can have limits of each kind.
fn limitable(path: &Path, controllers: &str) -> Check {
    let there = |name: &&str| controllers.split(' ').any(|there| there == *name);
    let absent: Vec<&str> = CONTROLLERS
        .iter()
        .copied()
        .filter(|name| !there(name))
        .collect();
    if absent.is_empty() {
        return Check::ok("cgroup", format!("{}, with {controllers}", path.display()));
    }
    Check::limited(
        "cgroup",
        format!("{} has no controller {}", path.display(), absent.join(", ")),
        "boot with cgroups of version 2 only, or delegate them to the unit (Delegate=yes); until then their limits cannot be had",
    )
}

/// The mount point of the first cgroup2 file system.
fn cgroup2_mount(mountinfo: &str) -> Option<&str> {
    let mounted = mountinfo
        .lines()
        .find(|line| line.contains(" - cgroup2 "))?;
    mounted.split(' ').nth(4)
}

/// The CNI plugins of the built-in network.
pub(super) fn plugins(directories: &[PathBuf]) -> Check {
    let name = "cni";
    let absent = |plugin: &&str| {
        directories
            .iter()
            .all(|directory| !is_program(&directory.join(plugin)))
    };
    let missing: Vec<&str> = PLUGINS
        .iter()
        .copied()
        .filter(|plugin| absent(plugin))
        .collect();
    if missing.is_empty() {
        return Check::ok(name, format!("the plugins {}", PLUGINS.join(", ")));
    }
    Check::limited(
        name,
        format!("no plugin {}", missing.join(", ")),
        "install containernetworking-plugins, or name their directory in CNI_PATH; until then pods have --net=none and --net=host",
    )
}

/// The network of ordinary users.
pub(super) fn pasta(context: &Context) -> Check {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed =
        std::env::split_paths(&path).any(|directory| is_program(&directory.join("pasta")));
    let ours = context
        .libexec
        .program("skua-cni-pasta")
        .is_ok_and(|path| is_program(&path));
    let tun = Path::new("/dev/net/tun");
    let both = AccessFlags::R_OK | AccessFlags::W_OK;
    let missing = [
        (installed, "the program pasta is not there", "install passt"),
        (
            ours,
            "skua-cni-pasta is not there",
            "install it where skua-stage1 is",
        ),
        (
            tun.exists(),
            "/dev/net/tun is not there",
            "as root: modprobe tun",
        ),
        (
            access(tun, both).is_ok(),
            "/dev/net/tun is not ours to open",
            "as root: chmod 0666 /dev/net/tun",
        ),
    ];
    match missing.iter().find(|(there, ..)| !there) {
        None => Check::ok("pasta", "--net=pasta"),
        Some((_, what, remedy)) => Check::limited(
            "pasta",
            *what,
            format!("{remedy}; until then pods have --net=none and --net=host"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_range_is_recommended_that_somebody_has() {
        assert_eq!(first_free(""), 100_000);
        let table = "a:165536:65536\nbroken\nb:100000:65536\n1000:10:5\nc:1:x\n";
        assert_eq!(first_free(table), 231_072);
    }

    #[test]
    fn the_cgroup2_mount_is_found_in_mountinfo() {
        let hybrid = "30 24 0:26 / /sys/fs/cgroup rw - tmpfs t rw\n31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 c rw\n";
        assert_eq!(cgroup2_mount(hybrid), Some("/sys/fs/cgroup/unified"));
        assert_eq!(cgroup2_mount("30 24 0:26 / / rw - ext4 x rw\n"), None);
    }
}
