//! What is told of a worker that does not answer as it should.

use std::error::Error;
use std::fmt;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStderr, ExitStatus};

use crate::escape;
use crate::wire::WireError;

/// The most bytes of what a worker has said that are told.
const MAX_SAID: u64 = 1024;

/// A worker that has ended too early, or does not follow the protocol.
#[derive(Debug)]
pub struct Lost {
    pub(super) name: &'static str,
    pub(super) ended: Option<End>,
    pub(super) error: WireError,
}

/// How the process of a worker ended.
#[derive(Debug)]
pub struct End {
    status: ExitStatus,
    /// What it said on its standard error, escaped.
    said: String,
}

impl Lost {
    /// One that was ended on purpose.
    pub(in crate::fetch) fn stopped(name: &'static str) -> Self {
        let (ended, error) = (None, WireError::Closed);
        Self { name, ended, error }
    }

    /// What the user can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        self.ended.as_ref()?.hint()
    }
}

impl End {
    /// That of a process that has ended; `stderr` is where it could say why.
    pub(super) fn new(status: ExitStatus, stderr: Option<ChildStderr>) -> Self {
        let said = stderr.and_then(said).unwrap_or_default();
        Self { status, said }
    }

    /// What the user can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        const SIGKILL: i32 = 9;
        (self.status.signal() == Some(SIGKILL)).then(|| {
            "the kernel kills so when memory runs out: 'dmesg' tells of it, and the unit or the cgroup that skua runs in has the limit"
                .to_owned()
        })
    }
}

/// What is in the pipe, and no more: whoever holds its other end is not waited for.
fn said(stderr: ChildStderr) -> Option<String> {
    rustix::io::ioctl_fionbio(&stderr, true).ok()?;
    let mut bytes = Vec::new();
    // Where nothing more has come yet, that is an error, after what has come.
    let _ = stderr.take(MAX_SAID).read_to_end(&mut bytes);
    let said = bytes.trim_ascii();
    let own = said.strip_prefix(b"skua-worker: ").unwrap_or(said);
    Some(escape::message(own))
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended without an answer ({})", self.status)?;
        match self.said.as_str() {
            "" => Ok(()),
            said => write!(f, ": {said}"),
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ended {
            Some(end) => write!(f, "the {} worker {end}", self.name),
            None => write!(f, "the {} worker failed", self.name),
        }
    }
}

impl Error for Lost {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.ended {
            Some(_) => None,
            None => Some(&self.error),
        }
    }
}
