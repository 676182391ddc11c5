//! `status/<app>.ids.json`: who each app is, and `status/<app>.json`: how it ended; written once, by rename, where no app can
//! write.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use pod::{AppIds, AppName, AppStatus, Usage};

use crate::error::Error;
use crate::user::Ids;

/// Writes the status of one app into the directory `status/`.
pub(crate) fn write(directory: &OwnedFd, status: &AppStatus) -> Result<(), Error> {
    let path = format!("{}.json", status.name);
    let bytes = pod::to_bytes(status);
    let written = bytes.and_then(|bytes| save(directory, &path, &bytes));
    written.map_err(|e| Error::Status(status.name.clone(), e))
}

/// Writes who an app is into the same directory.
pub(crate) fn write_ids(directory: &OwnedFd, name: &AppName, ids: Ids) -> Result<(), Error> {
    let Ids { uid, gid, groups } = ids;
    let ids = AppIds {
        version: pod::CONTRACT_VERSION,
        name: name.clone(),
        uid,
        gid,
        groups,
    };
    let bytes = pod::to_bytes(&ids);
    let written = bytes.and_then(|bytes| save(directory, &format!("{name}.ids.json"), &bytes));
    written.map_err(|e| Error::Status(name.clone(), e))
}

fn save(directory: &OwnedFd, path: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = format!("{path}.new");
    let written = create(directory, &temporary, bytes)
        .and_then(|()| Ok(renameat(directory, temporary.as_str(), directory, path)?));
    written.inspect_err(|_| {
        let _ = unlinkat(directory, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
    })
}

fn create(directory: &OwnedFd, name: &str, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(0o644);
    File::from(openat(directory, name, flags, mode)?).write_all(bytes)
}

/// Nanoseconds since 1970 UTC.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos().try_into().unwrap_or(u64::MAX))
}

/// The kernel's account of a process in the form of the contract.
pub(crate) fn usage(usage: &libc::rusage) -> Usage {
    let microseconds = |time: libc::timeval| {
        let (seconds, rest) = (time.tv_sec.unsigned_abs(), time.tv_usec.unsigned_abs());
        seconds.saturating_mul(1_000_000).saturating_add(rest)
    };
    Usage {
        user_us: microseconds(usage.ru_utime),
        system_us: microseconds(usage.ru_stime),
        max_rss_kib: usage.ru_maxrss.unsigned_abs(),
    }
}
