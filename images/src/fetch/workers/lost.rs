//! What is told of a worker that does not answer as it should.

use std::error::Error;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::wire::WireError;

/// A worker that has ended too early, or does not follow the protocol.
#[derive(Debug)]
pub struct Lost {
    pub(super) name: &'static str,
    /// How the process ended.
    pub(super) ended: Option<ExitStatus>,
    pub(super) error: WireError,
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
        hint_for(self.ended?)
    }
}

/// What can be done about a worker that ended like this.
#[must_use]
pub fn hint_for(ended: ExitStatus) -> Option<String> {
    const SIGKILL: i32 = 9;
    (ended.signal() == Some(SIGKILL)).then(|| {
        "the kernel kills so when memory runs out: 'dmesg' tells of it, and the unit or the cgroup that skua runs in has the limit"
            .to_owned()
    })
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ended {
            Some(status) => write!(
                f,
                "the {} worker ended without an answer ({status})",
                self.name
            ),
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
