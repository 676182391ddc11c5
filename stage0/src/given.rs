//! What a unit of systemd gives to us for the apps of a pod: sockets. What is claimed must be there, and what is there be claimed,
//! before anything is done.

mod sockets;

use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use pod::{PodManifest, SOCKETS_VARIABLE, SocketName, list_descriptors};

use crate::error::Error;
use crate::run_line::AppLine;
use sockets::Sockets;

pub(crate) use sockets::SocketError;

/// What the apps of a pod claim, by name.
#[derive(Debug, Default)]
pub(crate) struct Claims<'a> {
    sockets: Vec<&'a SocketName>,
}

/// Descriptors that the keeper gets for the apps; no other process does.
#[derive(Debug)]
pub(crate) struct Given {
    sockets: Sockets,
}

impl<'a> Claims<'a> {
    /// Of a command line.
    pub(crate) fn of_lines(lines: &'a [AppLine]) -> Self {
        let sockets = lines.iter().flat_map(|line| &line.flags.socket);
        Self {
            sockets: sockets.collect(),
        }
    }

    /// Of a pod that is prepared.
    pub(crate) fn of_pod(manifest: &'a PodManifest) -> Self {
        let sockets = manifest.apps.iter().flat_map(|app| &app.sockets);
        Self {
            sockets: sockets.collect(),
        }
    }
}

impl Given {
    /// What was given to us is ours from now on: no process that we start inherits it.
    pub(crate) fn take() -> Result<Self, Error> {
        let sockets = Sockets::take()?;
        Ok(Self { sockets })
    }

    /// Holds it against what is claimed.
    pub(crate) fn check(&self, claims: &Claims<'_>) -> Result<(), Error> {
        Ok(self.sockets.check(&claims.sockets)?)
    }

    /// Lets it through the exec of `command`, and tells it there.
    pub(crate) fn inherit(&self, command: &mut Command) -> Result<(), Error> {
        let listed = self.sockets.0.iter();
        let listed = listed.map(|socket| (socket.descriptor.as_raw_fd(), socket.name.as_str()));
        command.env_remove(SOCKETS_VARIABLE);
        if !self.sockets.0.is_empty() {
            command.env(SOCKETS_VARIABLE, list_descriptors(listed));
        }
        for socket in &self.sockets.0 {
            through_exec(&socket.descriptor)
                .map_err(|e| SocketError::Keep(socket.name.clone(), e))?;
        }
        for variable in sockets::VARIABLES {
            command.env_remove(variable);
        }
        Ok(())
    }
}

fn through_exec(descriptor: impl AsFd) -> nix::Result<()> {
    fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty())).map(drop)
}
