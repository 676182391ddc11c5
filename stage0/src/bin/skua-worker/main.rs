//! skua-worker: one confined step of a fetch, or of what else handles foreign bytes. Its standard input is a socket to the
//! coordinator, which is `skua`.
//!
//! | step | runs as | sees | may |
//! |---|---|---|---|
//! | `net` | root's: user `skua`, else one that nobody has; else the caller | certificates, resolver files | connect |
//! | `layout` | the caller, without capabilities | the directory or file it is given | read it |
//! | `unpack` | root of its own user namespace | one layer's directory, as `/` | make files there |
//! | `pack` | the same | trees of the store; the topmost is `/` | read them |
//! | `extract` | root, or the caller, in a user namespace of its own | one directory of the user's, as `/` | make files there |
//! | `empty` | the same as `unpack` | the directory to empty, as `/` | remove files there |
//!
//! All of them: no new privileges, Landlock, a seccomp allow-list, resource limits, no environment but proxies and
//! certificates, no descriptors but the socket, and they die with the coordinator.

#![forbid(unsafe_code)]

mod confine;
mod empty;
mod error;
mod isolate;
mod seccomp;
mod steps;

use std::io::{self, Write};
use std::process::ExitCode;

use images::fetch::workers::Step;
use images::wire::error_line;
use nix::sys::stat::{Mode, umask};

use error::Error;

/// The exit status when the step failed.
const FAILED: u8 = 254;

fn main() -> ExitCode {
    umask(Mode::from_bits_truncate(0o022));
    match step().and_then(steps::take) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With `--debug` the coordinator lets it through.
            let _ = writeln!(io::stderr(), "skua-worker: {}", error_line(&error));
            ExitCode::from(FAILED)
        }
    }
}

/// The only argument.
fn step() -> Result<Step, Error> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(name), None) => name.parse().map_err(|()| Error::Usage),
        _ => Err(Error::Usage),
    }
}

#[cfg(test)]
mod tests;
