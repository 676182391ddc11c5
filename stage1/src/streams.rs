//! The caller's standard streams, as the apps of a pod get them.

use std::io;
use std::os::fd::AsFd;

use nix::sys::stat::{Mode, fchmod};
use nix::sys::statfs::{FsType, fstatfs};

/// `PIPEFS_MAGIC` of `linux/magic.h`: the file system of pipes that have no name.
const PIPES: FsType = FsType(0x5049_5045);

/// Lets apps open a pipe of the caller again, as `/dev/stdout`: many images log there. A pipe belongs to the user who made
/// it, mode 0600, and the pod may not have that user. Wider permissions give nothing to others: a pipe without a name is
/// found only through `/proc` of a process that has it.
pub(crate) fn let_apps_open_pipes_again() {
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    for stream in [input.as_fd(), output.as_fd(), error.as_fd()] {
        if fstatfs(stream).is_ok_and(|found| found.filesystem_type() == PIPES) {
            // The pipe of another user stays as it is: the apps can still read or write it, only not open it again.
            let _ = fchmod(stream, Mode::from_bits_truncate(0o666));
        }
    }
}
