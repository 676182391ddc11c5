//! How long something in the inbox has not changed, by evidence that a changed clock cannot forge.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Mode;
use crate::store::{open, read_at_most};

/// How long a partial download is kept, to be resumed: a week, in seconds that the machine was up.
const KEPT: u64 = 7 * 24 * 3600;
/// Largest note.
const NOTE_LIMIT: u64 = 4096;

/// What the last collection has seen.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    boot_id: String,
    since_boot: u64,
    /// Seconds that it was known to be old then.
    age: u64,
    length: u64,
}

/// Where the note about `path` is.
pub(crate) fn path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".seen");
    PathBuf::from(name)
}

/// Whether `path`, now of `length` bytes, has been like that for long. Notes what was seen, when anything is noted. What
/// cannot be read or noted, on a full disk for example, makes nothing older.
pub(super) fn is_old(of: &Path, length: u64, mode: Mode) -> bool {
    let Some((boot_id, since_boot)) = now() else {
        return false;
    };
    let known = read(&path(of)).filter(|seen| seen.length == length);
    let age = match &known {
        Some(seen) if seen.boot_id == boot_id => {
            let since = since_boot.saturating_sub(seen.since_boot);
            seen.age.saturating_add(since)
        }
        Some(seen) => seen.age.saturating_add(since_boot),
        None => 0,
    };
    let seen = Seen {
        boot_id,
        since_boot,
        age,
        length,
    };
    if mode == Mode::Remove
        && let Ok(text) = serde_json::to_vec(&seen)
        && let Err(e) = fs::write(path(of), text)
    {
        log::debug!("cannot note how old {} is: {e}", of.display());
    }
    age > KEPT
}

fn read(path: &Path) -> Option<Seen> {
    let bytes = read_at_most(&mut open(path).ok()?, NOTE_LIMIT).ok()??;
    serde_json::from_slice(&bytes).ok()
}

/// The boot, and the seconds since it.
fn now() -> Option<(String, u64)> {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let since_boot = uptime.split('.').next()?.parse().ok()?;
    Some((boot_id.trim_end().to_owned(), since_boot))
}
