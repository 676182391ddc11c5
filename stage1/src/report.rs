//! How stage1 says what failed: one line on standard error, as text or, when stage0 asks for it, as JSON.

use std::io::{self, Write};

use crate::error::{Error, joined};

mod hint;

/// Prints an error. Nobody is left to be told when standard error is gone.
pub(crate) fn print(error: &Error) {
    let said = joined(error);
    let (cause, hint) = (escaped(&said), hint::of(error, &said));
    let json = std::env::var_os(pod::ERROR_FORMAT_VARIABLE).is_some_and(|format| format == "json");
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
pub(crate) fn escaped(text: &str) -> String {
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
        E::NotItsDirectory(..) | E::Pod(_) | E::Lost(_) | E::Result(..) => "pod",
        E::NotRunning | E::Starting => "not-running",
        E::Policy(_) | E::Bound(_) => "policy",
        E::NoApps | E::Terminals | E::AppTwice(_) | E::NoProgram(_) => "manifest",
        E::NotMasked(..) | E::HostSysctl(_) | E::DevicePath { .. } | E::VolumeOwner(..) => {
            "manifest"
        }
        E::NoSecurityModule { .. } => "host",
        E::NotInsecure(..) | E::RelativePath(_) | E::MountPath { .. } | E::NoVolume(..) => {
            "manifest"
        }
        E::NoRange | E::RangeLock(..) | E::WriteIdMap(..) | E::Mapper(..) => "id-map",
        E::MapperSaid(..) | E::MountUsers(_) => "id-map",
        E::Network(_) | E::Abandoned(_) | E::Netns(_) => "network",
        E::Notify(..) => "notify",
        E::FindCgroup(_) | E::MakeCgroup(..) | E::RemoveCgroup(..) => "cgroup",
        E::Limits(..) | E::SetLimit(..) | E::MoveKeeper(..) => "limits",
        E::OutOfMemory(_) => "out-of-memory",
        E::Killed(_) | E::NoStatus(..) | E::KeeperKilled => "killed",
        _ => "sandbox",
    }
}
