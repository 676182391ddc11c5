//! The caller's standard streams, as the apps of a pod get them.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat};
use nix::sys::statfs::{FsType, fstatfs};

use pod::{App, PodManifest};

use crate::error::Error;

/// `PIPEFS_MAGIC` of `linux/magic.h`: the file system of pipes that have no name.
const PIPES: FsType = FsType(0x5049_5045);

/// Who has a pipe that apps write to may open it again for writing.
pub(crate) const AGAIN: Mode = Mode::S_IWUSR.union(Mode::S_IWGRP).union(Mode::S_IWOTH);

/// Lets apps open a pipe of the caller again, as `/dev/stdout`: many images log there. A pipe belongs to the user who made
/// it, mode 0600, and the pod may not have that user. A pipe without a name is found only through `/proc` of a process that has
/// it: others get nothing, and apps no more than the way that they have it open. Who could read what its neighbours write would
/// take it from the caller as well.
pub(crate) fn let_apps_open_pipes_again() {
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    let (read, write) = (Mode::from_bits_truncate(0o444), AGAIN);
    for (stream, way) in [
        (input.as_fd(), read),
        (output.as_fd(), write),
        (error.as_fd(), write),
    ] {
        let is_pipe = fstatfs(stream).is_ok_and(|found| found.filesystem_type() == PIPES);
        if let (true, Ok(found)) = (is_pipe, fstat(stream)) {
            // The pipe of another user stays as it is: the apps can still read or write it, only not open it again.
            let _ = fchmod(stream, Mode::from_bits_truncate(found.st_mode) | way);
        }
    }
}

/// Refuses what no program reads or writes as a stream. A directory would be a way out of the pod: an app goes to
/// `/proc/self/fd/0`, and from there to all files and sockets of the host. So would be what was opened as a path only
/// (`O_PATH`): it can be opened again with other rights.
pub(crate) fn check() -> Result<(), Error> {
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    for (name, stream) in [
        ("standard input", input.as_fd()),
        ("standard output", output.as_fd()),
        ("standard error", error.as_fd()),
    ] {
        if let Some(what) = not_a_stream(stream).map_err(|e| Error::LookAtStream(name, e))? {
            return Err(Error::Stream(name, what));
        }
    }
    Ok(())
}

/// What it is, when it is no stream.
fn not_a_stream(stream: BorrowedFd<'_>) -> io::Result<Option<&'static str>> {
    let flags = OFlag::from_bits_truncate(fcntl(stream, FcntlArg::F_GETFL)?);
    if flags.contains(OFlag::O_PATH) {
        return Ok(Some("was opened as a path only"));
    }
    // The bits of a kind overlap: it is one of them, not a set.
    let kind = fstat(stream)?.st_mode & SFlag::S_IFMT.bits();
    Ok(match SFlag::from_bits_truncate(kind) {
        SFlag::S_IFREG | SFlag::S_IFCHR | SFlag::S_IFIFO | SFlag::S_IFSOCK => None,
        SFlag::S_IFDIR => Some("is a directory"),
        SFlag::S_IFBLK => Some("is a block device"),
        _ => Some("is neither a file, a device, a pipe nor a socket"),
    })
}

/// The manifest with what its wishes about streams come to, now that somebody runs the pod.
pub(crate) fn fulfilled(manifest: &PodManifest) -> PodManifest {
    let (typed, shown) = (io::stdin().is_terminal(), io::stdout().is_terminal());
    let mut manifest = manifest.clone();
    for app in manifest.apps.iter_mut().filter(|app| app.streams_later) {
        fulfil(app, typed, shown);
    }
    manifest
}

/// A terminal of the pod is for who types and sees; the terminal itself goes only to an app for which `--interactive` was given.
fn fulfil(app: &mut App, typed: bool, shown: bool) {
    app.stdin &= app.terminal || !typed;
    app.terminal &= typed && shown;
    app.streams_later = false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_for_a_terminal_is_for_who_types_and_sees_and_without_it_nobody_s_terminal_is_read() {
        let manifest = include_str!("../tests/golden/single.json");
        let manifest: PodManifest = serde_json::from_str(manifest).unwrap();
        for (wish, typed, shown, stdin, terminal) in [
            (true, true, true, true, true),
            (true, true, false, true, false),
            (true, false, true, true, false),
            (true, false, false, true, false),
            (false, true, true, false, false),
            (false, true, false, false, false),
            (false, false, true, true, false),
            (false, false, false, true, false),
        ] {
            let mut app = manifest.apps[0].clone();
            (app.stdin, app.terminal, app.streams_later) = (true, wish, true);
            fulfil(&mut app, typed, shown);
            assert_eq!(
                (app.stdin, app.terminal),
                (stdin, terminal),
                "{wish} {typed} {shown}"
            );
        }
    }
}
