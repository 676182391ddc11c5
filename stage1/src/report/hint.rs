//! What to do about an error.

use std::error::Error as _;
use std::io;

use nix::sys::prctl;

use crate::error::Error;

/// Where stage2 is looked for.
const BESIDE: &str = "it belongs beside skua-stage1";

/// What a unit has to leave to root.
const CAPABILITIES: &str = "root lacks a capability here: CapabilityBoundingSet= of a unit must have those of hardened.service";

/// What to do about an error, of which `said` is the text, where that is known.
pub(super) fn of(error: &Error, said: &str) -> Option<&'static str> {
    known(error).or_else(|| surroundings(error, said))
}

fn known(error: &Error) -> Option<&'static str> {
    match error {
        Error::Network(error) => error.hint(),
        Error::Clone(e) | Error::Separate(e) => namespace_hint(e),
        Error::Unsignalled => Some(CAPABILITIES),
        Error::Inside(said) => inside_hint(said),
        // The pod's own trees are named from the pod directory, volumes from the root.
        Error::TreeFlags(path, e)
            if path.is_relative() && e.raw_os_error() == Some(libc::EINVAL) =>
        {
            Some(
                "the file system of the data directory cannot map ids, like that of a container's root: --data-dir names another",
            )
        }
        Error::OpenTree(path, e)
            if path.ends_with("skua-stage2") && e.kind() == io::ErrorKind::NotFound =>
        {
            Some(BESIDE)
        }
        Error::OpenTree(..) | Error::TreeFlags(..) => {
            tree_hint(&format!("{error}: {}", error.source()?))
        }
        Error::NoRange => {
            Some("every range of user ids is in use by a pod: stop some, or run `skua gc`")
        }
        Error::VolumeOwner(..) => Some(
            "an ordinary user's pods have as many ids as /etc/subuid and /etc/subgid give, root's 65536",
        ),
        Error::RangeLock(_, e) if e.raw_os_error() == Some(libc::EROFS) => Some(
            "a unit with ProtectSystem=strict makes it by RuntimeDirectory=skua-ids, RuntimeDirectoryMode=0700 and RuntimeDirectoryPreserve=yes; so does any pod of root's outside of such a unit",
        ),
        Error::RangeLock(_, e) if e.kind() == io::ErrorKind::PermissionDenied => Some(
            "this root is not the host's, as in a container or below `unshare --user`: run it as the user that it is outside",
        ),
        Error::Kept(_) => Some("its exit status is its own; `skua gc` removes it later"),
        Error::Starting => Some("no app of it has been executed: try again in a moment"),
        Error::Stream(..) => Some(
            "streams are files, terminals and other character devices, pipes and sockets: `< /dev/null` gives nothing; directories of the host are volumes (`--volume`), its disks are devices (`--device`)",
        ),
        Error::Limits(_, why) => Some(why.hint()),
        Error::SetLimit(_, _, e) | Error::MakeCgroup(_, e) => limit_hint(e),
        Error::OutOfMemory(_) => Some("`--memory` says how much it may use"),
        Error::Enter(e) if e.kind() == io::ErrorKind::PermissionDenied => Some(
            "this shell may not put processes into the cgroup of the pod: `systemd-run --user --scope skua enter …` may",
        ),
        Error::MapperSaid(..) if prctl::get_no_new_privs() == Ok(true) => Some(
            "it is set-id, and whoever started skua allows no new privileges: NoNewPrivileges=no in a unit",
        ),
        Error::MapperSaid(..) => Some(
            "look for the user in /etc/subuid and /etc/subgid, and at the program: it is setuid or has capabilities as installed",
        ),
        _ => None,
    }
}

fn namespace_hint(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error() {
        Some(libc::EPERM) => Some(
            "user namespaces are forbidden here: see the sysctls kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns, and in a unit RestrictNamespaces=",
        ),
        Some(libc::ENOSPC | libc::EUSERS) => Some("see the limits in /proc/sys/user/"),
        _ => None,
    }
}

/// Why root cannot use the ids of a pod.
fn root_hint(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error() {
        Some(libc::EINVAL) => Some(
            "root has no range of ids for pods here: in a container, or in a unit with PrivateUsers=",
        ),
        Some(libc::EPERM) => Some(CAPABILITIES),
        _ => None,
    }
}

fn limit_hint(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error() {
        Some(libc::ENODEV) => {
            Some("rates are for whole disks, such as /dev/sda or 8:0, not for partitions")
        }
        Some(libc::EBUSY) => Some("other processes are in the cgroup in which skua was started"),
        _ => None,
    }
}

/// The inside's message is text when it gets here.
fn inside_hint(said: &str) -> Option<&'static str> {
    let says = |text: &str| said.contains(text);
    let refused = says("Operation not permitted");
    if refused && says("mount a new proc") {
        Some(
            "something is mounted over parts of /proc here, as in a container, or in a unit with ProtectKernelTunables= or ProtectKernelLogs=: the kernel then allows no new one",
        )
    } else if refused && says("mount a new sysfs") {
        Some(
            "something is mounted over parts of /sys here, as in a container: the kernel then allows no new one; --net=host needs none",
        )
    } else if says("mount device") && says("Permission denied") {
        Some(
            "the pod's root may not use it: groups of the caller do not count in a pod with subordinate ids",
        )
    } else if says("mount device") && says("No such device") {
        Some("its path means another device now than when the pod was made")
    } else if says("cannot mount") && (says("Is a directory") || says("Not a directory")) {
        Some("a directory can be mounted on a directory only, and a file on a file")
    } else if says("cannot mount") && says("File exists") {
        Some(
            "a symbolic link in a volume is there; it leads nowhere in the pod, and is not replaced",
        )
    } else if says("skua-stage2: No such file") {
        Some(BESIDE)
    } else if says("a mount of") || says("the mount of") {
        tree_hint(said)
    } else if says("Too many levels of symbolic links") {
        Some("the image has a symbolic link where the pod needs a directory of its own")
    } else if says("Invalid cross-device link") {
        Some("a link in the image leads this mount to /proc, /sys or /dev, which are the pod's own")
    } else {
        None
    }
}

fn tree_hint(said: &str) -> Option<&'static str> {
    if !said.contains("Invalid argument") {
        None
    } else if said.contains("cannot clone") {
        Some(
            "with `recursive=false`, other mounts below it are left out, which only who has made them may do: by default they come along",
        )
    } else {
        Some(
            "its file system cannot map ids, as those of /dev, /proc and /sys, of which `--device` gives a device; or one mounted below it cannot, which `recursive=false` leaves out",
        )
    }
}

/// What is taken from all of skua: by a container, or by options of a unit. `docs/systemd.md` has them all.
fn surroundings(error: &Error, said: &str) -> Option<&'static str> {
    let says = |text: &str| said.contains(text);
    match error {
        _ if says("(os error 38)") => Some(pod::FILTERED_HINT),
        Error::Result(..) | Error::Pod(_) | Error::PodFile(..)
            if says("(os error 28)") || says("(os error 122)") =>
        {
            Some(
                "`skua gc` and `skua image gc` make room in the data directory; `--data-dir` names another",
            )
        }
        Error::BootId(_) => Some("/proc/sys must be there: ProcSubset= of a unit hides it"),
        Error::Owner(_, e) => root_hint(e),
        Error::PodFile(_, e) if nix::unistd::geteuid().is_root() => root_hint(e),
        Error::Inside(_) if says("set the host name") => {
            Some("ProtectHostname= of a unit forbids it to all that run in the unit")
        }
        _ => None,
    }
}
