//! Ranges of user ids for root's pods: two that live on a machine have none in common, whatever data directories they are in.
//!
//! ```text
//! /run/skua-ids/    empty; a range is in use ⇔ somebody holds a lock of fcntl(2) on those bytes of the directory
//! ```
//!
//! A lock is that of a reader, for which the directory need not be writable: in a unit with `ProtectSystem=strict` it is not. Who
//! has taken one asks whether a writer could have it too: if not, somebody else has it, and it is given back.
//!
//! **Runs as** the keeper, as root. **Needs** `/run`. **Leaves** the lock. **Undone by** the end of all processes that have the
//! descriptor: the keeper, and the inside until it is stage2.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use libc::{c_short, off_t};
use nix::fcntl::{FcntlArg, fcntl};
use pod::PodId;

use crate::error::Error;

/// Root's alone: who can open it can lock it. Not a name that a unit would give its own `RuntimeDirectory=`, which goes with
/// the unit.
const DIRECTORY: &str = "/run/skua-ids";

// As `struct flock` has them.
const SEEK_SET: c_short = libc::SEEK_SET as c_short;
const READER: c_short = libc::F_RDLCK as c_short;
const WRITER: c_short = libc::F_WRLCK as c_short;
const NOBODY: c_short = libc::F_UNLCK as c_short;

/// Takes the first free range of `count` ids, from a place on that the pod's id gives.
pub(crate) fn take(first: u32, last: u32, count: u32, id: &PodId) -> Result<(u32, File), Error> {
    let ranges = last
        .checked_sub(first)
        .and_then(|ids| (ids.checked_add(1)?).checked_div(count));
    let ranges = ranges.filter(|ranges| *ranges > 0).ok_or(Error::NoRange)?;
    let failed = |e| Error::RangeLock(DIRECTORY.into(), e);
    let directory = open().map_err(failed)?;
    let start = begin_at(id) % ranges;
    for step in 0..ranges {
        let base = first + (start + step) % ranges * count;
        if try_range(&directory, base, count).map_err(failed)? {
            return Ok((base, directory));
        }
    }
    Err(Error::NoRange)
}

/// The first eight digits of the pod's id, which are random.
fn begin_at(id: &PodId) -> u32 {
    u32::from_str_radix(&id.as_str()[..8], 16).unwrap_or(0)
}

fn open() -> io::Result<File> {
    match File::open(DIRECTORY) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    let make = |path, mode| match DirBuilder::new().mode(mode).create(Path::new(path)) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    };
    // A container may have no /run.
    make("/run", 0o755)?;
    make(DIRECTORY, 0o700)?;
    File::open(DIRECTORY)
}

/// Of two that try at the same time both may fail, but never do both succeed: each has its lock before it asks.
fn try_range(directory: &File, base: u32, count: u32) -> io::Result<bool> {
    let lock = |kind| libc::flock {
        l_type: kind,
        l_whence: SEEK_SET,
        l_start: off_t::from(base),
        l_len: off_t::from(count),
        l_pid: 0,
    };
    fcntl(directory, FcntlArg::F_OFD_SETLK(&lock(READER)))?;
    let mut other = lock(WRITER);
    fcntl(directory, FcntlArg::F_OFD_GETLK(&mut other))?;
    let free = other.l_type == NOBODY;
    if !free {
        fcntl(directory, FcntlArg::F_OFD_SETLK(&lock(NOBODY)))?;
    }
    Ok(free)
}
