//! How stage1 says what failed: one line on standard error, as text or, when stage0 asks for it, as JSON.

use std::error::Error as _;
use std::io::{self, Write};

use crate::error::{Error, joined};

/// Set by stage0 to `json` for `--error-format=json`.
pub(crate) const FORMAT_VARIABLE: &str = "SKUA_ERROR_FORMAT";

/// Prints an error. Nobody is left to be told when standard error is gone.
pub(crate) fn print(error: &Error) {
    let (cause, hint) = (escaped(&joined(error)), hint(error));
    let json = std::env::var_os(FORMAT_VARIABLE).is_some_and(|format| format == "json");
    let line = match (json, hint) {
        (true, hint) => {
            let record = serde_json::json!({
                "stage": "stage1", "code": code(error), "cause": cause, "hint": hint,
            });
            format!("{record}\n")
        }
        (false, Some(hint)) => format!("skua: stage1: {cause}\nhint: {hint}\n"),
        (false, None) => format!("skua: stage1: {cause}\n"),
    };
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Paths and answers of other programs are foreign text: nothing in them reaches a terminal as a control character.
fn escaped(text: &str) -> String {
    let one = |character: char| -> String {
        if character.is_control() {
            character.escape_default().collect()
        } else {
            character.into()
        }
    };
    text.chars().map(one).collect()
}

/// The kind of failure, for programs: it does not change when the words do.
fn code(error: &Error) -> &'static str {
    use Error as E;
    match error {
        E::WorkingDirectory(_) | E::Usage | E::LockVariable(_) | E::Lock(..) => "usage",
        E::NotItsDirectory(..) | E::Pod(_) => "pod",
        E::NotRunning => "not-running",
        E::Policy(_) | E::Bound(_) => "policy",
        E::NoApps | E::Terminals | E::AppTwice(_) | E::NoProgram(_) => "manifest",
        E::NotMasked(..) | E::HostSysctl(_) | E::DevicePath { .. } => "manifest",
        E::NoSecurityModule { .. } => "host",
        E::NotInsecure(..) | E::RelativePath(_) | E::MountPath { .. } | E::NoVolume(..) => {
            "manifest"
        }
        E::NoRange | E::RangeLock(..) | E::WriteIdMap(..) | E::Mapper(..) => "id-map",
        E::MapperSaid(..) | E::MountUsers(_) => "id-map",
        E::Network(_) | E::Netns(_) => "network",
        E::Notify(..) => "notify",
        E::FindCgroup(_) | E::MakeCgroup(..) | E::RemoveCgroup(..) => "cgroup",
        E::Limits(..) | E::SetLimit(..) | E::MoveKeeper(..) => "limits",
        E::OutOfMemory(_) => "out-of-memory",
        E::Killed(_) | E::NoStatus(..) | E::KeeperKilled => "killed",
        _ => "sandbox",
    }
}

/// What to do about it, where that is known.
fn hint(error: &Error) -> Option<&'static str> {
    match error {
        Error::Network(error) => error.hint(),
        Error::Clone(e) | Error::Separate(e) => namespace_hint(e),
        Error::Inside(said) => inside_hint(said),
        Error::OpenTree(..) | Error::TreeFlags(..) => {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            tree_hint(&cause)
        }
        Error::NoRange => {
            Some("every range of user ids is in use by a pod: stop some, or run `skua gc`")
        }
        Error::Limits(_, why) => Some(why.hint()),
        Error::SetLimit(_, _, e) | Error::MakeCgroup(_, e) => limit_hint(e),
        Error::OutOfMemory(_) => Some("`--memory` says how much it may use"),
        Error::Enter(e) if e.kind() == io::ErrorKind::PermissionDenied => Some(
            "this shell may not put processes into the cgroup of the pod: `systemd-run --user --scope skua enter …` may",
        ),
        Error::MapperSaid(..) => Some("look for the user in /etc/subuid and /etc/subgid"),
        _ => None,
    }
}

fn namespace_hint(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error() {
        Some(libc::EPERM) => Some(
            "user namespaces are forbidden here: see the sysctls kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns",
        ),
        Some(libc::ENOSPC | libc::EUSERS) => Some("see the limits in /proc/sys/user/"),
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
    if says("mount a new proc") && says("Operation not permitted") {
        Some(
            "something is mounted over parts of /proc here, as in a container: the kernel then allows no new one",
        )
    } else if says("mount device") && says("Permission denied") {
        Some(
            "the pod's root may not use it: groups of the caller do not count in a pod with subordinate ids",
        )
    } else if says("mount device") && says("No such device") {
        Some("its path means another device now than when the pod was made")
    } else if says("a mount of") {
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
    said.contains("Invalid argument").then_some(
        "it has other mounts below it, which need `recursive`, or its file system cannot map ids",
    )
}
